-- The order of sealing has an index, so that the sealer reads the next entries and not all that wait.

-- +goose Up

-- All entries of a transaction have one key, which PostgreSQL stores once for many of them. Their ids are sorted when they are
-- read. entry_xid cannot serve the order: each look reads every page that it does not sum up yet, and all its ranges.
CREATE INDEX entry_order ON entry (xid);

-- +goose Down
DROP INDEX entry_order;
