-- The core of Arauto: what is owed, to whom, and the history of everything that happened.
--
-- Only resource, queue, timer, initiator and quarantine are ever updated. entry is the history: one append-only row
-- for each fact, never a second copy. revision is append-only too, but not partitioned by time, since its key must be
-- unique over all time.

-- +goose Up

-- +goose StatementBegin
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'arauto_app') THEN
    CREATE ROLE arauto_app NOLOGIN;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
  NULL; -- another database of this server was migrated at the same moment
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
DO $$
BEGIN
  IF NOT pg_has_role(current_user, 'arauto_app', 'MEMBER') THEN
    EXECUTE format('GRANT arauto_app TO %I', current_user);
  END IF;
EXCEPTION WHEN unique_violation THEN
  NULL;
END
$$;
-- +goose StatementEnd

-- Initiators: one row a client_id, kept after removal so that its push_epoch goes on rising.
CREATE TABLE initiator (
  client_id        text COLLATE "C" PRIMARY KEY,
  organisation_id  text NOT NULL,
  software_id      text NOT NULL,
  name             text NOT NULL,
  webhook_uris     jsonb NOT NULL DEFAULT '[]', -- in the order registered; the first is used
  push             boolean NOT NULL,           -- registered, and with at least one URI
  push_epoch       bigint NOT NULL DEFAULT 1,  -- raised by each switch-off; a queue row of another epoch is never sent
  removed          boolean NOT NULL DEFAULT false,
  statement_digest bytea,                      -- SHA-256 of the verified software statement
  created_at       timestamptz NOT NULL DEFAULT now(),
  updated_at       timestamptz NOT NULL DEFAULT now()
);

-- Resources: the current document of each payment, consent and enrolment, as the bytes received.
CREATE TABLE resource (
  kind          smallint NOT NULL,
  id            text COLLATE "C" NOT NULL,
  client_id     text COLLATE "C" NOT NULL,
  api_version   text NOT NULL,
  revision      bigint NOT NULL,     -- highest of the core's
  change_id     uuid NOT NULL,       -- the change that made it current
  status        text NOT NULL,
  watched       jsonb NOT NULL,      -- pointer of each watched field -> digest of its value
  data_hash     bytea NOT NULL,
  announced     bigint NOT NULL,     -- bit set of the states announced so far
  occurred_at   timestamptz NOT NULL,
  updated_at    timestamptz NOT NULL DEFAULT now(),
  timer_at      timestamptz,         -- the current state was made by a timer with this deadline
  document      bytea NOT NULL,
  PRIMARY KEY (kind, id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- Revisions: idempotency, and what late revisions are judged from.
CREATE TABLE revision (
  kind            smallint NOT NULL,
  resource_id     text COLLATE "C" NOT NULL,
  revision        bigint NOT NULL,
  change_id       uuid NOT NULL,
  data_hash       bytea NOT NULL,
  status          text NOT NULL,
  watched         jsonb NOT NULL,
  cause           text NOT NULL,
  occurred_at     timestamptz NOT NULL,
  notification_id uuid,
  reason          text,
  PRIMARY KEY (kind, resource_id, revision)
) PARTITION BY HASH (kind, resource_id);
CREATE TABLE revision_0 PARTITION OF revision FOR VALUES WITH (MODULUS 8, REMAINDER 0);
CREATE TABLE revision_1 PARTITION OF revision FOR VALUES WITH (MODULUS 8, REMAINDER 1);
CREATE TABLE revision_2 PARTITION OF revision FOR VALUES WITH (MODULUS 8, REMAINDER 2);
CREATE TABLE revision_3 PARTITION OF revision FOR VALUES WITH (MODULUS 8, REMAINDER 3);
CREATE TABLE revision_4 PARTITION OF revision FOR VALUES WITH (MODULUS 8, REMAINDER 4);
CREATE TABLE revision_5 PARTITION OF revision FOR VALUES WITH (MODULUS 8, REMAINDER 5);
CREATE TABLE revision_6 PARTITION OF revision FOR VALUES WITH (MODULUS 8, REMAINDER 6);
CREATE TABLE revision_7 PARTITION OF revision FOR VALUES WITH (MODULUS 8, REMAINDER 7);

-- Queue: the notifications that are still to be sent. It is the outbox; there is no other.
CREATE TABLE queue (
  id             uuid PRIMARY KEY,             -- the notification
  client_id      text COLLATE "C" NOT NULL,
  push_epoch     bigint NOT NULL,
  kind           smallint NOT NULL,
  resource_id    text COLLATE "C" NOT NULL,
  api_version    text NOT NULL,
  event          text NOT NULL,                -- '' where the body has no eventType
  event_at       timestamptz NOT NULL,
  occurred_at    timestamptz NOT NULL,
  created_at     timestamptz NOT NULL DEFAULT now(),
  manual         boolean NOT NULL DEFAULT false,
  attempts       smallint NOT NULL DEFAULT 0,  -- attempts started
  late           boolean NOT NULL DEFAULT false,
  due_at         timestamptz NOT NULL,
  token          uuid,                         -- of the attempt in flight
  interaction_id uuid,
  started_at     timestamptz,
  lease_until    timestamptz
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX queue_lane ON queue (client_id, push_epoch, due_at, id) WHERE token IS NULL;
CREATE INDEX queue_lease ON queue (lease_until) WHERE token IS NOT NULL;

-- Timers: the next deadline the rules set for a resource.
CREATE TABLE timer (
  kind        smallint NOT NULL,
  resource_id text COLLATE "C" NOT NULL,
  rule        text NOT NULL,
  deadline    timestamptz NOT NULL,
  PRIMARY KEY (kind, resource_id)
);
CREATE INDEX timer_deadline ON timer (deadline);

-- Quarantine: what could not be applied, kept where an operator can see it.
CREATE TABLE quarantine (
  id           uuid PRIMARY KEY,
  kind         text NOT NULL,
  resource_id  text COLLATE "C" NOT NULL,
  revision     bigint NOT NULL,
  content_hash bytea NOT NULL,
  client_id    text NOT NULL,
  source       text NOT NULL,
  line         bytea,                -- as received; erased when the case is closed
  problems     jsonb NOT NULL,
  seen         bigint NOT NULL DEFAULT 1,
  first_at     timestamptz NOT NULL DEFAULT now(),
  last_at      timestamptz NOT NULL DEFAULT now(),
  state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'applied', 'dismissed')),
  closed_by    text,
  closed_why   text,
  closed_at    timestamptz,
  UNIQUE (kind, resource_id, revision, content_hash)
);
CREATE INDEX quarantine_open ON quarantine (first_at DESC, id) WHERE state = 'open';

-- Keys that must be the same in every replica and are nobody else's: cursors.
CREATE TABLE keyring (
  name text PRIMARY KEY,
  key  bytea NOT NULL
);
INSERT INTO keyring (name, key) VALUES ('cursor', decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

-- History. The columns are what is searched for; everything else a fact needs is in facts, as exact text.
CREATE TABLE entry (
  id              uuid NOT NULL,
  at              timestamptz NOT NULL DEFAULT now(),
  xid             bigint NOT NULL DEFAULT (pg_current_xact_id()::text)::bigint,
  kind            text NOT NULL,
  client_id       text COLLATE "C",
  resource_kind   smallint,
  resource_id     text COLLATE "C",
  revision        bigint,
  notification_id uuid,
  change_id       uuid,
  interaction_id  uuid,
  number          smallint,      -- of an attempt
  outcome         text,
  closes          text,          -- the state in which this fact leaves the notification for good
  created_at      timestamptz,   -- of the notification, where closes is not 'delivered'
  facts           json NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX entry_notification ON entry (notification_id) WHERE notification_id IS NOT NULL;
CREATE INDEX entry_interaction ON entry (interaction_id) WHERE interaction_id IS NOT NULL;
CREATE INDEX entry_resource ON entry (resource_id, at) WHERE resource_id IS NOT NULL AND number IS NULL;
CREATE INDEX entry_announced ON entry (at, notification_id)
  WHERE notification_id IS NOT NULL AND kind IN ('change', 'decision', 'resend');
CREATE INDEX entry_announced_client ON entry (client_id, at, notification_id)
  WHERE notification_id IS NOT NULL AND kind IN ('change', 'decision', 'resend');
CREATE INDEX entry_undelivered ON entry (closes, created_at, notification_id) WHERE closes IN ('exhausted', 'cancelled');
CREATE INDEX entry_xid ON entry USING brin (xid) WITH (pages_per_range = 16, autosummarize = on);

-- What the sealer has proven so far; retention never passes it.
CREATE TABLE seal_state (
  one              boolean PRIMARY KEY DEFAULT true CHECK (one),
  anchored_through timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO seal_state DEFAULT VALUES;

-- +goose StatementBegin
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% on % refused: history is append-only', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON entry FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON revision FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON entry FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON revision FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- +goose StatementBegin
DO $$
BEGIN
  FOR n IN 0..7 LOOP
    EXECUTE format('CREATE TRIGGER append_only_all BEFORE TRUNCATE ON revision_%s FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', n);
  END LOOP;
END
$$;
-- +goose StatementEnd

-- Partitions of the history are months in UTC. They are made ahead by this function and by nothing else.
-- +goose StatementBegin
CREATE FUNCTION make_history(months_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  first date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
  month date;
  name  text;
  made  integer := 0;
BEGIN
  IF months_ahead NOT BETWEEN 0 AND 24 THEN
    RAISE EXCEPTION 'months_ahead is %, must be 0 to 24', months_ahead;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('arauto.make_history'));
  FOR n IN -1..months_ahead LOOP
    month := (first + make_interval(months => n))::date;
    name := 'entry_' || to_char(month, 'YYYYMM');
    IF to_regclass(name) IS NULL THEN
      EXECUTE format('CREATE TABLE %I PARTITION OF entry FOR VALUES FROM (%L) TO (%L)', name,
        to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00',
        to_char(month + make_interval(months => 1), 'YYYY-MM-DD') || ' 00:00:00+00');
      EXECUTE format('CREATE TRIGGER append_only_all BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
      EXECUTE format('ALTER TABLE %I SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000, autovacuum_freeze_max_age = 500000000)', name);
      made := made + 1;
    END IF;
  END LOOP;
  RETURN made;
END
$$;
-- +goose StatementEnd

-- Retention drops whole months, only when every entry in them is sealed and anchored, and never less than five years
-- after the month ended.
-- +goose StatementBegin
CREATE FUNCTION drop_history(keep interval) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  part    record;
  ends    timestamptz;
  anchors timestamptz;
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
    ends := (to_date(substr(part.relname, 7), 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC';
    EXIT WHEN ends > now() - keep OR ends > anchors;
    EXECUTE format('DROP TABLE %I', part.relname);
    gone := gone || part.relname::text;
  END LOOP;
  RETURN gone;
END
$$;
-- +goose StatementEnd

SELECT make_history(3);

-- Rights: serve runs as arauto_app, which can add to the history and cannot change it.
-- +goose StatementBegin
DO $$
BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO arauto_app', current_schema());
END
$$;
-- +goose StatementEnd
GRANT SELECT, INSERT, UPDATE, DELETE ON resource, queue, timer, quarantine TO arauto_app;
GRANT SELECT, INSERT, UPDATE ON initiator TO arauto_app;
GRANT SELECT, INSERT ON entry, revision TO arauto_app;
GRANT SELECT ON keyring, seal_state, goose_db_version TO arauto_app;
REVOKE ALL ON FUNCTION make_history(integer), drop_history(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_history(integer), drop_history(interval) TO arauto_app;

-- +goose Down
-- The first migration is not undone: dropping the history is not something a tool should do by itself.
-- +goose StatementBegin
DO $$ BEGIN RAISE EXCEPTION 'the first migration cannot be rolled back: it would drop the history'; END $$;
-- +goose StatementEnd
