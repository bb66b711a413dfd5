-- Searching the history, keeping it for a court, and exports made in the background.

-- +goose Up

-- Time and initiator are found block by block: the history is written in the order of time, so a summary of each 128
-- pages says enough, and an insert adds nothing to it. A search walks back through time and skips the ranges that
-- cannot hold the initiator. The other indexes hold rare rows only: what is delivered at the first attempt is in none.
CREATE INDEX entry_walk ON entry USING brin (at, client_id text_bloom_ops (n_distinct_per_range = 256, false_positive_rate = 0.02))
  WITH (pages_per_range = 128, autosummarize = on);
CREATE INDEX entry_outcome ON entry (outcome, at, client_id) WHERE outcome NOT IN ('applied', 'delivered', '200');
CREATE INDEX entry_late ON entry (at, client_id) WHERE kind = 'attempt' AND facts->>'late' = 'true';
CREATE INDEX entry_rare ON entry (kind, at) WHERE kind NOT IN ('change', 'attempt', 'result', 'poll');
CREATE INDEX entry_change ON entry (change_id) WHERE change_id IS NOT NULL;

-- Holds: entries that must be kept beyond their time, for as long as a hold stands. A hold is about a client, a resource,
-- or everything. It is placed and lifted by functions, which write it into the history in the same transaction.
CREATE TABLE hold (
  name          text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'),
  client_id     text COLLATE "C",
  resource_kind smallint,
  resource_id   text COLLATE "C",
  reason        text NOT NULL CHECK (reason <> ''),
  placed_by     text NOT NULL,
  placed_at     timestamptz NOT NULL DEFAULT now(),
  CHECK ((resource_kind IS NULL) = (resource_id IS NULL) AND (client_id IS NULL OR resource_id IS NULL))
);

-- Months that would have been dropped and were kept, since holds concern them; as retention found it last.
CREATE TABLE history_held (
  partition text PRIMARY KEY,
  holds     text[] NOT NULL,
  since     timestamptz NOT NULL DEFAULT now()
);

-- Exports made in the background by whichever replica takes them up; their files lie here, in pieces, so that every
-- replica can serve them. A maker works under a token and a lease; another takes over what a dead one left, and begins
-- anew: the checkpoint is fixed when the export is asked for, so the bytes are the same.
CREATE TABLE export_job (
  id           uuid PRIMARY KEY,
  state        text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'failed')),
  filter       jsonb NOT NULL,
  format       text NOT NULL,
  size         bigint NOT NULL CHECK (size > 0), -- of the log, by its checkpoint
  requested_by text NOT NULL,
  role         text NOT NULL,
  source       text NOT NULL,
  requested_at timestamptz NOT NULL DEFAULT now(),
  starts       integer NOT NULL DEFAULT 0,
  token        uuid,                             -- of the maker at work
  lease_until  timestamptz,
  walked       bigint NOT NULL DEFAULT 0,        -- positions looked at
  entries      bigint,
  bytes        bigint NOT NULL DEFAULT 0,
  sha256       text,
  problem      text,                             -- why it failed
  ended_at     timestamptz,
  expires_at   timestamptz
);
CREATE TABLE export_piece (
  job  uuid NOT NULL REFERENCES export_job ON DELETE CASCADE,
  n    integer NOT NULL,
  data bytea NOT NULL CHECK (octet_length(data) BETWEEN 1 AND 1048576),
  PRIMARY KEY (job, n)
);
ALTER TABLE export_piece ALTER COLUMN data SET STORAGE EXTERNAL; -- much of it is compressed already, and all is read once

-- +goose StatementBegin
CREATE FUNCTION place_hold(new_name text, client text, kind smallint, resource text, why text, by_whom text, record json) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  LOCK TABLE hold IN SHARE ROW EXCLUSIVE MODE; -- retention is either through, or sees this hold
  INSERT INTO hold (name, client_id, resource_kind, resource_id, reason, placed_by) VALUES (new_name, client, kind, resource, why, by_whom)
  ON CONFLICT (name) DO NOTHING;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, outcome, facts)
  VALUES (gen_random_uuid(), 'hold', client, kind, resource, 'placed', record);
  RETURN true;
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION lift_hold(old_name text, record json) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  gone hold;
BEGIN
  DELETE FROM hold WHERE name = old_name RETURNING * INTO gone;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, outcome, facts)
  VALUES (gen_random_uuid(), 'hold', gone.client_id, gone.resource_kind, gone.resource_id, 'lifted', record);
  RETURN true;
END
$$;
-- +goose StatementEnd

-- Retention, as before, and moreover: a month that has entries under a hold stays, whoever asks. What is counted and looked
-- for is counted under a lock that lets others read; the one that does not is held for the drop alone.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION drop_history(keep interval) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  part    record;
  starts  timestamptz;
  ends    timestamptz;
  anchors timestamptz;
  lost    bigint;
  placed  record;
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
    EXIT WHEN lost <> placed.entries;
    EXECUTE format('DROP TABLE %I', part.relname);
    gone := gone || part.relname::text;
    IF lost > 0 THEN
      INSERT INTO history_dropped (partition, first, last, entries) VALUES (part.relname, placed.first, placed.last, placed.entries);
    END IF;
  END LOOP;
  DELETE FROM history_held WHERE partition <> ALL (kept);
  IF gone <> '{}' THEN
    INSERT INTO entry (id, kind, outcome, facts)
    SELECT gen_random_uuid(), 'retention', 'dropped', json_build_object('system', current_setting('application_name'), 'actor', session_user,
      'source', coalesce(host(inet_client_addr()) || ':' || inet_client_port(), 'local'), 'now', to_json(gone), 'dropped', coalesce(json_agg(json_build_object(
      'partition', partition, 'first', first, 'last', last, 'entries', entries,
      'droppedAt', to_char(dropped_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) ORDER BY partition), '[]'::json))
    FROM history_dropped;
  END IF;
  RETURN gone;
END
$$;
-- +goose StatementEnd

-- How far the log is anchored is what retention goes by. serve may move it forward only, and no further than the time of a
-- checkpoint that the log has. Who owns the table can do what he likes, as ever.
-- +goose StatementBegin
CREATE FUNCTION check_anchored() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_user <> (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = TG_RELID) THEN
    IF NEW.anchored_through < OLD.anchored_through THEN
      RAISE EXCEPTION 'anchored_through only moves forward' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NEW.anchored_through > coalesce((SELECT at FROM log_checkpoint ORDER BY size DESC LIMIT 1), '-infinity') THEN
      RAISE EXCEPTION 'anchored_through is beyond the newest checkpoint' USING ERRCODE = 'insufficient_privilege';
    END IF;
  END IF;
  RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER forward_only BEFORE UPDATE ON seal_state FOR EACH ROW EXECUTE FUNCTION check_anchored();

GRANT SELECT ON hold, history_held TO arauto_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON export_job, export_piece TO arauto_app;
REVOKE ALL ON FUNCTION place_hold(text, text, smallint, text, text, text, json), lift_hold(text, json), drop_history(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION place_hold(text, text, smallint, text, text, text, json), lift_hold(text, json), drop_history(interval) TO arauto_app;

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN RAISE EXCEPTION 'holds cannot be rolled back: what they keep could be dropped'; END $$;
-- +goose StatementEnd
