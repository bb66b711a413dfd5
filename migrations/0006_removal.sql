-- A removal of history is announced in the log before anything is removed; entries about the log itself are written by the
-- owner's functions alone; entries may name a brand.

-- +goose Up

-- Reserved for several brands in one deployment (docs/audit-format.md). NULL adds nothing to a record, so old rows keep their bytes.
ALTER TABLE entry ADD COLUMN brand text COLLATE "C";

-- Months whose removal the log announced, with what the announcement claims. digest is the RFC 6962 root over the leaves of
-- the month's entries, in the order of their positions.
CREATE TABLE history_announced (
  partition    text PRIMARY KEY,
  first        bigint NOT NULL,
  last         bigint NOT NULL,
  entries      bigint NOT NULL,
  digest       bytea NOT NULL CHECK (octet_length(digest) = 32),
  entry        uuid NOT NULL,        -- that announces it
  announced_at timestamptz NOT NULL  -- of that entry
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON history_announced FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON history_announced FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Entries about the log itself say what may be missing from it. The role of serve writes them through functions only. The
-- owner can still write them by hand; the sealer compares what they claim with the database, and the verifiers with what
-- is signed.
-- +goose StatementBegin
CREATE FUNCTION refuse_by_hand() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
    RAISE EXCEPTION 'an entry of kind % refused: a function of the owner writes it', NEW.kind USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER by_function BEFORE INSERT ON entry FOR EACH ROW
  WHEN (NEW.kind IN ('retention', 'loss', 'hold')) EXECUTE FUNCTION refuse_by_hand();

-- Announces the removal of one month. The caller computes the digest; the sealer computes it again before it signs the entry.
-- Answers false when the month may not be announced yet, or is already.
-- +goose StatementBegin
CREATE FUNCTION announce_removal(month text, claimed_first bigint, claimed_last bigint, claimed_entries bigint, claimed_digest bytea, keep interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  starts timestamptz;
  ends   timestamptz;
  placed record;
  mine   uuid := gen_random_uuid();
BEGIN
  IF now() - keep > now() - interval '5 years' THEN -- not keep < …: there a year has 360 days
    RAISE EXCEPTION 'retention of % refused: the floor is 5 years', keep;
  END IF;
  IF month !~ '^entry_[0-9]{6}$' OR NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'entry'::regclass AND inhrelid = to_regclass(quote_ident(month))) THEN
    RAISE EXCEPTION 'removal of % refused: it is not a month of the history', month;
  END IF;
  starts := to_date(substr(month, 7), 'YYYYMM')::timestamp AT TIME ZONE 'UTC';
  ends := (to_date(substr(month, 7), 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC';
  LOCK TABLE hold IN SHARE ROW EXCLUSIVE MODE; -- one retention at a time
  IF ends > now() - keep OR EXISTS (SELECT FROM history_announced WHERE partition = month) THEN
    RETURN false;
  END IF;
  SELECT min(seq) AS first, max(seq) AS last, count(*) AS entries INTO placed FROM log_position WHERE at >= starts AND at < ends;
  IF (placed.first, placed.last, placed.entries) IS DISTINCT FROM (claimed_first, claimed_last, claimed_entries) THEN
    RAISE EXCEPTION 'removal of % refused: the log has % entries of it from % to %', month, placed.entries, placed.first, placed.last;
  END IF;
  -- It was sealed as long ago as it must be kept, whatever times its entries claim.
  IF coalesce((SELECT at FROM log_checkpoint WHERE size > placed.last ORDER BY size LIMIT 1), 'infinity') > now() - keep THEN
    RETURN false;
  END IF;
  INSERT INTO history_announced (partition, first, last, entries, digest, entry, announced_at)
  VALUES (month, placed.first, placed.last, placed.entries, claimed_digest, mine, now());
  INSERT INTO entry (id, kind, outcome, facts)
  VALUES (mine, 'retention', 'announced', json_build_object('system', current_setting('application_name'), 'actor', session_user,
    'source', coalesce(host(inet_client_addr()) || ':' || inet_client_port(), 'local'), 'partition', month, 'first', placed.first,
    'last', placed.last, 'entries', placed.entries, 'digest', encode(claimed_digest, 'base64')));
  RETURN true;
END
$$;
-- +goose StatementEnd

-- Drops the months whose removal was announced by an entry that is sealed, covered by a checkpoint and anchored, as long as
-- no hold keeps them, and months that are empty. Every row of the month must have its position.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION drop_history(keep interval) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  part    record;
  starts  timestamptz;
  ends    timestamptz;
  anchors timestamptz;
  lost    bigint;
  told    history_announced;
  placed  record;
  sealed  bigint;
  held    text[];
  kept    text[] := '{}';
  gone    text[] := '{}';
BEGIN
  IF now() - keep > now() - interval '5 years' THEN -- not keep < …: there a year has 360 days
    RAISE EXCEPTION 'retention of % refused: the floor is 5 years', keep;
  END IF;
  SELECT anchored_through INTO anchors FROM seal_state;
  LOCK TABLE hold IN SHARE ROW EXCLUSIVE MODE; -- one retention at a time, and no hold is placed meanwhile
  FOR part IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'entry'::regclass AND c.relname ~ '^entry_[0-9]{6}$' ORDER BY c.relname
  LOOP
    starts := to_date(substr(part.relname, 7), 'YYYYMM')::timestamp AT TIME ZONE 'UTC';
    ends := (to_date(substr(part.relname, 7), 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC';
    EXIT WHEN ends > now() - keep OR ends > anchors;
    EXECUTE format('LOCK TABLE %I IN SHARE MODE', part.relname);
    EXECUTE format('SELECT coalesce(array_agg(h.name ORDER BY h.name), ''{}'') FROM hold h WHERE EXISTS (SELECT FROM %I e
      WHERE (h.client_id IS NULL OR e.client_id = h.client_id) AND (h.resource_id IS NULL OR (e.resource_kind = h.resource_kind AND e.resource_id = h.resource_id)))', part.relname) INTO held;
    IF held <> '{}' THEN
      kept := kept || part.relname::text;
      INSERT INTO history_held (partition, holds) VALUES (part.relname, held) ON CONFLICT (partition) DO UPDATE SET holds = excluded.holds;
      CONTINUE;
    END IF;
    EXECUTE format('SELECT count(*) FROM %I', part.relname) INTO lost;
    SELECT min(seq) AS first, max(seq) AS last, count(*) AS entries INTO placed FROM log_position WHERE at >= starts AND at < ends;
    IF lost = 0 AND placed.entries = 0 THEN
      EXECUTE format('DROP TABLE %I', part.relname);
      gone := gone || part.relname::text;
      CONTINUE;
    END IF;
    SELECT * INTO told FROM history_announced WHERE partition = part.relname;
    CONTINUE WHEN NOT FOUND OR lost <> told.entries
      OR (placed.first, placed.last, placed.entries) IS DISTINCT FROM (told.first, told.last, told.entries);
    SELECT seq INTO sealed FROM log_position WHERE at = told.announced_at AND id = told.entry;
    CONTINUE WHEN NOT FOUND OR NOT anchors > coalesce((SELECT at FROM log_checkpoint WHERE size > sealed ORDER BY size LIMIT 1), 'infinity');
    EXECUTE format('DROP TABLE %I', part.relname);
    gone := gone || part.relname::text;
    INSERT INTO history_dropped (partition, first, last, entries) VALUES (part.relname, placed.first, placed.last, placed.entries);
    INSERT INTO entry (id, kind, outcome, facts)
    VALUES (gen_random_uuid(), 'retention', 'dropped', json_build_object('system', current_setting('application_name'), 'actor', session_user,
      'source', coalesce(host(inet_client_addr()) || ':' || inet_client_port(), 'local'), 'partition', part.relname, 'first', placed.first,
      'last', placed.last, 'entries', placed.entries, 'digest', encode(told.digest, 'base64'), 'announced', sealed));
  END LOOP;
  DELETE FROM history_held WHERE partition <> ALL (kept);
  RETURN gone;
END
$$;
-- +goose StatementEnd

GRANT SELECT ON history_announced TO arauto_app;
REVOKE ALL ON FUNCTION announce_removal(text, bigint, bigint, bigint, bytea, interval), drop_history(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION announce_removal(text, bigint, bigint, bigint, bytea, interval), drop_history(interval) TO arauto_app;

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN RAISE EXCEPTION 'announced removals cannot be rolled back: the log has them'; END $$;
-- +goose StatementEnd
