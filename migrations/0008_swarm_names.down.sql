DROP INDEX swarms_by_name;
