-- What swarms and sandboxes cost, what they may cost, and what counts against the limits of a
-- provider. The tables are made anew from the journal.

ALTER TABLE swarms ADD COLUMN budget_usd REAL NOT NULL DEFAULT 0 CHECK (budget_usd >= 0);
ALTER TABLE swarms ADD COLUMN pane_budget_usd REAL NOT NULL DEFAULT 0 CHECK (pane_budget_usd >= 0);
ALTER TABLE swarms ADD COLUMN stop_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE swarms ADD COLUMN time_cost_usd REAL NOT NULL DEFAULT 0 CHECK (time_cost_usd >= 0);

-- counted: the gateway's count is model_cost_usd. agent_cost_usd: what its agents say.
ALTER TABLE sandboxes ADD COLUMN usd_per_hour REAL NOT NULL DEFAULT 0 CHECK (usd_per_hour >= 0);
ALTER TABLE sandboxes ADD COLUMN charged_from_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sandboxes ADD COLUMN charged_until_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sandboxes ADD COLUMN model_cost_usd REAL NOT NULL DEFAULT 0 CHECK (model_cost_usd >= 0);
ALTER TABLE sandboxes ADD COLUMN reserved_usd REAL NOT NULL DEFAULT 0 CHECK (reserved_usd >= 0);
ALTER TABLE sandboxes ADD COLUMN counted INTEGER NOT NULL DEFAULT 0 CONSTRAINT sandboxes_counted CHECK (counted BETWEEN 0 AND 1);
ALTER TABLE sandboxes ADD COLUMN agent_cost_usd REAL NOT NULL DEFAULT 0 CHECK (agent_cost_usd >= 0);
ALTER TABLE sandboxes ADD COLUMN unpriced_calls INTEGER NOT NULL DEFAULT 0 CHECK (unpriced_calls >= 0);

ALTER TABLE panes ADD COLUMN counted INTEGER NOT NULL DEFAULT 0 CONSTRAINT panes_counted CHECK (counted BETWEEN 0 AND 1);

-- One row for each create intent: what the windows of the creation limits count.
CREATE TABLE creates (
  intent   TEXT PRIMARY KEY NOT NULL,
  sandbox  TEXT NOT NULL,
  provider TEXT NOT NULL,
  at_ms    INTEGER NOT NULL
) STRICT;
CREATE INDEX creates_by_provider ON creates (provider, at_ms);

-- What was charged on a day (the milliseconds of its begin, UTC). The time of sandboxes that are
-- still there is not in it.
CREATE TABLE spend_days (
  day_ms    INTEGER PRIMARY KEY NOT NULL,
  time_usd  REAL NOT NULL DEFAULT 0,
  model_usd REAL NOT NULL DEFAULT 0
) STRICT;

-- Set by command: scope 0 day, 1 month. limit_usd below 0: none.
CREATE TABLE budgets (
  scope     INTEGER PRIMARY KEY NOT NULL CONSTRAINT budgets_scope CHECK (scope BETWEEN 0 AND 1),
  limit_usd REAL NOT NULL
) STRICT;

-- Warnings that were given: scope 0 day, 1 month, 2 swarm, 3 pane. A warning is given once.
CREATE TABLE spend_warnings (
  warning TEXT PRIMARY KEY NOT NULL,
  scope   INTEGER NOT NULL CONSTRAINT spend_warnings_scope CHECK (scope BETWEEN 0 AND 3),
  percent INTEGER NOT NULL,
  at_ms   INTEGER NOT NULL
) STRICT;

CREATE INDEX sandboxes_charged ON sandboxes (created_at_ms) WHERE charged_from_ms <> 0 AND charged_until_ms = 0;
