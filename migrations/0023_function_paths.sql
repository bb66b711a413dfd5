-- Functions that act as the owner, and checks of what the log's tables take, look at our tables only. A search path that does not name
-- pg_temp has it first, so that a temporary table of the caller's could stand in the place of one of ours.

-- +goose Up
-- +goose StatementBegin
DO $$
DECLARE
  f regprocedure;
BEGIN
  FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace AND (p.prosecdef OR p.proname LIKE 'check\_%') LOOP
    EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', f, current_schema());
  END LOOP;
END
$$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
DO $$
DECLARE
  f regprocedure;
BEGIN
  FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace AND (p.prosecdef OR p.proname LIKE 'check\_%') LOOP
    EXECUTE format('ALTER FUNCTION %s SET search_path = %I', f, current_schema());
  END LOOP;
END
$$;
-- +goose StatementEnd
ALTER FUNCTION check_anchored() RESET search_path; -- it had none
