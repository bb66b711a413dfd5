-- The proof of the history: the position of each entry in the log, the tree above them, and its signed heads. What is
-- here is only added to, like the history itself; docs/audit-format.md says what the bytes mean.

-- +goose Up

-- The public half of the log's key. A database has one log, and a log has one key.
CREATE TABLE log_key (
  one           boolean PRIMARY KEY DEFAULT true CHECK (one),
  public        bytea NOT NULL CHECK (octet_length(public) = 32), -- Ed25519
  registered_at timestamptz NOT NULL DEFAULT now(),
  registered_by text NOT NULL DEFAULT session_user
);

-- Positions are in the order of (xid, id) too, which is how an entry's position is found and the other way round.
CREATE TABLE log_position (
  seq  bigint PRIMARY KEY CHECK (seq >= 0),
  xid  bigint NOT NULL,
  id   uuid NOT NULL,        -- of the entry
  at   timestamptz NOT NULL, -- of the entry
  leaf bytea NOT NULL CHECK (octet_length(leaf) = 32)
);
CREATE INDEX log_position_at ON log_position USING brin (at) WITH (pages_per_range = 16, autosummarize = on);

-- Roots of complete subtrees of 256, 65536, … leaves; what lies between is computed.
CREATE TABLE log_node (
  level smallint NOT NULL CHECK (level > 0 AND level % 8 = 0),
  n     bigint NOT NULL CHECK (n >= 0),
  hash  bytea NOT NULL CHECK (octet_length(hash) = 32),
  PRIMARY KEY (level, n)
);

CREATE TABLE log_checkpoint (
  size bigint PRIMARY KEY CHECK (size > 0),
  at   timestamptz NOT NULL,
  note text NOT NULL -- signed
);

-- Months of the history that were removed, with the positions their entries had.
CREATE TABLE history_dropped (
  partition  text PRIMARY KEY,
  first      bigint NOT NULL,
  last       bigint NOT NULL,
  entries    bigint NOT NULL,
  dropped_at timestamptz NOT NULL DEFAULT now()
);

-- +goose StatementBegin
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['log_key', 'log_position', 'log_node', 'log_checkpoint', 'history_dropped'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION refuse_change()', name);
    EXECUTE format('CREATE TRIGGER append_only_all BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
  END LOOP;
END
$$;
-- +goose StatementEnd

-- The first key that is registered is the log's key, for good; the function returns which one that is.
-- +goose StatementBegin
CREATE FUNCTION register_log_key(mine bytea) RETURNS bytea
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO log_key (public) VALUES (mine) ON CONFLICT DO NOTHING;
  RETURN (SELECT public FROM log_key);
END
$$;
-- +goose StatementEnd

-- Retention, as before, and moreover: every single entry of a month must have its position, and the log itself records
-- what was removed. Each such entry tells all removals so far, so that the last one always suffices.
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
  gone    text[] := '{}';
BEGIN
  IF now() - keep > now() - interval '5 years' THEN -- not keep < …: there a year has 360 days
    RAISE EXCEPTION 'retention of % refused: the floor is 5 years', keep;
  END IF;
  SELECT anchored_through INTO anchors FROM seal_state;
  FOR part IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'entry'::regclass AND c.relname ~ '^entry_[0-9]{6}$' ORDER BY c.relname
  LOOP
    starts := to_date(substr(part.relname, 7), 'YYYYMM')::timestamp AT TIME ZONE 'UTC';
    ends := (to_date(substr(part.relname, 7), 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC';
    EXIT WHEN ends > now() - keep OR ends > anchors;
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', part.relname);
    EXECUTE format('SELECT count(*) FROM %I', part.relname) INTO lost;
    SELECT min(seq) AS first, max(seq) AS last, count(*) AS entries INTO placed FROM log_position WHERE at >= starts AND at < ends;
    EXIT WHEN lost <> placed.entries;
    EXECUTE format('DROP TABLE %I', part.relname);
    gone := gone || part.relname::text;
    IF lost > 0 THEN
      INSERT INTO history_dropped (partition, first, last, entries) VALUES (part.relname, placed.first, placed.last, placed.entries);
    END IF;
  END LOOP;
  IF gone <> '{}' THEN
    INSERT INTO entry (id, kind, outcome, facts)
    SELECT gen_random_uuid(), 'retention', 'dropped', json_build_object('now', to_json(gone), 'dropped', coalesce(json_agg(json_build_object(
      'partition', partition, 'first', first, 'last', last, 'entries', entries,
      'droppedAt', to_char(dropped_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) ORDER BY partition), '[]'::json))
    FROM history_dropped;
  END IF;
  RETURN gone;
END
$$;
-- +goose StatementEnd

GRANT SELECT, INSERT ON log_position, log_node, log_checkpoint TO arauto_app;
GRANT SELECT ON log_key, history_dropped TO arauto_app;
GRANT UPDATE (anchored_through) ON seal_state TO arauto_app;
REVOKE ALL ON FUNCTION register_log_key(bytea), drop_history(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION register_log_key(bytea), drop_history(interval) TO arauto_app;

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN RAISE EXCEPTION 'the proof cannot be rolled back: it would drop what proves the history'; END $$;
-- +goose StatementEnd
