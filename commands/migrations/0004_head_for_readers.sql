-- What follows from the log can be compared with where the log ends.

GRANT SELECT ON log_head TO sluice_reader;
