DROP TABLE switches;
ALTER TABLE panes DROP COLUMN idle;
ALTER TABLE panes DROP COLUMN output_incomplete;
ALTER TABLE sandboxes DROP COLUMN frozen;
ALTER TABLE sandboxes DROP COLUMN output_incomplete;
ALTER TABLE swarms DROP COLUMN warned_ms;
