-- By which further names a person of the console is known, so that who asked for an act under one of them does not decide about it.

-- +goose Up
ALTER TABLE console_session ADD COLUMN also text[] NOT NULL DEFAULT '{}'; -- user name and addresses, as the provider told them

-- +goose Down
ALTER TABLE console_session DROP COLUMN also;
