-- The tables of tower-oauth's PostgresStore; its functions follow. The program replaces "tower_oauth" by the schema's name.
--
-- Run it as a whole, in one transaction (`psql -1`). It fails if it is run twice.
--
-- A later migration only adds: tables, columns that may be null or have a default, indexes, functions with new names. It
-- changes nothing that exists, so that instances of the old and the new version can run side by side.
--
-- Ids have 16 bytes, hashes 32. Every time is in seconds since 1970-01-01 (UTC), by the token endpoint's clock, but a deadline is
-- in microseconds by the database's own clock. A "record" is UTF-8 text that only the program reads; bytea, because it may
-- contain any character.
--
-- Why functions: under READ COMMITTED, each statement in a function sees everything that was committed before the statement
-- began. So a statement that waited for a row lock sees what the first caller did.
--
-- The order of locks, so that there is no deadlock: a row of "seen", then one of "owners", then sessions (the caller's first, then
-- others of the same owner by id), then access tokens by number. The cleaning takes locks in no order, and waits for none.

DO $$ BEGIN
    IF to_regnamespace('"tower_oauth"') IS NULL THEN
        CREATE SCHEMA "tower_oauth";
    END IF;
END $$;

-- The migrations that were run. A program can use the schema if it knows the migration "needs".
CREATE TABLE "tower_oauth".migrations (
    version integer PRIMARY KEY,
    needs integer NOT NULL
);

-- A code, and the session that it starts. A session that has ended has no row.
CREATE TABLE "tower_oauth".sessions (
    id bytea PRIMARY KEY,
    code bytea NOT NULL,
    redeemed boolean NOT NULL DEFAULT false,
    client bytea NOT NULL,
    subject bytea NOT NULL,
    record bytea NOT NULL,
    -- Until when the code can be used; then the end of the session.
    expires_at bigint NOT NULL,
    -- When the code was stored, or it or a refresh token was used.
    last_used_at bigint NOT NULL,
    -- The refresh token, its predecessor, and what the program derives the one from the other with.
    current_token bytea,
    last_token bytea,
    salt bytea,
    rotated_at bigint,
    idle_until bigint,
    -- From the redemption on. "counted": the session is part of the number in "owners".
    owner bytea,
    number bigint GENERATED ALWAYS AS IDENTITY,
    counted boolean NOT NULL DEFAULT false
) WITH (fillfactor = 70);
CREATE INDEX sessions_expire ON "tower_oauth".sessions (expires_at);
CREATE INDEX sessions_of_a_client ON "tower_oauth".sessions (client, id);
CREATE INDEX sessions_of_a_subject ON "tower_oauth".sessions (subject, id);
CREATE INDEX sessions_counted ON "tower_oauth".sessions (owner, number) WHERE counted;
CREATE INDEX sessions_counted_expire ON "tower_oauth".sessions (owner, expires_at) WHERE counted;
CREATE INDEX sessions_not_counted ON "tower_oauth".sessions (owner, id) WHERE owner IS NOT NULL AND NOT counted;

-- A token of a session has the session's id as its partition, and is active while the session's row exists.
CREATE TABLE "tower_oauth".access_tokens (
    partition bytea NOT NULL,
    hash bytea NOT NULL,
    of_session boolean NOT NULL,
    record bytea NOT NULL,
    expires_at bigint NOT NULL,
    -- If the token is part of the number in "owners".
    owner bytea,
    number bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (partition, hash)
);
CREATE INDEX access_tokens_expire ON "tower_oauth".access_tokens (expires_at);
CREATE INDEX access_tokens_counted ON "tower_oauth".access_tokens (owner, number) WHERE owner IS NOT NULL;
CREATE INDEX access_tokens_counted_expire ON "tower_oauth".access_tokens (owner, expires_at) WHERE owner IS NOT NULL;

-- How many access tokens and sessions an owner has, if there is a limit; some may be in "removals". An operation with a limit
-- locks the row first. All counted tokens up to the number "evicted" are gone: a search for the oldest begins there, and does
-- not pass dead index entries.
CREATE TABLE "tower_oauth".owners (
    owner bytea PRIMARY KEY,
    tokens bigint NOT NULL DEFAULT 0,
    sessions bigint NOT NULL DEFAULT 0,
    evicted bigint NOT NULL DEFAULT 0,
    -- When the last of them has expired, rounded up, so that the index changes rarely.
    kept_until bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE INDEX owners_expire ON "tower_oauth".owners (kept_until);

-- What was removed and is still part of the numbers in "owners". So the removal needs no lock of the owner.
CREATE TABLE "tower_oauth".removals (
    owner bytea NOT NULL,
    tokens bigint NOT NULL,
    sessions bigint NOT NULL
);
CREATE INDEX removals_of_an_owner ON "tower_oauth".removals (owner);

-- Values that are accepted once, such as an assertion's jti.
CREATE TABLE "tower_oauth".seen (
    key bytea PRIMARY KEY,
    expires_at bigint NOT NULL
);
CREATE INDEX seen_expire ON "tower_oauth".seen (expires_at);

-- Public keys. "key" is the SHA-256 hash of key_id, which may be too long for an index.
CREATE TABLE "tower_oauth".keys (
    issuer bytea NOT NULL,
    key bytea NOT NULL,
    key_id bytea NOT NULL,
    jwk bytea NOT NULL,
    since bigint NOT NULL,
    withdrawn boolean NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (issuer, key)
);
CREATE INDEX keys_expire ON "tower_oauth".keys (expires_at);
