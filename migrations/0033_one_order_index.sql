-- Entries of a transaction are found by the index of the order of sealing alone.

-- +goose Up

-- It was there before entry_order, which serves every look that this one did, and each new entry had to be looked up in both.
-- It waits for readers of each month, and meanwhile no entry can be added: so it waits for a short time only, and can be run again.
SET LOCAL lock_timeout = '200ms';
DROP INDEX entry_xid;

-- +goose Down
CREATE INDEX entry_xid ON entry USING brin (xid) WITH (pages_per_range = 16, autosummarize = on);
