-- Nothing is lost: the journal keeps the facts.
DROP TABLE commands;
DROP TABLE transfers;
DROP TABLE panes;
DROP TABLE sandboxes;
DROP TABLE swarms;
