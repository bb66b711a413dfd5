-- Verification of the log by the product itself: how far it has come, and what each window counted of each client.

-- +goose Up

-- One row for each of two walks. "since" verifies what was sealed since its last time; "whole" verifies the log from its
-- beginning. This is working state and proves nothing: each verification that ended is an entry of the history.
CREATE TABLE log_verification (
  scope        text PRIMARY KEY CHECK (scope IN ('since', 'whole')),
  verified     bigint NOT NULL DEFAULT 0,          -- entries of the log when its last verification began to be recorded
  progress     jsonb,                              -- of the walk under way; NULL: none
  began_at     timestamptz,                        -- of the walk under way
  ended_at     timestamptz NOT NULL DEFAULT now(), -- of the last one; before the first, when this table was made
  ok_at        timestamptz,                        -- end of the last one that found nothing wrong
  fault_seq    bigint,                             -- what was found and is not superseded; NULL: nothing
  fault_reason text,
  fault_at     timestamptz
);
INSERT INTO log_verification (scope) VALUES ('since'), ('whole');

-- The counts that a verification committed to: of each client with entries in [from_seq, to_seq), in the order of their
-- keys, 32 bytes of key, 8 of count, 32 of root (docs/audit-format.md, "Completeness").
CREATE TABLE log_count (
  to_seq   bigint PRIMARY KEY,
  from_seq bigint NOT NULL CHECK (from_seq >= 0 AND from_seq < to_seq),
  xid      bigint NOT NULL DEFAULT (pg_current_xact_id()::text)::bigint, -- of the entry
  entry    uuid NOT NULL,                                                -- of kind verification
  clients  bytea NOT NULL CHECK (octet_length(clients) % 72 = 0)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON log_count FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON log_count FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, UPDATE ON log_verification TO arauto_app;
GRANT SELECT, INSERT ON log_count TO arauto_app;

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN RAISE EXCEPTION 'the counts cannot be rolled back: sealed entries refer to them'; END $$;
-- +goose StatementEnd
