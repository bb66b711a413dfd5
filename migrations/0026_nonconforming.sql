-- Documents that were stored and told although they do not conform to the API's schema are listed beside what was refused, and the
-- list is read page by page.

-- +goose Up
ALTER TABLE quarantine DROP CONSTRAINT quarantine_state_check,
  ADD CONSTRAINT quarantine_state_check CHECK (state IN ('open', 'nonconforming', 'applied', 'dismissed'));

-- A page of one state, and a page of all.
CREATE INDEX quarantine_by_state ON quarantine (state, first_at, id);
DROP INDEX quarantine_open;
CREATE INDEX quarantine_by_time ON quarantine (first_at, id);

-- +goose Down
CREATE INDEX quarantine_open ON quarantine (first_at DESC, id) WHERE state = 'open';
DROP INDEX quarantine_by_time;
DROP INDEX quarantine_by_state;
UPDATE quarantine SET state = 'dismissed', closed_by = 'arauto', closed_why = 'rolled back to a version without this state', closed_at = now()
  WHERE state = 'nonconforming';
ALTER TABLE quarantine DROP CONSTRAINT quarantine_state_check,
  ADD CONSTRAINT quarantine_state_check CHECK (state IN ('open', 'applied', 'dismissed'));
