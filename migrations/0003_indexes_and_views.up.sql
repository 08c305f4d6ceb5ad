-- Ways into the state tables, and a view for people with the sqlite3 program.

-- Lists, newest first; the partial ones hold what is open only and so stay small.
CREATE INDEX swarms_newest ON swarms (created_at_ms DESC);
CREATE INDEX swarms_open_newest ON swarms (created_at_ms DESC) WHERE state <> 3;
CREATE INDEX swarms_by_state ON swarms (state, created_at_ms DESC);
CREATE INDEX sandboxes_by_swarm ON sandboxes (swarm, "index");
CREATE INDEX sandboxes_by_state ON sandboxes (state, created_at_ms DESC);
CREATE INDEX sandboxes_open_newest ON sandboxes (created_at_ms DESC) WHERE state <> 9;
CREATE INDEX sandboxes_by_remote ON sandboxes (remote_id) WHERE remote_id <> '';
CREATE INDEX panes_by_sandbox ON panes (sandbox, "index");
CREATE INDEX panes_by_swarm ON panes (swarm, "index");
CREATE INDEX panes_open_newest ON panes (created_at_ms DESC) WHERE state <> 5;
CREATE INDEX transfers_by_sandbox ON transfers (sandbox);
CREATE INDEX transfers_by_swarm ON transfers (swarm, created_at_ms);
CREATE INDEX commands_by_expiry ON commands (expires_at_ms);

-- What the reaper works on.
CREATE INDEX sandboxes_kill_pending ON sandboxes (created_at_ms) WHERE kill_intended = 1 AND kill_confirmed = 0;
CREATE INDEX sandboxes_create_pending ON sandboxes (created_at_ms) WHERE unresolved = 1;

CREATE VIEW sandbox_sessions AS
SELECT sandbox, swarm, "index", provider, remote_id,
       CASE state WHEN 0 THEN 'queued' WHEN 1 THEN 'creating' WHEN 2 THEN 'verifying'
                  WHEN 3 THEN 'provisioning' WHEN 4 THEN 'uploading' WHEN 5 THEN 'starting'
                  WHEN 6 THEN 'running' WHEN 7 THEN 'draining' WHEN 8 THEN 'collecting'
                  WHEN 9 THEN 'closed' END AS state,
       CASE result WHEN 0 THEN 'none' WHEN 1 THEN 'completed' WHEN 2 THEN 'failed'
                   WHEN 3 THEN 'timed_out' WHEN 4 THEN 'budget' WHEN 5 THEN 'cancelled'
                   WHEN 6 THEN 'killed' WHEN 7 THEN 'lost' WHEN 8 THEN 'suspect' END AS result,
       state = 9 AS is_closed,
       (CASE WHEN state = 9 THEN closed_at_ms ELSE CAST(strftime('%s', 'now') AS INTEGER) * 1000 END
        - created_at_ms) / 60000.0 AS runtime_minutes,
       error_code, created_at_ms, closed_at_ms
FROM sandboxes;
