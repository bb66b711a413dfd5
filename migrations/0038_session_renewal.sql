-- What the provider gave a session to ask again whether its person may still come in, once a minute, and with which roles. It is encrypted with a key
-- made of the token in the person's cookie, of which the database has the hash alone.

-- +goose Up
ALTER TABLE console_session
  ADD COLUMN renewal bytea, -- NULL: the provider gave nothing
  ADD COLUMN asked_at timestamptz NOT NULL DEFAULT now();

-- +goose Down
ALTER TABLE console_session DROP COLUMN renewal, DROP COLUMN asked_at;
