-- The first attempts that are recorded in the commit of their changes have one lease: a row for each such commit, instead of
-- a row of the queue for each notification (docs/decisions/0019). A notification is in a flight or in the queue.

-- +goose Up

CREATE TABLE flight (
  id          uuid PRIMARY KEY,
  xid         bigint NOT NULL DEFAULT (pg_current_xact_id()::text)::bigint, -- the commit's; its entries of kind attempt are the members
  lease_until timestamptz NOT NULL,
  unsettled   integer NOT NULL CHECK (unsettled > 0)                        -- members without a result; the last result deletes the row
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX flight_lease ON flight (lease_until);
GRANT SELECT, INSERT, UPDATE, DELETE ON flight TO arauto_app;

-- +goose Down
-- +goose StatementBegin
DO $$
BEGIN
  IF EXISTS (SELECT FROM flight) THEN
    RAISE EXCEPTION 'attempts are under way: run a replica until the table flight is empty';
  END IF;
  DROP TABLE flight;
END
$$;
-- +goose StatementEnd
