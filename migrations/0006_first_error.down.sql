DROP INDEX replacements_by_swarm;
DROP TABLE replacements;
ALTER TABLE panes DROP COLUMN error_cause;
ALTER TABLE panes DROP COLUMN error_message;
ALTER TABLE panes DROP COLUMN error_step;
ALTER TABLE sandboxes DROP COLUMN error_cause;
ALTER TABLE sandboxes DROP COLUMN error_message;
ALTER TABLE sandboxes DROP COLUMN error_step;
