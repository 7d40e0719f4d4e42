-- When a session ends follows from when it began, and from the settings of the moment.

DROP INDEX sessions_by_end;
ALTER TABLE sessions DROP COLUMN expires_us;
