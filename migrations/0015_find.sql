-- What a payment is found by that the history does not have. Filled when the log is folded, from the document as it is then.

-- +goose Up

-- Digests of end-to-end ids are keyed, so that the table tells nobody an id.
INSERT INTO keyring (name, key) VALUES ('find', decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

CREATE TABLE find_resource (
  kind        smallint NOT NULL,
  resource_id text COLLATE "C" NOT NULL,
  digest      bytea NOT NULL CHECK (octet_length(digest) = 16), -- of the end-to-end id: HMAC-SHA256, its first half
  PRIMARY KEY (kind, resource_id)
);
CREATE INDEX find_resource_digest ON find_resource (digest);

-- Roots of the CNPJ (of a company, not of a person) that payments of a client name as their initiator's.
CREATE TABLE find_cnpj (
  root      text COLLATE "C" NOT NULL,
  client_id text COLLATE "C" NOT NULL,
  PRIMARY KEY (root, client_id)
);

GRANT SELECT, INSERT, DELETE ON find_resource, find_cnpj TO arauto_app;
GRANT SELECT ON find_cnpj TO arauto_auditor;

-- +goose Down
DROP TABLE find_cnpj, find_resource;
DELETE FROM keyring WHERE name = 'find';
