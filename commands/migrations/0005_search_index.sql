-- Searching among 100,000 people looks into an index of three letters at a time. `pg_trgm` comes with every Postgres that has its
-- contributed modules, and the owner of a database may use it. Without it, or where it lies in a schema that is not looked into, a
-- search reads all of them.

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') THEN
        CREATE EXTENSION IF NOT EXISTS pg_trgm;
        CREATE INDEX people_searched ON people USING gin (searched gin_trgm_ops);
    END IF;
EXCEPTION WHEN insufficient_privilege OR undefined_object OR undefined_file THEN
    RAISE NOTICE 'searches read all people: pg_trgm may not be used here';
END $$;
