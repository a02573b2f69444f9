-- The tables and functions of tower-oauth's PostgresStore. The program replaces "tower_oauth" by the schema's name.
--
-- Run it as a whole, in one transaction (`psql -1`). It fails if it is run twice.
--
-- A later migration only adds: tables, columns that may be null or have a default, indexes, functions with new names. It
-- changes nothing that exists, so that instances of the old and the new version can run side by side.
--
-- Every key is 32 bytes: a SHA-256 hash. Every time is in seconds since 1970-01-01 (UTC), by the token endpoint's clock; the
-- database's own clock is used only before rows are deleted. "record" is a JSON text that only the program parses.
--
-- Why functions: under READ COMMITTED, each statement in a function sees everything that was committed before the statement
-- began. So a statement that waited for a row lock sees what the first caller did, for instance a family that it created.
-- The parts of a single statement all see the state at its beginning, and would miss that.
--
-- The order of locks: a code or a refresh token, then older refresh tokens of the same family, then the family. A transaction
-- that holds a family's lock takes no other one, so there is no deadlock.

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

CREATE TABLE "tower_oauth".codes (
    hash bytea PRIMARY KEY,
    binding bytea NOT NULL,
    family bytea NOT NULL,
    client bytea NOT NULL,
    record text NOT NULL,
    family_expires_at bigint NOT NULL,
    first_use_until bigint NOT NULL,
    used boolean NOT NULL DEFAULT false,
    -- first_use_until, or the end of the family after the code was used.
    expires_at bigint NOT NULL
);
CREATE INDEX codes_expire ON "tower_oauth".codes (expires_at);

-- Revoking a family writes one row: its tokens are looked up together with it.
CREATE TABLE "tower_oauth".families (
    id bytea PRIMARY KEY,
    client bytea NOT NULL,
    record text NOT NULL,
    revoked boolean NOT NULL DEFAULT false,
    expires_at bigint NOT NULL
);
CREATE INDEX families_expire ON "tower_oauth".families (expires_at);

CREATE TABLE "tower_oauth".access_tokens (
    hash bytea PRIMARY KEY,
    family bytea,
    client bytea NOT NULL,
    -- Client and subject, if their tokens are counted.
    owner bytea,
    number bigint GENERATED ALWAYS AS IDENTITY,
    record text NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX access_tokens_expire ON "tower_oauth".access_tokens (expires_at);
CREATE INDEX access_tokens_counted ON "tower_oauth".access_tokens (owner, number) WHERE owner IS NOT NULL;

CREATE TABLE "tower_oauth".refresh_tokens (
    hash bytea PRIMARY KEY,
    family bytea NOT NULL,
    -- The number of earlier refresh tokens in the family.
    step bigint NOT NULL,
    used_at bigint,
    successor bytea,
    salt bytea,
    expires_at bigint NOT NULL
);
CREATE INDEX refresh_tokens_expire ON "tower_oauth".refresh_tokens (expires_at);
CREATE INDEX refresh_tokens_of_a_family ON "tower_oauth".refresh_tokens (family, step);

-- Keys that are accepted once, such as an assertion's jti.
CREATE TABLE "tower_oauth".seen (
    key bytea PRIMARY KEY,
    expires_at bigint NOT NULL
);
CREATE INDEX seen_expire ON "tower_oauth".seen (expires_at);

CREATE FUNCTION "tower_oauth".is_active(its_family bytea, moment bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN its_family IS NULL OR EXISTS (
        SELECT FROM "tower_oauth".families WHERE id = its_family AND NOT revoked AND moment < expires_at
    );
END $$;

CREATE FUNCTION "tower_oauth".take_code(
    code bytea, its_binding bytea, moment bigint, OUT outcome text, OUT its_family text
) LANGUAGE plpgsql AS $$
DECLARE
    found_code "tower_oauth".codes;
BEGIN
    -- Every caller but the first waits here, and then sees that the code was used.
    SELECT * INTO found_code FROM "tower_oauth".codes WHERE hash = code AND binding = its_binding FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'unknown';
    ELSIF found_code.used THEN
        UPDATE "tower_oauth".families SET revoked = true WHERE id = found_code.family AND NOT revoked;
        outcome := 'again';
    ELSIF moment >= found_code.first_use_until THEN
        outcome := 'unknown';
    ELSE
        UPDATE "tower_oauth".codes SET used = true, expires_at = family_expires_at WHERE hash = code;
        INSERT INTO "tower_oauth".families (id, client, record, expires_at)
            VALUES (found_code.family, found_code.client, found_code.record, found_code.family_expires_at);
        outcome := 'first';
        its_family := found_code.record;
    END IF;
END $$;

-- Reads the family without a lock: if it is revoked at the same time, the added tokens are revoked with it.
CREATE FUNCTION "tower_oauth".issue(
    token bytea, its_family bytea, its_client bytea, its_owner bytea, its_record text, until bigint,
    refresh bytea, refresh_until bigint, most bigint, moment bigint
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT "tower_oauth".is_active(its_family, moment) THEN
        RETURN false;
    END IF;
    IF most IS NOT NULL THEN
        -- There may be no row to lock yet. The number is 64 bits of a hash, so it does not collide with other locks.
        PERFORM pg_advisory_xact_lock(('x' || encode(substring(its_owner FROM 1 FOR 8), 'hex'))::bit(64)::bigint);
        DELETE FROM "tower_oauth".access_tokens WHERE hash = ANY (ARRAY (
            SELECT a.hash FROM "tower_oauth".access_tokens a
                WHERE a.owner = its_owner AND moment < a.expires_at AND "tower_oauth".is_active(a.family, moment)
                ORDER BY a.number DESC OFFSET most - 1
        ));
    END IF;
    INSERT INTO "tower_oauth".access_tokens (hash, family, client, owner, record, expires_at)
        VALUES (token, its_family, its_client, its_owner, its_record, until);
    IF refresh IS NOT NULL AND its_family IS NOT NULL THEN
        INSERT INTO "tower_oauth".refresh_tokens (hash, family, step, expires_at)
            VALUES (refresh, its_family, 0, refresh_until);
    END IF;
    RETURN true;
END $$;

-- Keeps the last "kept" used tokens of the family, and deletes older ones.
CREATE FUNCTION "tower_oauth".rotate(
    token bytea, its_client bytea, next_hash bytea, next_salt bytea, next_until bigint, grace bigint, kept bigint, moment bigint,
    OUT outcome text, OUT its_family text, OUT its_salt bytea
) LANGUAGE plpgsql AS $$
DECLARE
    found_token "tower_oauth".refresh_tokens;
    of_family "tower_oauth".families;
BEGIN
    outcome := 'unknown';
    -- Every caller but the first waits here, and then sees that the token was used.
    SELECT * INTO found_token FROM "tower_oauth".refresh_tokens WHERE hash = token AND moment < expires_at FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO of_family FROM "tower_oauth".families
        WHERE id = found_token.family AND client = its_client AND NOT revoked AND moment < expires_at;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF found_token.used_at IS NULL THEN
        UPDATE "tower_oauth".refresh_tokens SET used_at = moment, successor = next_hash, salt = next_salt WHERE hash = token;
        INSERT INTO "tower_oauth".refresh_tokens (hash, family, step, expires_at)
            VALUES (next_hash, found_token.family, found_token.step + 1, next_until);
        DELETE FROM "tower_oauth".refresh_tokens WHERE family = found_token.family AND step <= found_token.step - kept AND used_at IS NOT NULL;
        outcome := 'first';
        its_family := of_family.record;
    -- In both directions, because the clock of another instance may be behind.
    ELSIF abs(moment - found_token.used_at) < grace AND EXISTS (
        SELECT FROM "tower_oauth".refresh_tokens WHERE hash = found_token.successor AND used_at IS NULL
    ) THEN
        outcome := 'again';
        its_family := of_family.record;
        its_salt := found_token.salt;
    ELSE
        UPDATE "tower_oauth".families SET revoked = true WHERE id = found_token.family AND NOT revoked;
        outcome := 'reused';
    END IF;
END $$;

-- Returns false if the token is active and belongs to another client.
CREATE FUNCTION "tower_oauth".revoke(token bytea, its_client bytea, moment bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    found_family bytea;
    found_client bytea;
BEGIN
    SELECT family INTO found_family FROM "tower_oauth".refresh_tokens WHERE hash = token;
    IF FOUND THEN
        SELECT client INTO found_client FROM "tower_oauth".families
            WHERE id = found_family AND NOT revoked AND moment < expires_at;
        IF found_client = its_client THEN
            UPDATE "tower_oauth".families SET revoked = true WHERE id = found_family AND NOT revoked;
        END IF;
        RETURN found_client IS NULL OR found_client = its_client;
    END IF;
    DELETE FROM "tower_oauth".access_tokens WHERE hash = token AND client = its_client;
    RETURN FOUND OR NOT EXISTS (
        SELECT FROM "tower_oauth".access_tokens
            WHERE hash = token AND moment < expires_at AND "tower_oauth".is_active(family, moment)
    );
END $$;

-- Deletes a batch of rows that expired before "moment" from each table. Skips rows that another transaction has locked.
-- Returns whether a batch was full, so that there may be more.
CREATE FUNCTION "tower_oauth".clean(moment bigint, batch bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    deleted bigint;
    most bigint := 0;
BEGIN
    DELETE FROM "tower_oauth".codes WHERE hash = ANY (ARRAY (
        SELECT hash FROM "tower_oauth".codes WHERE expires_at <= moment
            ORDER BY expires_at LIMIT batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    most := greatest(most, deleted);
    DELETE FROM "tower_oauth".access_tokens WHERE hash = ANY (ARRAY (
        SELECT hash FROM "tower_oauth".access_tokens WHERE expires_at <= moment
            ORDER BY expires_at LIMIT batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    most := greatest(most, deleted);
    DELETE FROM "tower_oauth".refresh_tokens WHERE hash = ANY (ARRAY (
        SELECT hash FROM "tower_oauth".refresh_tokens WHERE expires_at <= moment
            ORDER BY expires_at LIMIT batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    most := greatest(most, deleted);
    DELETE FROM "tower_oauth".families WHERE id = ANY (ARRAY (
        SELECT id FROM "tower_oauth".families WHERE expires_at <= moment
            ORDER BY expires_at LIMIT batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    most := greatest(most, deleted);
    DELETE FROM "tower_oauth".seen WHERE key = ANY (ARRAY (
        SELECT key FROM "tower_oauth".seen WHERE expires_at <= moment
            ORDER BY expires_at LIMIT batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN greatest(most, deleted) >= batch;
END $$;

INSERT INTO "tower_oauth".migrations (version, needs) VALUES (1, 1);
