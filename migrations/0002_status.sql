-- What the status endpoints need beyond the core: payments found by their consent, and polls replayed once.

-- +goose Up

-- The consent a payment belongs to; null for other kinds. It is taken from the document when a change is stored, since
-- the document itself is kept as bytes and not searched.
ALTER TABLE resource ADD COLUMN consent_id text COLLATE "C";
UPDATE resource SET consent_id = convert_from(document, 'UTF8')::json ->> CASE kind WHEN 2 THEN 'consentId' ELSE 'recurringConsentId' END
  WHERE kind IN (2, 4);
CREATE INDEX resource_consent ON resource (kind, consent_id) WHERE consent_id IS NOT NULL;

-- Polls whose record waited in a replica's spool: which of them are in the history by now. A row is written with the
-- entry it names, keeps a commit that was overtaken by the spool from writing it again, and goes after a day.
CREATE TABLE poll_replayed (
  id uuid PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX poll_replayed_at ON poll_replayed (at);
GRANT SELECT, INSERT, DELETE ON poll_replayed TO arauto_app;

-- +goose Down
DROP TABLE poll_replayed;
DROP INDEX resource_consent;
ALTER TABLE resource DROP COLUMN consent_id;
