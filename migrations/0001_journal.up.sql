-- The journal itself. Ids of swarms and sandboxes are small numbers in the chunk rows.

CREATE TABLE journal_info (
  name  TEXT PRIMARY KEY NOT NULL,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE journal_swarms (
  id    INTEGER PRIMARY KEY,
  swarm TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE journal_sandboxes (
  id       INTEGER PRIMARY KEY,
  sandbox  TEXT NOT NULL UNIQUE,
  swarm_id INTEGER NOT NULL REFERENCES journal_swarms (id)
) STRICT;

-- 0 in swarm or sandbox means none. The body stands last, so that the numbers are read without it.
CREATE TABLE chunks (
  first_seq           INTEGER PRIMARY KEY CHECK (first_seq >= 1),
  swarm               INTEGER NOT NULL CHECK (swarm >= 0),
  sandbox             INTEGER NOT NULL CHECK (sandbox >= 0),
  count               INTEGER NOT NULL CHECK (count >= 1),
  previous_in_sandbox INTEGER NOT NULL CHECK (previous_in_sandbox BETWEEN 0 AND first_seq - 1),
  previous_in_swarm   INTEGER NOT NULL CHECK (previous_in_swarm BETWEEN 0 AND first_seq - 1),
  body                BLOB NOT NULL
) STRICT;

-- Every index entry ends with the rowid, which is first_seq: these are (sandbox, first_seq) and
-- (swarm, first_seq).
CREATE INDEX chunks_by_sandbox ON chunks (sandbox) WHERE sandbox > 0;
CREATE INDEX chunks_by_swarm ON chunks (swarm) WHERE swarm > 0;

-- One row a daemon that took the state directory over; changed by daemon.started and
-- daemon.stopping.
CREATE TABLE epochs (
  epoch         INTEGER PRIMARY KEY CHECK (epoch >= 1),
  version       TEXT NOT NULL,
  pid           INTEGER NOT NULL,
  started_at_ms INTEGER NOT NULL,
  stopped_at_ms INTEGER NOT NULL DEFAULT 0,
  stop_reason   TEXT NOT NULL DEFAULT ''
) STRICT;
