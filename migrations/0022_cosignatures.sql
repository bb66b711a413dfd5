-- What witnesses say of checkpoints: a line of the signed note each, which docs/audit-format.md describes. It is only added to. A reader
-- adds a line to the note only if its signature verifies with the key in its own row; without it, a checkpoint stays what the log's key
-- signed.

-- +goose Up

CREATE TABLE log_cosignature (
  size    bigint NOT NULL, -- of the checkpoint
  witness text NOT NULL CHECK (witness ~ '^[^[:cntrl:] +]+[+][0-9a-f]{8}[+][A-Za-z0-9+/]{44}$' AND octet_length(witness) <= 1000), -- its verifier key
  at      timestamptz NOT NULL CHECK (isfinite(at)), -- by the clock of the witness
  line    text NOT NULL CHECK (line ~ '^— [^[:cntrl:] +]+ [A-Za-z0-9+/]{102}==\n$' AND octet_length(line) <= 1000),
  PRIMARY KEY (size, witness, at, line), -- a row that was put in keeps no genuine one out
  CHECK (split_part(line, ' ', 2) = split_part(witness, '+', 1))
);

-- Not a foreign key: with one, TRUNCATE of log_checkpoint fails before its trigger says that the history is append-only.
-- +goose StatementBegin
CREATE FUNCTION check_cosignature() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM log_checkpoint c WHERE c.size = NEW.size) THEN
    RAISE EXCEPTION 'cosignature refused: there is no checkpoint of % entries', NEW.size USING ERRCODE = 'foreign_key_violation';
  END IF;
  RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER of_checkpoint BEFORE INSERT ON log_cosignature FOR EACH ROW EXECUTE FUNCTION check_cosignature();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON log_cosignature FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON log_cosignature FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON log_cosignature TO arauto_app;
GRANT SELECT ON log_cosignature TO arauto_auditor;

-- +goose Down
DROP TABLE log_cosignature;
DROP FUNCTION check_cosignature();
