-- The current revision of a resource stands in the row of its resource. It gets a row in the table revision when another one takes its
-- place (docs/decisions/0021). The view stored_revision has the revisions of both tables.

-- +goose Up

ALTER TABLE resource
  ADD COLUMN unwritten       bigint, -- the current revision, while it has no row in the table revision; NULL: it has one
  ADD COLUMN cause           text,   -- what only a row in the table revision would tell of it
  ADD COLUMN notification_id uuid,
  ADD COLUMN reason          text;

CREATE VIEW stored_revision AS
  SELECT kind, resource_id, revision, change_id, data_hash, status, watched, cause, occurred_at, notification_id, reason FROM revision
  UNION ALL
  SELECT kind, id, unwritten, change_id, data_hash, status, watched, cause, occurred_at, notification_id, reason FROM resource WHERE unwritten IS NOT NULL;

-- The database writes the row, also when a replica of a version before this migration replaces the document: that replica leaves the
-- new columns as they are. A row that is there already stays.
-- +goose StatementBegin
CREATE FUNCTION write_revision() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO revision (kind, resource_id, revision, change_id, data_hash, status, watched, cause, occurred_at, notification_id, reason)
  VALUES (OLD.kind, OLD.id, OLD.unwritten, OLD.change_id, OLD.data_hash, OLD.status, OLD.watched, OLD.cause, OLD.occurred_at, OLD.notification_id, OLD.reason)
  ON CONFLICT DO NOTHING;
  IF TG_OP = 'DELETE' THEN
    RETURN OLD;
  END IF;
  IF NEW.unwritten = OLD.unwritten THEN
    NEW.unwritten := NULL;
  END IF;
  RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER replaced BEFORE UPDATE ON resource FOR EACH ROW
  WHEN (OLD.unwritten IS NOT NULL AND (NEW.unwritten IS DISTINCT FROM OLD.unwritten OR NEW.revision <> OLD.revision OR NEW.change_id <> OLD.change_id))
  EXECUTE FUNCTION write_revision();
CREATE TRIGGER removed BEFORE DELETE ON resource FOR EACH ROW WHEN (OLD.unwritten IS NOT NULL) EXECUTE FUNCTION write_revision();

-- A replica of a version before this migration does not find what is written in the denser form. So a database that such a version may
-- have used keeps the longer form until the operator says that none runs any more (docs/operations/backup-and-upgrade.md).
CREATE TABLE form (
  one   boolean PRIMARY KEY DEFAULT true CHECK (one),
  dense boolean NOT NULL
);
INSERT INTO form (dense) SELECT NOT EXISTS (SELECT FROM entry) AND NOT EXISTS (SELECT FROM initiator) AND NOT EXISTS (SELECT FROM resource)
  AND NOT EXISTS (SELECT FROM replica) AND NOT EXISTS (SELECT FROM log_key); -- no replica has ever run here

GRANT SELECT ON stored_revision, form TO arauto_app, arauto_auditor;

-- +goose Down
-- +goose StatementBegin
DO $$
BEGIN
  IF EXISTS (SELECT FROM resource WHERE unwritten IS NOT NULL) THEN
    RAISE EXCEPTION 'current revisions have no rows: set form.dense to false, and resource.unwritten to NULL';
  END IF;
  DROP TRIGGER replaced ON resource;
  DROP TRIGGER removed ON resource;
  DROP FUNCTION write_revision();
  DROP VIEW stored_revision;
  DROP TABLE form;
  ALTER TABLE resource DROP COLUMN unwritten, DROP COLUMN cause, DROP COLUMN notification_id, DROP COLUMN reason;
END
$$;
-- +goose StatementEnd
