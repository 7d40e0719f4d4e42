-- The log and what is written in the same transactions. Run as sluice_owner, who owns every table.
-- Times beside the log are microseconds since 1970 (…_us).

-- The end of the log: one row. An append locks it until it commits, so positions are gapless and in the order of
-- commits.
CREATE TABLE log_head (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    position    bigint  NOT NULL,
    hash        bytea   NOT NULL CHECK (length(hash) = 32),
    epoch       text,
    recorded_at timestamptz
);
INSERT INTO log_head (position, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

-- The truth. Append-only.
CREATE TABLE events (
    position       bigint      PRIMARY KEY CHECK (position > 0),
    event_id       uuid        NOT NULL UNIQUE,
    stream         text        NOT NULL,
    stream_version bigint      NOT NULL CHECK (stream_version > 0),
    kind           text        NOT NULL,
    schema_version integer     NOT NULL CHECK (schema_version > 0),
    recorded_at    timestamptz NOT NULL,
    actor          text        NOT NULL,
    cause          uuid        NOT NULL,
    correlation    uuid        NOT NULL,
    why            text,
    payload        text        NOT NULL,
    prev_hash      bytea       NOT NULL CHECK (length(prev_hash) = 32),
    hash           bytea       NOT NULL CHECK (length(hash) = 32),
    aggregate      text        NOT NULL GENERATED ALWAYS AS (split_part(stream, '.', 1)) STORED,
    UNIQUE (stream, stream_version)
);
CREATE INDEX events_by_aggregate ON events (aggregate, position);
CREATE INDEX events_by_actor ON events (actor, position);
CREATE INDEX events_by_kind ON events (kind, position);
CREATE INDEX events_by_time ON events (recorded_at, position);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log is append-only: % on % is refused', TG_OP, TG_TABLE_NAME;
END $$;
CREATE TRIGGER events_are_append_only BEFORE UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER events_are_not_truncated BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What each command answered, without secrets: the same id gives the same answer again.
CREATE TABLE command_results (
    command_id   uuid  PRIMARY KEY,
    actor        text  NOT NULL,
    request_hash bytea NOT NULL CHECK (length(request_hash) = 32),
    answer       text  NOT NULL
);

-- The fold, so that a start need not read the whole log.
CREATE TABLE checkpoints (
    fold_version integer NOT NULL,
    position     bigint  NOT NULL,
    hash         bytea   NOT NULL CHECK (length(hash) = 32),
    digest       bytea   NOT NULL CHECK (length(digest) = 32),
    state        text    NOT NULL,
    PRIMARY KEY (fold_version, position)
);

-- Heads that were published, to be compared with the log later.
CREATE TABLE seen_heads (
    position bigint PRIMARY KEY,
    hash     bytea  NOT NULL CHECK (length(hash) = 32),
    epoch    text   NOT NULL,
    seen_us  bigint NOT NULL
);

-- Names and e-mail addresses of users and operators, under their ids: may be changed and erased.
CREATE TABLE people (
    id    uuid PRIMARY KEY,
    email text NOT NULL,
    name  text NOT NULL
);

-- Provider credentials, sealed to the gateways' key. Events name id and version; a row can be shredded.
CREATE TABLE sealed_secrets (
    id          uuid    NOT NULL,
    version     integer NOT NULL CHECK (version > 0),
    sealing_key text    NOT NULL,
    account     uuid    NOT NULL,
    origin      text    NOT NULL,
    sealed      bytea   NOT NULL,
    PRIMARY KEY (id, version)
);

CREATE TABLE operator_passwords (
    operator_id uuid   PRIMARY KEY,
    hash        text   NOT NULL,
    changed_us  bigint NOT NULL
);

CREATE TABLE operator_tokens (
    token_id     uuid   PRIMARY KEY,
    operator_id  uuid   NOT NULL,
    hash         bytea  NOT NULL UNIQUE CHECK (length(hash) = 32),
    last_used_us bigint
);
CREATE INDEX operator_tokens_by_operator ON operator_tokens (operator_id);

-- Sessions of the console. token_hash is BLAKE3 of the cookie's token.
CREATE TABLE sessions (
    id           uuid   PRIMARY KEY,
    token_hash   bytea  NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    operator_id  uuid   NOT NULL,
    csrf_token   text   NOT NULL,
    created_us   bigint NOT NULL,
    last_used_us bigint NOT NULL,
    expires_us   bigint NOT NULL,
    user_agent   text   NOT NULL,
    address      text   NOT NULL
);
CREATE INDEX sessions_by_operator ON sessions (operator_id);
CREATE INDEX sessions_by_end ON sessions (expires_us);

GRANT USAGE ON SCHEMA public TO sluice_service, sluice_reader;
GRANT SELECT, INSERT ON events, command_results TO sluice_service;
GRANT SELECT, UPDATE ON log_head TO sluice_service;
GRANT SELECT, INSERT, UPDATE, DELETE
    ON checkpoints, seen_heads, people, sealed_secrets, operator_passwords, operator_tokens, sessions
    TO sluice_service;
GRANT SELECT ON schema_migrations TO sluice_service, sluice_reader;
GRANT SELECT ON sealed_secrets TO sluice_reader;
