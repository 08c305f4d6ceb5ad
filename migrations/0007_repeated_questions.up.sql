-- Ways to what the daemon asks for again and again: nothing that it repeats reads rows that only grow
-- in number. Indexes alone; no row changes.

-- What is there as far as we know. The reader names it by the same words.
CREATE INDEX sandboxes_living ON sandboxes (created_at_ms) WHERE remote_id <> '' AND kill_confirmed = 0 AND (state <> 9 OR kept = 1 OR kill_intended = 1);
-- What was kept and nobody has asked to kill, by the end of its lease.
CREATE INDEX sandboxes_kept ON sandboxes (lease_end_at_ms) WHERE state = 9 AND kept = 1 AND kill_intended = 0;
-- What may be there all the same. The lease of a closed sandbox stays as it is: no renewal writes here.
CREATE INDEX sandboxes_by_age ON sandboxes (created_at_ms, provider);
CREATE INDEX sandboxes_closed_by_lease ON sandboxes (lease_end_at_ms, provider) WHERE state = 9;

-- The windows of the creation limits are read of all providers at once. One index takes the place of
-- the other, so that a create writes no more than before.
DROP INDEX creates_by_provider;
CREATE INDEX creates_by_time ON creates (at_ms, provider);

-- Warnings of panes are not asked for.
CREATE INDEX spend_warnings_by_time ON spend_warnings (at_ms) WHERE scope < 3;
