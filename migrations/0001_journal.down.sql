DROP TABLE epochs;
DROP INDEX chunks_by_swarm;
DROP INDEX chunks_by_sandbox;
DROP TABLE chunks;
DROP TABLE journal_sandboxes;
DROP TABLE journal_swarms;
DROP TABLE journal_info;
