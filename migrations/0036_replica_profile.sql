-- Which profile a replica runs with, so that one of development does not work beside one of production (cases P3).

-- +goose Up
ALTER TABLE replica
  ADD COLUMN profile    text,        -- NULL: it is not known, or the replica has left
  ADD COLUMN profile_of timestamptz; -- started_at of the process that wrote profile: a version without these columns renews the others alone

-- +goose Down
ALTER TABLE replica DROP COLUMN profile, DROP COLUMN profile_of;
