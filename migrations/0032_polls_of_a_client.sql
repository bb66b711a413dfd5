-- Status queries of an initiator within a time are found by an index: the summaries of entry_walk have every initiator that queries often in
-- almost every range, so that a search read all entries of that time. The path of a notification has no entry in it.

-- +goose Up
CREATE INDEX entry_polls ON entry (client_id, at, id) WHERE kind = 'poll';

-- +goose Down
DROP INDEX entry_polls;
