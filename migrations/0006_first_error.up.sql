-- The first error of a sandbox (and of a pane) in its parts, from the moment it is known, so that a restarted daemon closes the sandbox
-- with it; and the sandboxes that their provider lost, with what was lost with them.

ALTER TABLE sandboxes ADD COLUMN error_step TEXT NOT NULL DEFAULT '';
ALTER TABLE sandboxes ADD COLUMN error_message TEXT NOT NULL DEFAULT '';
ALTER TABLE sandboxes ADD COLUMN error_cause TEXT NOT NULL DEFAULT '';
ALTER TABLE panes ADD COLUMN error_step TEXT NOT NULL DEFAULT '';
ALTER TABLE panes ADD COLUMN error_message TEXT NOT NULL DEFAULT '';
ALTER TABLE panes ADD COLUMN error_cause TEXT NOT NULL DEFAULT '';

CREATE TABLE replacements (
  lost            TEXT PRIMARY KEY NOT NULL REFERENCES sandboxes (sandbox),
  swarm           TEXT NOT NULL REFERENCES swarms (swarm),
  successor       TEXT NOT NULL UNIQUE,
  number          INTEGER NOT NULL CHECK (number > 0),
  base_commit     TEXT NOT NULL,
  last_sync_at_ms INTEGER NOT NULL,
  unsynced        TEXT NOT NULL,
  unanswered      INTEGER NOT NULL CHECK (unanswered >= 0),
  output_bytes    INTEGER NOT NULL CHECK (output_bytes >= 0),
  cost_usd        REAL NOT NULL,
  replaced_at_ms  INTEGER NOT NULL
) STRICT;

CREATE INDEX replacements_by_swarm ON replacements (swarm, number);
