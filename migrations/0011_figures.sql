-- Sums over time for pages and reports: projections of the log, folded in its order. They prove nothing; arauto audit
-- rebuild-figures makes them again from the log and compares.

-- +goose Up

-- How far the log is folded. A rebuilding fold is a second generation, which takes the place of the first when it is done.
CREATE TABLE figures_state (
  generation integer PRIMARY KEY,
  active     boolean NOT NULL,
  entries    bigint NOT NULL DEFAULT 0 CHECK (entries >= 0), -- of the log, from its beginning
  through    timestamptz                                      -- the latest instant among them
);
CREATE UNIQUE INDEX figures_state_active ON figures_state (active) WHERE active;
INSERT INTO figures_state (generation, active) VALUES (1, true);

-- By hour, client and kind. Client '' is all clients together, and what names none; kind 0 is what names none. sums are
-- counters by name.
CREATE TABLE figures_hour (
  generation integer NOT NULL,
  hour       timestamptz NOT NULL,
  client_id  text COLLATE "C" NOT NULL,
  kind       smallint NOT NULL,
  sums       json NOT NULL,
  PRIMARY KEY (generation, client_id, hour, kind)
) WITH (fillfactor = 70);

-- By minute and kind, of all clients, for the last days.
CREATE TABLE figures_minute (
  generation integer NOT NULL,
  minute     timestamptz NOT NULL,
  kind       smallint NOT NULL,
  sums       json NOT NULL,
  PRIMARY KEY (generation, minute, kind)
) WITH (fillfactor = 70);

-- What the log says last of the attempts of each client.
CREATE TABLE figures_client (
  generation   integer NOT NULL,
  client_id    text COLLATE "C" NOT NULL,
  last_success timestamptz,
  last_failure timestamptz,
  failures     bigint NOT NULL, -- since the last success
  failing_from timestamptz,     -- the first of them
  outcome      text NOT NULL,   -- of the last attempt
  PRIMARY KEY (generation, client_id)
) WITH (fillfactor = 70);

GRANT SELECT, INSERT, UPDATE, DELETE ON figures_state, figures_hour, figures_minute, figures_client TO arauto_app;

-- +goose Down
DROP TABLE figures_client, figures_minute, figures_hour, figures_state;
