-- A run is looked up by the name that its user gave it, among all that ever were. An index alone; no
-- row changes.
CREATE INDEX swarms_by_name ON swarms (name) WHERE name <> '';
