-- serve adds entries, and the database says when and by which transaction each was written. An entry's place in the log is
-- its transaction and its id, so a role that may choose the transaction could put a second row in the place of a sealed one.

-- +goose Up

-- The columns that product statements write. "at" and "xid" are missing on purpose: they always take their defaults.
REVOKE INSERT ON entry FROM arauto_app;
GRANT INSERT (id, kind, client_id, resource_kind, resource_id, revision, notification_id, change_id, interaction_id, number,
  outcome, closes, created_at, facts) ON entry TO arauto_app;

-- +goose Down
REVOKE INSERT ON entry FROM arauto_app; -- of each column, too
GRANT INSERT ON entry TO arauto_app;
