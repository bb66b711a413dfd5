-- Findings of sources that a person accepted, so that the source goes on at every replica. An acceptance is used up when the
-- reader has passed what it accepted: the same finding, when it comes again, is another event, and must be accepted again.

-- +goose Up
CREATE TABLE source_finding (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  source      text NOT NULL,
  finding     text NOT NULL CHECK (finding ~ '^[0-9a-f]{8}$'), -- as the source's error names it
  accepted_by text NOT NULL CHECK (accepted_by <> ''),
  reason      text NOT NULL,
  accepted_at timestamptz NOT NULL DEFAULT now(),
  used_at     timestamptz -- the reader has passed it; NULL: it is in force
);
CREATE UNIQUE INDEX source_finding_in_force ON source_finding (source, finding) WHERE used_at IS NULL;
GRANT SELECT, INSERT, UPDATE (used_at) ON source_finding TO arauto_app;
GRANT SELECT ON source_finding TO arauto_auditor;

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN RAISE EXCEPTION 'accepted findings cannot be rolled back: sources went on because of them'; END $$;
-- +goose StatementEnd
