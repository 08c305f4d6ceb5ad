-- What the facts of the journal add up to. Only facts change these tables, so that going down and
-- up again makes them anew from the journal. Column names are the field names of messages/records.hpp;
-- enumerations are their numbers (messages/enums.hpp), times milliseconds since the epoch, 0: not yet.

CREATE TABLE swarms (
  swarm         TEXT PRIMARY KEY NOT NULL,
  name          TEXT NOT NULL,
  repo          TEXT NOT NULL,
  provider      TEXT NOT NULL,
  agent         INTEGER NOT NULL CONSTRAINT swarms_agent CHECK (agent BETWEEN 0 AND 1),
  sandboxes     INTEGER NOT NULL CHECK (sandboxes >= 0),
  panes         INTEGER NOT NULL CHECK (panes >= 0),
  keep          INTEGER NOT NULL CONSTRAINT swarms_keep CHECK (keep BETWEEN 0 AND 1),
  out_dir       TEXT NOT NULL,
  state         INTEGER NOT NULL CONSTRAINT swarms_state CHECK (state BETWEEN 0 AND 3),
  result        INTEGER NOT NULL DEFAULT 0 CONSTRAINT swarms_result CHECK (result BETWEEN 0 AND 8),
  error_code    TEXT NOT NULL DEFAULT '',
  error_text    TEXT NOT NULL DEFAULT '',
  cost_usd      REAL NOT NULL DEFAULT 0 CHECK (cost_usd >= 0),
  created_at_ms INTEGER NOT NULL,
  closed_at_ms  INTEGER NOT NULL DEFAULT 0,
  spec          BLOB NOT NULL,
  CONSTRAINT swarms_closed_with_result CHECK ((state = 3) = (result <> 0))
) STRICT;

CREATE TABLE sandboxes (
  sandbox         TEXT PRIMARY KEY NOT NULL,
  swarm           TEXT NOT NULL REFERENCES swarms (swarm),
  "index"         INTEGER NOT NULL CHECK ("index" >= 0),
  provider        TEXT NOT NULL,
  state           INTEGER NOT NULL CONSTRAINT sandboxes_state CHECK (state BETWEEN 0 AND 9),
  result          INTEGER NOT NULL DEFAULT 0 CONSTRAINT sandboxes_result CHECK (result BETWEEN 0 AND 8),
  intent          TEXT NOT NULL DEFAULT '',
  unresolved      INTEGER NOT NULL DEFAULT 0 CONSTRAINT sandboxes_unresolved CHECK (unresolved BETWEEN 0 AND 1),
  remote_id       TEXT NOT NULL DEFAULT '',
  kill_intended   INTEGER NOT NULL DEFAULT 0 CONSTRAINT sandboxes_kill_intended CHECK (kill_intended BETWEEN 0 AND 1),
  kill_confirmed  INTEGER NOT NULL DEFAULT 0 CONSTRAINT sandboxes_kill_confirmed CHECK (kill_confirmed BETWEEN 0 AND 1),
  degraded        INTEGER NOT NULL DEFAULT 0 CONSTRAINT sandboxes_degraded CHECK (degraded BETWEEN 0 AND 1),
  kept            INTEGER NOT NULL DEFAULT 0 CONSTRAINT sandboxes_kept CHECK (kept BETWEEN 0 AND 1),
  base_commit     TEXT NOT NULL DEFAULT '',
  error_code      TEXT NOT NULL DEFAULT '',
  error_text      TEXT NOT NULL DEFAULT '',
  lease_end_at_ms INTEGER NOT NULL DEFAULT 0,
  created_at_ms   INTEGER NOT NULL,
  phase_since_ms  INTEGER NOT NULL,
  closed_at_ms    INTEGER NOT NULL DEFAULT 0,
  CONSTRAINT sandboxes_closed_with_result CHECK ((state = 9) = (result <> 0))
) STRICT;

CREATE TABLE panes (
  pane          TEXT PRIMARY KEY NOT NULL,
  sandbox       TEXT NOT NULL REFERENCES sandboxes (sandbox),
  swarm         TEXT NOT NULL REFERENCES swarms (swarm),
  "index"       INTEGER NOT NULL CHECK ("index" >= 0),
  name          TEXT NOT NULL,
  branch        TEXT NOT NULL,
  agent         INTEGER NOT NULL CONSTRAINT panes_agent CHECK (agent BETWEEN 0 AND 1),
  state         INTEGER NOT NULL CONSTRAINT panes_state CHECK (state BETWEEN 0 AND 5),
  result        INTEGER NOT NULL DEFAULT 0 CONSTRAINT panes_result CHECK (result BETWEEN 0 AND 8),
  attempt       INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
  pid           INTEGER NOT NULL DEFAULT 0,
  exit_code     INTEGER NOT NULL DEFAULT 0,
  signal        INTEGER NOT NULL DEFAULT 0,
  final_offset  INTEGER NOT NULL DEFAULT 0 CHECK (final_offset >= 0),
  cost_usd      REAL NOT NULL DEFAULT 0 CHECK (cost_usd >= 0),
  input_tokens  INTEGER NOT NULL DEFAULT 0 CHECK (input_tokens >= 0),
  output_tokens INTEGER NOT NULL DEFAULT 0 CHECK (output_tokens >= 0),
  turns         INTEGER NOT NULL DEFAULT 0 CHECK (turns >= 0),
  summary       TEXT NOT NULL DEFAULT '',
  error_code    TEXT NOT NULL DEFAULT '',
  error_text    TEXT NOT NULL DEFAULT '',
  created_at_ms INTEGER NOT NULL,
  started_at_ms INTEGER NOT NULL DEFAULT 0,
  closed_at_ms  INTEGER NOT NULL DEFAULT 0,
  CONSTRAINT panes_closed_with_result CHECK ((state = 5) = (result <> 0))
) STRICT;

CREATE TABLE transfers (
  transfer      TEXT PRIMARY KEY NOT NULL,
  sandbox       TEXT NOT NULL REFERENCES sandboxes (sandbox),
  swarm         TEXT NOT NULL REFERENCES swarms (swarm),
  pane          TEXT NOT NULL,
  direction     INTEGER NOT NULL CONSTRAINT transfers_direction CHECK (direction BETWEEN 0 AND 1),
  state         INTEGER NOT NULL CONSTRAINT transfers_state CHECK (state BETWEEN 0 AND 3),
  files         INTEGER NOT NULL CHECK (files >= 0),
  size_bytes    INTEGER NOT NULL CHECK (size_bytes >= 0),
  sha256        TEXT NOT NULL DEFAULT '',
  error_code    TEXT NOT NULL DEFAULT '',
  error_text    TEXT NOT NULL DEFAULT '',
  created_at_ms INTEGER NOT NULL,
  ended_at_ms   INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE commands (
  key            TEXT PRIMARY KEY NOT NULL,
  command        TEXT NOT NULL,
  fingerprint    TEXT NOT NULL,
  reply          BLOB NOT NULL,
  accepted_at_ms INTEGER NOT NULL,
  expires_at_ms  INTEGER NOT NULL
) STRICT;
