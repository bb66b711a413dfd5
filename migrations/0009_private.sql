-- The proof of an attempt may be shown to the initiator it is about. What the bank alone may see of an attempt (the replica,
-- its address inside the bank, an error text) stands in a column of its own, and the facts hold a salted hash of it
-- (docs/audit-format.md, "Private text").

-- +goose Up

-- The exact text of a JSON object, or NULL. It is not a member of the record: old rows keep their bytes.
ALTER TABLE entry ADD COLUMN private json;
GRANT INSERT (private) ON entry TO arauto_app;

-- +goose StatementBegin
CREATE FUNCTION refuse_private() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'an entry of kind % refused: its facts do not commit to its private text', NEW.kind USING ERRCODE = 'check_violation';
END
$$;
-- +goose StatementEnd
-- A private text without its commitment, or a commitment without its text, would fail every later verification. Entries of
-- other kinds commit to nothing. The condition is evaluated without a call of the function while it is false.
CREATE TRIGGER committed BEFORE INSERT ON entry FOR EACH ROW
  WHEN (CASE WHEN NEW.kind IN ('attempt', 'result', 'late-result') THEN NEW.facts->>'private' END
    IS DISTINCT FROM rtrim(encode(sha256(convert_to(NEW.private::text, 'UTF8')), 'base64'), '='))
  EXECUTE FUNCTION refuse_private();

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN RAISE EXCEPTION 'private texts cannot be rolled back: sealed entries commit to them'; END $$;
-- +goose StatementEnd
