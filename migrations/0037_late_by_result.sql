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

-- +goose Down
DROP TABLE figures_late;
