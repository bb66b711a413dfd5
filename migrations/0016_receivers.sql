-- The certificates that initiators' endpoints showed last, also in handshakes that failed, for all replicas.

-- +goose Up

CREATE TABLE receiver_certificate (
  client_id   text COLLATE "C" PRIMARY KEY,
  subject     text NOT NULL,
  issuer      text NOT NULL,
  serial      text NOT NULL,        -- hex
  fingerprint text NOT NULL,        -- SHA-256, hex
  not_after   timestamptz NOT NULL,
  wrong       text NOT NULL,        -- why the handshake failed; '': it did not
  seen_at     timestamptz NOT NULL  -- by the replica's clock
);
GRANT SELECT, INSERT, UPDATE, DELETE ON receiver_certificate TO arauto_app;

-- +goose Down
DROP TABLE receiver_certificate;
