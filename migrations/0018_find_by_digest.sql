-- Payments are found by their digest alone: one index a payment, not two.

-- +goose Up
ALTER TABLE find_resource DROP CONSTRAINT find_resource_pkey, ADD PRIMARY KEY (digest, kind, resource_id);
DROP INDEX find_resource_digest;

-- +goose Down
CREATE INDEX find_resource_digest ON find_resource (digest);
ALTER TABLE find_resource DROP CONSTRAINT find_resource_pkey, ADD PRIMARY KEY (kind, resource_id);
