-- A checkpoint of a large organisation is far larger than what one row should hold: its JSON lies in pieces, compressed
-- as LZ4 frames, and is written and read piece by piece. Those that there are, are made again.
DELETE FROM checkpoints;
ALTER TABLE checkpoints DROP COLUMN state;

CREATE TABLE checkpoint_parts (
    fold_version integer NOT NULL,
    position     bigint  NOT NULL,
    part         integer NOT NULL,
    bytes        bytea   NOT NULL,
    PRIMARY KEY (fold_version, position, part),
    FOREIGN KEY (fold_version, position) REFERENCES checkpoints ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
ALTER TABLE checkpoint_parts ALTER COLUMN bytes SET STORAGE EXTERNAL;
GRANT SELECT, INSERT, UPDATE, DELETE ON checkpoint_parts TO sluice_service;

-- What a search for people looks at: in lower case, made once and not for each search.
ALTER TABLE people ADD COLUMN searched text NOT NULL GENERATED ALWAYS AS (lower(name || E'\n' || email)) STORED;
