-- What supervision of a run's life must remember over restarts: which soft limit of its time was told,
-- output that ends too early, agents that were frozen or gave no sign of life, and switches of the daemon.

ALTER TABLE swarms ADD COLUMN warned_ms INTEGER NOT NULL DEFAULT 0 CHECK (warned_ms >= 0);
ALTER TABLE sandboxes ADD COLUMN output_incomplete INTEGER NOT NULL DEFAULT 0 CHECK (output_incomplete BETWEEN 0 AND 1);
ALTER TABLE sandboxes ADD COLUMN frozen INTEGER NOT NULL DEFAULT 0 CHECK (frozen BETWEEN 0 AND 1);
ALTER TABLE panes ADD COLUMN output_incomplete INTEGER NOT NULL DEFAULT 0 CHECK (output_incomplete BETWEEN 0 AND 1);
ALTER TABLE panes ADD COLUMN idle INTEGER NOT NULL DEFAULT 0 CHECK (idle BETWEEN 0 AND 1);

-- Switches: 'draining' is 1 while no new runs are taken.
CREATE TABLE switches (
  name          TEXT PRIMARY KEY NOT NULL,
  state         INTEGER NOT NULL CHECK (state BETWEEN 0 AND 1),
  reason        TEXT NOT NULL,
  changed_at_ms INTEGER NOT NULL
) STRICT;
