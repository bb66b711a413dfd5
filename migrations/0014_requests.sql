-- Acts that wait for a second person, which replicas run, what the log's own tables refuse, and a role for auditors.

-- +goose Up

-- An act that needs four eyes. What was asked for is never changed; serve writes only what became of it.
CREATE TABLE act_request (
  id             uuid PRIMARY KEY,
  act            text NOT NULL CHECK (act IN ('resend', 'quarantine', 'hold', 'registration', 'source')),
  method         text NOT NULL,
  path           text NOT NULL,               -- of the call, with its query
  body           bytea NOT NULL,
  roles          text[] NOT NULL,             -- one of them is needed to decide
  reason         text NOT NULL,               -- '' where the call has none
  asked_by       text NOT NULL CHECK (asked_by <> ''),
  asked_role     text NOT NULL,
  asked_source   text NOT NULL,
  asked_at       timestamptz NOT NULL DEFAULT now(),
  expires_at     timestamptz NOT NULL DEFAULT now() + interval '24 hours',
  state          text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'approved', 'done', 'failed', 'refused', 'expired')),
  decided_by     text CHECK (decided_by <> asked_by), -- nobody decides about their own
  decided_role   text,
  decided_source text,
  decided_reason text,
  decided_at     timestamptz,
  token          uuid,                        -- of the replica that carries the act out
  lease_until    timestamptz,
  starts         integer NOT NULL DEFAULT 0,
  status         integer,                     -- of the answer to the call
  answer         text,
  ended_at       timestamptz,
  CHECK ((decided_by IS NULL) = (state IN ('waiting', 'expired')))
);
CREATE INDEX act_request_state ON act_request (state, asked_at);

-- What an approved request has done, written by the transaction that did it: a second transaction fails.
CREATE TABLE act_request_step (
  request uuid NOT NULL REFERENCES act_request ON DELETE CASCADE,
  item    text NOT NULL, -- of an act about several; '' otherwise
  result  text NOT NULL, -- JSON, '' for none
  at      timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (request, item)
);

-- Replicas that run, or did within the last days.
CREATE TABLE replica (
  name       text PRIMARY KEY,
  version    text NOT NULL,
  started_at timestamptz NOT NULL,
  seen_at    timestamptz NOT NULL DEFAULT now()
);

-- Reconciliations that people ask for; any replica carries one out, under a lease.
CREATE TABLE reconciliation_run (
  id           uuid PRIMARY KEY,
  from_at      timestamptz NOT NULL,
  to_at        timestamptz NOT NULL,
  asked_by     text NOT NULL,
  asked_role   text NOT NULL,
  asked_source text NOT NULL,
  asked_at     timestamptz NOT NULL DEFAULT now(),
  state        text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'failed')),
  token        uuid,
  lease_until  timestamptz,
  starts       integer NOT NULL DEFAULT 0,
  pages_done   bigint NOT NULL DEFAULT 0,
  pages_all    bigint NOT NULL DEFAULT 0,
  problem      text,
  ended_at     timestamptz
);
GRANT SELECT, INSERT, UPDATE, DELETE ON reconciliation_run TO arauto_app;

GRANT SELECT, INSERT, DELETE ON act_request TO arauto_app;
GRANT UPDATE (state, decided_by, decided_role, decided_source, decided_reason, decided_at, token, lease_until, starts, status, answer, ended_at)
  ON act_request TO arauto_app;
GRANT SELECT, INSERT ON act_request_step TO arauto_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON replica TO arauto_app;

-- The sealer adds positions, subtrees and one signed head in one transaction. A row that does not continue the log would
-- stop sealing permanently, since rows of the log are never removed. So the tables refuse it from everybody but their owner, who
-- repairs and restores. Signatures are verified by the sealer: the database cannot.
-- +goose StatementBegin
CREATE FUNCTION owns_table(which oid) RETURNS boolean
LANGUAGE sql STABLE AS $$ SELECT relowner = current_user::regrole FROM pg_class WHERE oid = which $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION check_positions() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  low  bigint;
  high bigint;
  many bigint;
  size bigint;
BEGIN
  IF owns_table(TG_RELID) THEN
    RETURN NULL;
  END IF;
  SELECT min(seq), max(seq), count(*) INTO low, high, many FROM added;
  IF many = 0 THEN
    RETURN NULL;
  END IF;
  size := coalesce((SELECT seq FROM log_position WHERE seq < low ORDER BY seq DESC LIMIT 1), -1) + 1;
  IF low <> size OR high - low + 1 <> many OR EXISTS (SELECT FROM log_position WHERE seq > high) THEN
    RAISE EXCEPTION 'positions % to % refused: the log continues at %', low, high, size USING ERRCODE = 'check_violation';
  END IF;
  INSERT INTO seal_pending DEFAULT VALUES;
  RETURN NULL;
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION check_nodes() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  stray record;
  size  bigint;
BEGIN
  IF owns_table(TG_RELID) THEN
    RETURN NULL;
  END IF;
  size := coalesce((SELECT max(seq) FROM log_position), -1) + 1;
  SELECT level, n INTO stray FROM added WHERE level > 56 OR n >= (size >> level::integer) LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'subtree % of level % refused: the log has % entries', stray.n, stray.level, size USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION check_checkpoint() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  entries bigint := coalesce((SELECT max(seq) FROM log_position), -1) + 1;
  head    record;
BEGIN
  IF owns_table(TG_RELID) THEN
    RETURN NEW;
  END IF;
  SELECT size, at INTO head FROM log_checkpoint ORDER BY size DESC LIMIT 1;
  IF NEW.size <> entries OR NEW.size <= coalesce(head.size, 0) OR split_part(NEW.note, E'\n', 2) <> NEW.size::text THEN
    RAISE EXCEPTION 'checkpoint of % entries refused: the log has %', NEW.size, entries USING ERRCODE = 'check_violation';
  END IF;
  IF NEW.at > clock_timestamp() THEN
    RAISE EXCEPTION 'checkpoint of % entries refused: its time % lies ahead', NEW.size, NEW.at USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END
$$;
-- +goose StatementEnd

-- One row for each statement that added positions, until the commit has looked whether a checkpoint covers them.
CREATE TABLE seal_pending (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
GRANT SELECT, INSERT, DELETE ON seal_pending TO arauto_app;
-- +goose StatementBegin
CREATE FUNCTION check_covered() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  entries bigint := coalesce((SELECT max(seq) FROM log_position), -1) + 1;
BEGIN
  DELETE FROM seal_pending WHERE id = NEW.id;
  IF entries IS DISTINCT FROM (SELECT max(size) FROM log_checkpoint) THEN
    RAISE EXCEPTION 'positions refused: no checkpoint covers % entries', entries USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER contiguous AFTER INSERT ON log_position REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION check_positions();
CREATE TRIGGER within_log AFTER INSERT ON log_node REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION check_nodes();
CREATE TRIGGER covers_log BEFORE INSERT ON log_checkpoint FOR EACH ROW EXECUTE FUNCTION check_checkpoint();
CREATE CONSTRAINT TRIGGER covered AFTER INSERT ON seal_pending DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_covered();

-- Auditors read everything that the commands of arauto audit read, and write one thing: that they read it.
-- +goose StatementBegin
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'arauto_auditor') THEN
    CREATE ROLE arauto_auditor NOLOGIN;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
  NULL; -- another database of this server was migrated at the same moment
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $$
BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO arauto_auditor', current_schema());
END
$$;
-- +goose StatementEnd
GRANT SELECT ON entry, revision, resource, queue, timer, initiator, quarantine, poll_replayed, hold, history_held, history_dropped, history_announced,
  log_key, log_position, log_node, log_checkpoint, log_count, log_verification, seal_state, source, export_job, act_request, act_request_step,
  replica, reconciliation_run, figures_state, figures_hour, figures_minute, figures_client, flight,
  goose_db_version TO arauto_auditor;

-- Who reads is the database's word, not the caller's. A reading is no entry about a resource.
-- +goose StatementBegin
CREATE FUNCTION record_reading(act text, record json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF record->>'actor' IS DISTINCT FROM session_user::text OR record->>'role' IS DISTINCT FROM 'database' OR act !~ '^[a-z][a-z-]{0,63}$' THEN
    RAISE EXCEPTION 'reading refused: its actor must be the session''s user, its role "database" and its act a word' USING ERRCODE = 'insufficient_privilege';
  END IF;
  INSERT INTO entry (id, kind, outcome, facts) VALUES (gen_random_uuid(), 'admin', act, record);
END
$$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION record_reading(text, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record_reading(text, json) TO arauto_auditor, arauto_app;

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN RAISE EXCEPTION 'requests cannot be rolled back: they say who approved what'; END $$;
-- +goose StatementEnd
