-- Clients that were added at run time. A later migration only adds; see the first one.

CREATE TABLE "tower_oauth".clients (
    issuer bytea NOT NULL,
    client bytea NOT NULL,
    record bytea NOT NULL,
    PRIMARY KEY (issuer, client)
);

CREATE FUNCTION "tower_oauth".find_client(its_issuer bytea, its_client bytea)
RETURNS TABLE (its_record bytea) LANGUAGE sql STABLE AS $$
    SELECT record FROM "tower_oauth".clients WHERE issuer = its_issuer AND client = its_client
$$;

-- Without an expected record, there must be no client.
CREATE FUNCTION "tower_oauth".save_client(
    its_issuer bytea, its_client bytea, its_record bytea, expected bytea, deadline bigint
) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    -- Another change is waited for first, so that the deadline is compared after the wait.
    PERFORM FROM "tower_oauth".clients WHERE issuer = its_issuer AND client = its_client FOR UPDATE;
    IF "tower_oauth".clock() >= deadline THEN
        RETURN 'late';
    ELSIF expected IS NULL THEN
        INSERT INTO "tower_oauth".clients (issuer, client, record) VALUES (its_issuer, its_client, its_record)
            ON CONFLICT (issuer, client) DO NOTHING;
    ELSE
        UPDATE "tower_oauth".clients SET record = its_record
            WHERE issuer = its_issuer AND client = its_client AND record = expected;
    END IF;
    RETURN CASE WHEN FOUND THEN 'done' ELSE 'conflict' END;
END $$;

-- Without an expected record, the client is removed whatever its record is.
CREATE FUNCTION "tower_oauth".remove_client(its_issuer bytea, its_client bytea, expected bytea, deadline bigint)
RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM "tower_oauth".clients WHERE issuer = its_issuer AND client = its_client FOR UPDATE;
    IF "tower_oauth".clock() >= deadline THEN
        RETURN 'late';
    END IF;
    DELETE FROM "tower_oauth".clients
        WHERE issuer = its_issuer AND client = its_client AND (expected IS NULL OR record = expected);
    RETURN CASE WHEN FOUND OR expected IS NULL THEN 'done' ELSE 'conflict' END;
END $$;

CREATE FUNCTION "tower_oauth".list_clients(its_issuer bytea, after bytea, most bigint)
RETURNS TABLE (its_record bytea) LANGUAGE sql STABLE AS $$
    SELECT record FROM "tower_oauth".clients WHERE issuer = its_issuer AND client > after ORDER BY client LIMIT most
$$;

INSERT INTO "tower_oauth".migrations (version, needs) VALUES (2, 1);
