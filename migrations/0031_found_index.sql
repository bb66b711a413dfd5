-- Payments are found by an index over their resources. It is a migration of its own: the one that adds the column locks out readers.

-- +goose Up

-- Rows of documents from before this migration, and from replicas of the version before, are found by their digests and erased by their keys.
-- +goose StatementBegin
DO $$
DECLARE
  broken regclass;
BEGIN
  FOR broken IN SELECT indexrelid FROM pg_index WHERE indexrelid IN (to_regclass('resource_found'), to_regclass('find_resource_key')) AND NOT indisvalid LOOP
    EXECUTE format('DROP INDEX %s', broken); -- one that was built beforehand, and failed
  END LOOP;
END
$$;
-- +goose StatementEnd
CREATE INDEX IF NOT EXISTS resource_found ON resource (found) WHERE found <> '';
CREATE INDEX IF NOT EXISTS find_resource_key ON find_resource (kind, resource_id);

-- +goose Down
DROP INDEX find_resource_key, resource_found;
