-- What operators are told of: one row for each trouble that is open, whichever replicas see it. Its beginning and its end are
-- entries of the history; what is here is how things stand now, and who was told.

-- +goose Up
CREATE TABLE operator_event (
  key         text COLLATE "C" PRIMARY KEY CHECK (key <> ''), -- kind and subject
  kind        text NOT NULL,
  subject     text NOT NULL,
  detail      text NOT NULL DEFAULT '',
  count       bigint NOT NULL DEFAULT 1,          -- how often it was seen
  quiet       interval NOT NULL,                  -- it is over when nobody has seen it for so long
  opened_at   timestamptz NOT NULL DEFAULT now(),
  last_at     timestamptz NOT NULL DEFAULT now(),
  over_at     timestamptz,
  told        text[] NOT NULL DEFAULT '{}',       -- "open:" or "over:" and the way, as in "open:slack"
  next_at     timestamptz NOT NULL DEFAULT now(), -- when it is tried next to tell somebody
  lease_until timestamptz                         -- a replica is telling it
);
GRANT SELECT, INSERT, UPDATE, DELETE ON operator_event TO arauto_app;

-- +goose Down
DROP TABLE operator_event;
