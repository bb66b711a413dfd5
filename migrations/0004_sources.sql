-- What is kept of sources: logs of other databases, or buses, that are followed. Their acts, such as a pause, are in the
-- history; what is here is how things stand now.

-- +goose Up

-- One row a source, made when a replica first runs it or an operator first pauses it.
CREATE TABLE source (
  name        text COLLATE "C" PRIMARY KEY CHECK (name <> ''),
  paused      boolean NOT NULL DEFAULT false,
  paused_by   text,
  paused_why  text,
  paused_at   timestamptz,
  status      jsonb NOT NULL DEFAULT '{}', -- as the replica that reads the source told it last
  reading     boolean NOT NULL DEFAULT false, -- that replica read it then
  replica     text,
  reported_at timestamptz
);

-- What a reader must find again that its origin does not keep: how far a first load came, and the like.
CREATE TABLE source_memory (
  source text COLLATE "C" NOT NULL,
  key    text COLLATE "C" NOT NULL,
  value  bytea NOT NULL,
  PRIMARY KEY (source, key)
);

-- Cases of one source, oldest revision first: what a corrected mapping is applied to.
CREATE INDEX quarantine_source ON quarantine (source, revision, id) WHERE state = 'open';

GRANT SELECT, INSERT, UPDATE ON source TO arauto_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON source_memory TO arauto_app;

-- +goose Down
DROP INDEX quarantine_source;
DROP TABLE source_memory;
DROP TABLE source;
