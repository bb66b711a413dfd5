-- Whether a bundle of a client's period was shown to be complete, and what its verification noted. NULL: it was not asked, because the
-- filter names no client with the end of a period, or the file is no bundle.

-- +goose Up
ALTER TABLE export_job ADD COLUMN complete boolean, ADD COLUMN notes text[];

-- +goose Down
ALTER TABLE export_job DROP COLUMN complete, DROP COLUMN notes;
