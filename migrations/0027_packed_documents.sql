-- Documents of resources may be packed: a byte that names the dictionary, and what follows is for the product to read
-- (docs/decisions/0025). Documents that are not packed stay as they are, and both are read for ever.

-- +goose Up

-- A replica of a version before this migration cannot read a packed document. So a database that such a version may have used keeps
-- them plain until the operator says that none runs any more (docs/operations/backup-and-upgrade.md).
ALTER TABLE form ADD COLUMN packed boolean NOT NULL DEFAULT false;
UPDATE form SET packed = NOT EXISTS (SELECT FROM entry) AND NOT EXISTS (SELECT FROM initiator) AND NOT EXISTS (SELECT FROM resource)
  AND NOT EXISTS (SELECT FROM replica) AND NOT EXISTS (SELECT FROM log_key); -- no replica has ever run here

-- +goose Down
-- +goose StatementBegin
DO $$
BEGIN
  IF EXISTS (SELECT FROM resource WHERE substr(document, 1, 1) = '\x01') THEN
    RAISE EXCEPTION 'documents are packed: run arauto migrate --plain-documents';
  END IF;
  ALTER TABLE form DROP COLUMN packed;
END
$$;
-- +goose StatementEnd
