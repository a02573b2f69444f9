
-- One function for each operation of the store.

CREATE FUNCTION "tower_oauth".add_code(
    session bytea, its_code bytea, its_record bytea, its_client bytea, its_subject bytea, until bigint, moment bigint,
    deadline bigint
) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF "tower_oauth".clock() >= deadline THEN
        RETURN 'late';
    END IF;
    INSERT INTO "tower_oauth".sessions (id, code, client, subject, record, expires_at, last_used_at)
        VALUES (session, its_code, its_client, its_subject, its_record, until, moment)
        -- A call that is repeated stores the same code.
        ON CONFLICT (id) DO UPDATE SET code = its_code, client = its_client, subject = its_subject, record = its_record,
                expires_at = until, last_used_at = moment
            WHERE NOT sessions.redeemed;
    RETURN 'done';
END $$;

CREATE FUNCTION "tower_oauth".redeem(
    session bytea, its_code bytea, its_record bytea, its_client bytea, its_subject bytea, its_owner bytea, until bigint,
    its_refresh bytea, its_idle_until bigint, its_access bytea, its_access_record bytea, access_until bigint,
    token_limit bigint, session_limit bigint, its_seen bytea, seen_until bigint, moment bigint, deadline bigint
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    outcome text := 'unknown';
    found_session "tower_oauth".sessions;
    excess bytea[];
BEGIN
    IF "tower_oauth".clock() >= deadline THEN
        RETURN 'late';
    ELSIF NOT "tower_oauth".is_new(its_seen, seen_until, moment) THEN
        RETURN 'seen';
    END IF;
    IF token_limit IS NOT NULL OR session_limit IS NOT NULL THEN
        PERFORM "tower_oauth".lock_owner(its_owner);
    END IF;
    -- Every caller but the first waits here, and then sees that the code was used.
    SELECT * INTO found_session FROM "tower_oauth".sessions WHERE id = session FOR UPDATE;
    IF "tower_oauth".clock() >= deadline THEN
        outcome := 'late';
    ELSIF found_session.code = its_code AND moment < found_session.expires_at THEN
        outcome := CASE WHEN found_session.redeemed THEN 'replayed' ELSE 'done' END;
    END IF;
    IF outcome = 'replayed' THEN
        PERFORM "tower_oauth".drop_sessions(ARRAY[session]);
    ELSIF outcome = 'done' THEN
        IF session_limit IS NOT NULL THEN
            excess := "tower_oauth".count_session(its_owner, until, session_limit, moment);
            IF cardinality(excess) > 0 THEN
                PERFORM "tower_oauth".drop_sessions(excess);
            END IF;
        END IF;
        UPDATE "tower_oauth".sessions SET redeemed = true, client = its_client, subject = its_subject, record = its_record,
                expires_at = until, last_used_at = moment, current_token = its_refresh, idle_until = its_idle_until,
                owner = its_owner, number = DEFAULT, counted = session_limit IS NOT NULL
            WHERE id = session;
        PERFORM "tower_oauth".add_token(
            session, its_access, true, its_access_record, access_until, its_owner, token_limit, moment);
    END IF;
    IF outcome <> 'done' THEN
        DELETE FROM "tower_oauth".seen WHERE key = its_seen;
    END IF;
    RETURN outcome;
END $$;

CREATE FUNCTION "tower_oauth".refresh(
    session bytea, presented bytea, successor bytea, its_salt bytea, its_idle_until bigint, grace bigint, its_owner bytea,
    its_access bytea, its_access_record bytea, access_until bigint, token_limit bigint, its_seen bytea, seen_until bigint,
    moment bigint, deadline bigint, OUT outcome text, OUT first_salt bytea
) LANGUAGE plpgsql AS $$
DECLARE
    found_session "tower_oauth".sessions;
BEGIN
    outcome := 'unknown';
    IF "tower_oauth".clock() >= deadline THEN
        outcome := 'late';
        RETURN;
    ELSIF NOT "tower_oauth".is_new(its_seen, seen_until, moment) THEN
        outcome := 'seen';
        RETURN;
    END IF;
    IF token_limit IS NOT NULL THEN
        PERFORM "tower_oauth".lock_owner(its_owner);
    END IF;
    -- Every caller but the first waits here, and then sees that the token was used.
    SELECT * INTO found_session FROM "tower_oauth".sessions WHERE id = session FOR UPDATE;
    IF "tower_oauth".clock() >= deadline THEN
        outcome := 'late';
    ELSIF found_session.redeemed AND found_session.current_token IS NOT NULL
            AND moment < found_session.expires_at AND moment < found_session.idle_until THEN
        IF found_session.current_token = presented THEN
            outcome := 'done';
            -- Without a successor too, the use ends the grace of the last token.
            UPDATE "tower_oauth".sessions SET current_token = coalesce(successor, presented),
                    last_token = CASE WHEN successor IS NOT NULL THEN presented END,
                    salt = its_salt, rotated_at = moment, last_used_at = moment, idle_until = its_idle_until
                WHERE id = session;
        -- In both directions, because the clock of another instance may be behind.
        ELSIF found_session.last_token = presented AND abs(moment - found_session.rotated_at) < grace THEN
            outcome := 'again';
            first_salt := found_session.salt;
            UPDATE "tower_oauth".sessions SET last_used_at = moment, idle_until = its_idle_until WHERE id = session;
        ELSE
            outcome := 'reused';
            PERFORM "tower_oauth".drop_sessions(ARRAY[session]);
        END IF;
    END IF;
    IF outcome IN ('done', 'again') THEN
        PERFORM "tower_oauth".add_token(
            session, its_access, true, its_access_record, access_until, its_owner, token_limit, moment);
    ELSE
        DELETE FROM "tower_oauth".seen WHERE key = its_seen;
    END IF;
END $$;

CREATE FUNCTION "tower_oauth".issue(
    its_partition bytea, its_access bytea, its_record bytea, until bigint, its_owner bytea, token_limit bigint,
    its_seen bytea, seen_until bigint, moment bigint, deadline bigint
) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF "tower_oauth".clock() >= deadline THEN
        RETURN 'late';
    ELSIF NOT "tower_oauth".is_new(its_seen, seen_until, moment) THEN
        RETURN 'seen';
    END IF;
    IF token_limit IS NOT NULL THEN
        PERFORM "tower_oauth".lock_owner(its_owner);
    END IF;
    -- The locks may have taken time.
    IF "tower_oauth".clock() >= deadline THEN
        DELETE FROM "tower_oauth".seen WHERE key = its_seen;
        RETURN 'late';
    END IF;
    PERFORM "tower_oauth".add_token(its_partition, its_access, false, its_record, until, its_owner, token_limit, moment);
    RETURN 'done';
END $$;

CREATE FUNCTION "tower_oauth".revoke_access(its_partition bytea, its_access bytea, deadline bigint) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    IF "tower_oauth".clock() >= deadline THEN
        RETURN 'late';
    END IF;
    WITH revoked AS (
        DELETE FROM "tower_oauth".access_tokens WHERE partition = its_partition AND hash = its_access RETURNING owner
    )
        INSERT INTO "tower_oauth".removals (owner, tokens, sessions) SELECT owner, 1, 0 FROM revoked WHERE owner IS NOT NULL;
    RETURN 'done';
END $$;

CREATE FUNCTION "tower_oauth".end_session(session bytea, deadline bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM "tower_oauth".sessions WHERE id = session FOR UPDATE;
    IF "tower_oauth".clock() >= deadline THEN
        RETURN 'late';
    END IF;
    PERFORM "tower_oauth".drop_sessions(ARRAY[session]);
    RETURN 'done';
END $$;

CREATE FUNCTION "tower_oauth".insert_seen(its_key bytea, until bigint, moment bigint, deadline bigint) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    IF "tower_oauth".clock() >= deadline THEN
        RETURN 'late';
    END IF;
    RETURN CASE WHEN "tower_oauth".is_new(its_key, until, moment) THEN 'done' ELSE 'seen' END;
END $$;

CREATE FUNCTION "tower_oauth".find_code(session bytea, its_code bytea, moment bigint)
RETURNS TABLE (its_record bytea, is_used boolean) LANGUAGE sql STABLE AS $$
    SELECT record, redeemed FROM "tower_oauth".sessions WHERE id = session AND code = its_code AND moment < expires_at
$$;

CREATE FUNCTION "tower_oauth".find_session(session bytea, presented bytea, moment bigint)
RETURNS TABLE (its_record bytea, place text, until bigint) LANGUAGE sql STABLE AS $$
    SELECT record,
            CASE WHEN current_token = presented THEN 'current' WHEN last_token = presented THEN 'last' ELSE 'other' END,
            expires_at
        FROM "tower_oauth".sessions
        WHERE id = session AND redeemed AND current_token IS NOT NULL AND moment < expires_at AND moment < idle_until
$$;

CREATE FUNCTION "tower_oauth".find_access(its_partition bytea, its_access bytea, moment bigint)
RETURNS TABLE (its_record bytea, record_of_session bytea) LANGUAGE sql STABLE AS $$
    SELECT a.record, s.record FROM "tower_oauth".access_tokens a
        LEFT JOIN "tower_oauth".sessions s ON a.of_session AND s.id = a.partition AND s.redeemed AND moment < s.expires_at
        WHERE a.partition = its_partition AND a.hash = its_access AND moment < a.expires_at
        AND (NOT a.of_session OR s.id IS NOT NULL)
$$;

CREATE FUNCTION "tower_oauth".list_of_subject(its_subject bytea, after bytea, most bigint, moment bigint)
RETURNS TABLE (its_id bytea, its_record bytea, is_redeemed boolean, used_at bigint) LANGUAGE sql STABLE AS $$
    SELECT id, record, redeemed, last_used_at FROM "tower_oauth".sessions
        WHERE subject = its_subject AND id > after AND moment < expires_at ORDER BY id LIMIT most
$$;

CREATE FUNCTION "tower_oauth".list_of_client(its_client bytea, after bytea, most bigint, moment bigint)
RETURNS TABLE (its_id bytea, its_record bytea, is_redeemed boolean, used_at bigint) LANGUAGE sql STABLE AS $$
    SELECT id, record, redeemed, last_used_at FROM "tower_oauth".sessions
        WHERE client = its_client AND id > after AND moment < expires_at ORDER BY id LIMIT most
$$;

CREATE FUNCTION "tower_oauth".publish_key(
    its_issuer bytea, its_key_id bytea, its_jwk bytea, until bigint, moment bigint, deadline bigint,
    OUT outcome text, OUT first_since bigint
) LANGUAGE plpgsql AS $$
BEGIN
    outcome := 'late';
    IF "tower_oauth".clock() >= deadline THEN
        RETURN;
    END IF;
    -- An expired row counts as absent. A withdrawn key stays as it is.
    INSERT INTO "tower_oauth".keys AS k (issuer, key, key_id, jwk, since, withdrawn, expires_at)
        VALUES (its_issuer, sha256(its_key_id), its_key_id, its_jwk, moment, false, until)
        ON CONFLICT (issuer, key) DO UPDATE SET jwk = excluded.jwk, withdrawn = false,
                since = CASE WHEN k.expires_at <= moment THEN moment ELSE k.since END,
                expires_at = CASE WHEN k.expires_at <= moment THEN until ELSE greatest(k.expires_at, until) END
            WHERE NOT k.withdrawn OR k.expires_at <= moment
        RETURNING k.since INTO first_since;
    outcome := CASE WHEN FOUND THEN 'done' ELSE 'withdrawn' END;
END $$;

CREATE FUNCTION "tower_oauth".withdraw_key(
    its_issuer bytea, its_key_id bytea, until bigint, moment bigint, deadline bigint
) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF "tower_oauth".clock() >= deadline THEN
        RETURN 'late';
    END IF;
    INSERT INTO "tower_oauth".keys AS k (issuer, key, key_id, jwk, since, withdrawn, expires_at)
        VALUES (its_issuer, sha256(its_key_id), its_key_id, '', moment, true, until)
        -- A key that was withdrawn for a longer time stays withdrawn for it.
        ON CONFLICT (issuer, key) DO UPDATE SET jwk = '', withdrawn = true,
                expires_at = CASE WHEN k.withdrawn THEN greatest(k.expires_at, until) ELSE until END;
    RETURN 'done';
END $$;

CREATE FUNCTION "tower_oauth".list_keys(its_issuer bytea, moment bigint)
RETURNS TABLE (its_key_id bytea, its_jwk bytea, its_since bigint) LANGUAGE sql STABLE AS $$
    SELECT key_id, jwk, since FROM "tower_oauth".keys
        WHERE issuer = its_issuer AND NOT withdrawn AND moment < expires_at ORDER BY key_id
$$;

-- Writes a row that is deleted with the next expired ones.
CREATE FUNCTION "tower_oauth".check_writing() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO "tower_oauth".seen (key, expires_at) VALUES ('', 0) ON CONFLICT (key) DO UPDATE SET expires_at = 0;
    RETURN 'done';
END $$;

-- Deletes a batch of rows from each table that expired a "tolerance" before "moment", also by the database's clock. Skips rows
-- that another transaction has locked. Returns whether a batch was full, so that there may be more.
CREATE FUNCTION "tower_oauth".clean(moment bigint, tolerance bigint, batch bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    until bigint := least(moment, "tower_oauth".clock() / 1000000) - tolerance;
    unused bytea[];
    deleted bigint;
    most bigint := 0;
BEGIN
    WITH dropped AS (DELETE FROM "tower_oauth".access_tokens WHERE ctid = ANY (ARRAY (
            SELECT ctid FROM "tower_oauth".access_tokens WHERE expires_at <= until
                ORDER BY expires_at LIMIT batch FOR UPDATE SKIP LOCKED)) RETURNING owner),
        counted AS (INSERT INTO "tower_oauth".removals (owner, tokens, sessions)
            SELECT owner, count(*), 0 FROM dropped WHERE owner IS NOT NULL GROUP BY owner)
        SELECT count(*) INTO deleted FROM dropped;
    most := greatest(most, deleted);
    WITH dropped AS (DELETE FROM "tower_oauth".sessions s WHERE ctid = ANY (ARRAY (
            SELECT ctid FROM "tower_oauth".sessions WHERE expires_at <= until
                ORDER BY expires_at LIMIT batch FOR UPDATE SKIP LOCKED)) RETURNING s.owner, s.counted),
        counted AS (INSERT INTO "tower_oauth".removals (owner, tokens, sessions)
            SELECT d.owner, 0, count(*) FROM dropped d WHERE d.counted GROUP BY d.owner)
        SELECT count(*) INTO deleted FROM dropped;
    most := greatest(most, deleted);
    DELETE FROM "tower_oauth".seen WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM "tower_oauth".seen WHERE expires_at <= until
            ORDER BY expires_at LIMIT batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    most := greatest(most, deleted);
    DELETE FROM "tower_oauth".keys WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM "tower_oauth".keys WHERE expires_at <= until
            ORDER BY expires_at LIMIT batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    most := greatest(most, deleted);
    -- With an owner's lock, no row of the owner is added. One whose deletion is not committed is still seen.
    unused := ARRAY (SELECT owner FROM "tower_oauth".owners WHERE kept_until <= until
        ORDER BY kept_until LIMIT batch FOR UPDATE SKIP LOCKED);
    unused := ARRAY (SELECT u.owner FROM unnest(unused) AS u (owner)
        WHERE NOT EXISTS (SELECT FROM "tower_oauth".access_tokens a WHERE a.owner = u.owner)
        AND NOT EXISTS (SELECT FROM "tower_oauth".sessions s WHERE s.owner = u.owner AND s.counted));
    DELETE FROM "tower_oauth".removals WHERE owner = ANY (unused);
    DELETE FROM "tower_oauth".owners WHERE owner = ANY (unused);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN greatest(most, deleted) >= batch;
END $$;

INSERT INTO "tower_oauth".migrations (version, needs) VALUES (1, 1);
