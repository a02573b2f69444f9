
-- The functions that count what an owner has.

CREATE FUNCTION "tower_oauth".clock() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- Stores a value. Returns false if it is known. A value that is null is always new.
CREATE FUNCTION "tower_oauth".is_new(its_key bytea, until bigint, moment bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF its_key IS NULL THEN
        RETURN true;
    END IF;
    -- Waits for another transaction with the same value. An expired row counts as absent.
    INSERT INTO "tower_oauth".seen AS s (key, expires_at) VALUES (its_key, until)
        ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at WHERE s.expires_at <= moment;
    RETURN FOUND;
END $$;

CREATE FUNCTION "tower_oauth".lock_owner(its_owner bytea) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        PERFORM FROM "tower_oauth".owners WHERE owner = its_owner FOR UPDATE;
        EXIT WHEN FOUND;
        -- Another transaction may insert the row first, and the cleaning may delete it.
        INSERT INTO "tower_oauth".owners (owner) VALUES (its_owner) ON CONFLICT DO NOTHING;
    END LOOP;
END $$;

-- Returns the numbers of an owner, without what was removed. The caller holds the owner's lock.
CREATE FUNCTION "tower_oauth".settle(its_owner bytea) RETURNS "tower_oauth".owners LANGUAGE plpgsql AS $$
DECLARE
    settled "tower_oauth".owners;
BEGIN
    WITH removed AS (DELETE FROM "tower_oauth".removals WHERE owner = its_owner RETURNING tokens, sessions),
        total AS (SELECT sum(tokens)::bigint AS tokens, sum(sessions)::bigint AS sessions FROM removed)
        UPDATE "tower_oauth".owners o SET tokens = o.tokens - t.tokens, sessions = o.sessions - t.sessions
            FROM total t WHERE o.owner = its_owner AND t.tokens IS NOT NULL;
    SELECT * INTO settled FROM "tower_oauth".owners WHERE owner = its_owner;
    RETURN settled;
END $$;

-- Deletes sessions and their access tokens.
CREATE FUNCTION "tower_oauth".drop_sessions(ids bytea[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM "tower_oauth".sessions WHERE id = ANY (ids) ORDER BY id FOR UPDATE;
    WITH dropped AS (DELETE FROM "tower_oauth".sessions WHERE id = ANY (ids) RETURNING owner, counted)
        INSERT INTO "tower_oauth".removals (owner, tokens, sessions)
            SELECT owner, 0, count(*) FROM dropped WHERE counted GROUP BY owner;
    -- An operation that adds a token holds the session's lock, so no token is added from here on.
    PERFORM FROM "tower_oauth".access_tokens WHERE partition = ANY (ids) AND of_session ORDER BY number FOR UPDATE;
    WITH dropped AS (DELETE FROM "tower_oauth".access_tokens WHERE partition = ANY (ids) AND of_session RETURNING owner)
        INSERT INTO "tower_oauth".removals (owner, tokens, sessions)
            SELECT owner, count(*), 0 FROM dropped WHERE owner IS NOT NULL GROUP BY owner;
END $$;

-- Adds an access token. With a limit, the caller holds the owner's lock; the oldest tokens beyond the limit are deleted.
-- The settings leave only the plans that read as many rows as they delete. Their nominal costs are so high that PostgreSQL would
-- compile them for each call, which takes 16 to 50 ms, so "jit" is off.
CREATE FUNCTION "tower_oauth".add_token(
    its_partition bytea, its_hash bytea, is_of_session boolean, its_record bytea, until bigint, its_owner bytea, most bigint,
    moment bigint
) RETURNS void LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    settled "tower_oauth".owners;
    expired bigint[];
    oldest bigint[] := '{}';
    excess bigint;
    victim bigint;
    deleted bigint := 0;
BEGIN
    IF most IS NOT NULL THEN
        settled := "tower_oauth".settle(its_owner);
        expired := ARRAY (SELECT number FROM "tower_oauth".access_tokens
            WHERE owner = its_owner AND expires_at <= moment ORDER BY expires_at);
        excess := settled.tokens - cardinality(expired) + 1 - most;
        IF excess > 0 THEN
            oldest := ARRAY (SELECT number FROM "tower_oauth".access_tokens
                WHERE owner = its_owner AND number > settled.evicted AND moment < expires_at ORDER BY number LIMIT excess);
        END IF;
        FOR victim IN SELECT unnest(expired || oldest) ORDER BY 1 LOOP
            DELETE FROM "tower_oauth".access_tokens WHERE owner = its_owner AND number = victim;
            -- A row that another transaction has deleted is in "removals".
            deleted := deleted + CASE WHEN FOUND THEN 1 ELSE 0 END;
        END LOOP;
        UPDATE "tower_oauth".owners SET tokens = tokens + 1 - deleted,
                evicted = greatest(evicted, oldest[cardinality(oldest)]),
                kept_until = greatest(kept_until, "tower_oauth".rounded_up(until))
            WHERE owner = its_owner;
    END IF;
    INSERT INTO "tower_oauth".access_tokens (partition, hash, of_session, record, expires_at, owner)
        VALUES (its_partition, its_hash, is_of_session, its_record, until, CASE WHEN most IS NOT NULL THEN its_owner END);
END $$;

-- Returns the next full hour but one.
CREATE FUNCTION "tower_oauth".rounded_up(moment bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN moment > 9000000000000000000 THEN moment ELSE moment / 3600 * 3600 + 7200 END
$$;

-- Counts a new session of an owner. Returns the sessions that must end for it. The caller holds the owner's lock.
CREATE FUNCTION "tower_oauth".count_session(its_owner bytea, until bigint, most bigint, moment bigint)
RETURNS bytea[] LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    settled "tower_oauth".owners;
    adopted bigint;
    expired bytea[];
    oldest bytea[] := '{}';
    excess bigint;
BEGIN
    -- Sessions from the time before the limit.
    PERFORM FROM "tower_oauth".sessions WHERE owner = its_owner AND NOT counted ORDER BY id FOR UPDATE;
    UPDATE "tower_oauth".sessions SET counted = true WHERE owner = its_owner AND NOT counted;
    GET DIAGNOSTICS adopted = ROW_COUNT;
    settled := "tower_oauth".settle(its_owner);
    expired := ARRAY (SELECT id FROM "tower_oauth".sessions
        WHERE owner = its_owner AND counted AND expires_at <= moment ORDER BY expires_at);
    excess := settled.sessions + adopted - cardinality(expired) + 1 - most;
    IF excess > 0 THEN
        oldest := ARRAY (SELECT id FROM "tower_oauth".sessions
            WHERE owner = its_owner AND counted AND moment < expires_at ORDER BY number LIMIT excess);
    END IF;
    UPDATE "tower_oauth".owners SET sessions = sessions + adopted + 1,
            kept_until = greatest(kept_until, "tower_oauth".rounded_up(until))
        WHERE owner = its_owner;
    RETURN expired || oldest;
END $$;
