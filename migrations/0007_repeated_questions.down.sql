DROP INDEX spend_warnings_by_time;
DROP INDEX creates_by_time;
CREATE INDEX creates_by_provider ON creates (provider, at_ms);
DROP INDEX sandboxes_closed_by_lease;
DROP INDEX sandboxes_by_age;
DROP INDEX sandboxes_kept;
DROP INDEX sandboxes_living;
