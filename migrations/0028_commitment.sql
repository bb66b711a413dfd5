-- Whether the facts commit to the private text is seen without parsing the facts, where they are written as our own code writes them.

-- +goose Up

-- Replaced and not dropped: that would wait for every reader, and writers would wait behind it.
CREATE OR REPLACE TRIGGER committed BEFORE INSERT ON entry FOR EACH ROW
  WHEN (CASE
    WHEN NEW.kind NOT IN ('attempt', 'result', 'late-result') THEN NEW.private IS NOT NULL
    -- The first member is the commitment, and no other has this name, since nothing is escaped.
    WHEN starts_with(NEW.facts::text, '{"private":"' || rtrim(encode(sha256(convert_to(NEW.private::text, 'UTF8')), 'base64'), '=') || '"')
      AND strpos(NEW.facts::text, '\') = 0 AND strpos(substr(NEW.facts::text, 12), '"private"') = 0 THEN false
    ELSE NEW.facts->>'private' IS DISTINCT FROM rtrim(encode(sha256(convert_to(NEW.private::text, 'UTF8')), 'base64'), '=') END)
  EXECUTE FUNCTION refuse_private();

-- +goose Down
CREATE OR REPLACE TRIGGER committed BEFORE INSERT ON entry FOR EACH ROW
  WHEN (CASE WHEN NEW.kind IN ('attempt', 'result', 'late-result') THEN NEW.facts->>'private' END
    IS DISTINCT FROM rtrim(encode(sha256(convert_to(NEW.private::text, 'UTF8')), 'base64'), '='))
  EXECUTE FUNCTION refuse_private();
