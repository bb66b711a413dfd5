-- First attempts that only their results show to have started late: claimed in time, and the first byte left late. The list of late first
-- attempts finds the others by their claim. A projection of the log, as the sums are: arauto audit rebuild-figures makes it again.

-- +goose Up
CREATE TABLE figures_late (
  generation      integer NOT NULL,
  at              timestamptz NOT NULL, -- when the attempt was recorded
  notification_id uuid NOT NULL,
  client_id       text COLLATE "C" NOT NULL,
  PRIMARY KEY (generation, at, notification_id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON figures_late TO arauto_app;
GRANT SELECT ON figures_late TO arauto_auditor;

-- With a month of the history go the rows of its attempts, and at its two edges those whose notification lost its announcement or the result: they
-- cannot be listed any more, and would be counted. A first attempt is claimed and ends within the hour.
-- +goose StatementBegin
CREATE FUNCTION forget_late() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  starts timestamptz := to_date(substr(NEW.partition, 7), 'YYYYMM')::timestamp AT TIME ZONE 'UTC';
  ends   timestamptz := (to_date(substr(NEW.partition, 7), 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
  DELETE FROM figures_late l WHERE generation IN (SELECT generation FROM figures_state) AND at >= starts - interval '1 hour' AND at < ends + interval '1 hour'
    AND (at >= starts AND at < ends
      OR NOT EXISTS (SELECT FROM entry e WHERE e.notification_id = l.notification_id AND e.kind IN ('change', 'decision'))
      OR NOT EXISTS (SELECT FROM entry e WHERE e.notification_id = l.notification_id AND e.kind = 'result' AND e.number = 1));
  RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER forget_late AFTER INSERT ON history_dropped FOR EACH ROW EXECUTE FUNCTION forget_late();

-- +goose Down
DROP TRIGGER forget_late ON history_dropped;
DROP FUNCTION forget_late();
DROP TABLE figures_late;
