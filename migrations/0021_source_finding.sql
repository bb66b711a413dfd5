-- Findings of sources that a person accepted, so that the source goes on at every replica. A finding is never taken back: rows that
-- were passed over stay so.

-- +goose Up
CREATE TABLE source_finding (
  source      text NOT NULL,
  finding     text NOT NULL CHECK (finding ~ '^[0-9a-f]{8}$'), -- as the source's error names it
  accepted_by text NOT NULL CHECK (accepted_by <> ''),
  reason      text NOT NULL,
  accepted_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (source, finding)
);
GRANT SELECT, INSERT ON source_finding TO arauto_app;
GRANT SELECT ON source_finding TO arauto_auditor;

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN RAISE EXCEPTION 'accepted findings cannot be rolled back: sources went on because of them'; END $$;
-- +goose StatementEnd
