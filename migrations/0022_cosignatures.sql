-- What witnesses say of checkpoints: a line of the signed note each, which docs/audit-format.md describes. It is only added to. A row
-- proves itself by its signature; without it, a checkpoint stays what the log's key signed.

-- +goose Up

CREATE TABLE log_cosignature (
  size    bigint NOT NULL CHECK (size > 0), -- of the checkpoint
  witness text NOT NULL,                    -- its verifier key
  at      timestamptz NOT NULL,             -- by the clock of the witness
  line    text NOT NULL,
  PRIMARY KEY (size, witness, at)
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON log_cosignature FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON log_cosignature FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON log_cosignature TO arauto_app;
GRANT SELECT ON log_cosignature TO arauto_auditor;

-- +goose Down
DROP TABLE log_cosignature;
