-- People who are signed in to the console. A session is a row, so that any replica serves it and its end is at once everywhere.
-- The cookie holds a random token; only its hash is stored. When a session has ended, its row may be deleted at any time: that it
-- was opened and closed is in the history.

-- +goose Up
CREATE TABLE console_session (
  token_sha256 bytea PRIMARY KEY CHECK (octet_length(token_sha256) = 32),
  subject      text NOT NULL,
  name         text NOT NULL,
  roles        text[] NOT NULL,
  opened_at    timestamptz NOT NULL DEFAULT now(),
  seen_at      timestamptz NOT NULL DEFAULT now() -- when the person did something last; a page that refreshes itself does not count
);
CREATE INDEX console_session_opened ON console_session (opened_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON console_session TO arauto_app;

-- A link that opens one session, in profile development without a provider.
CREATE TABLE console_link (
  secret_sha256 bytea PRIMARY KEY CHECK (octet_length(secret_sha256) = 32),
  expires_at    timestamptz NOT NULL
);
GRANT SELECT, INSERT, DELETE ON console_link TO arauto_app;

-- +goose Down
DROP TABLE console_link;
DROP TABLE console_session;
