-- What a payment is found by stands in its resource, written by the commit of its change. A table beside it, filled when the log is folded,
-- took one more row, a key with the resource's id, and a look at each document.

-- +goose Up

-- Digest of the payment's end-to-end id: the minute that the id names, 4 bytes, and 12 of its HMAC-SHA256 under the key "find". So new ones
-- stand at the end of the index, and not on any page of it. '': there is none. NULL: a version before this one took the document in, and
-- the fold of the log looks at it.
ALTER TABLE resource ADD COLUMN IF NOT EXISTS found bytea;

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION erase_documents(finals text[], keep interval, most integer, OUT gone integer, OUT ended boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  walk erasure_walk;
  r    record;
  seen integer := 0;
  mine uuid;
BEGIN
  gone := 0;
  ended := false;
  IF now() - keep > now() - interval '30 days' THEN
    RAISE EXCEPTION 'erasure after % refused: the floor is 30 days', keep;
  END IF;
  SELECT * INTO walk FROM erasure_walk FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN -- another replica walks
    ended := true;
    RETURN;
  END IF;
  LOCK TABLE hold IN SHARE ROW EXCLUSIVE MODE; -- no hold is placed meanwhile
  FOR r IN SELECT kind, id FROM resource WHERE (kind, id) > (walk.kind, walk.resource_id) ORDER BY kind, id LIMIT most LOOP
    seen := seen + 1;
    walk.kind := r.kind;
    walk.resource_id := r.id;
    SELECT s.kind, s.id, s.client_id, s.revision, s.status, s.data_hash INTO r FROM resource s
    WHERE s.kind = walk.kind AND s.id = walk.resource_id AND s.document <> '' AND s.kind || ' ' || s.status = ANY (finals)
      AND s.updated_at <= now() - keep AND s.occurred_at <= now() - keep
      AND NOT EXISTS (SELECT FROM hold h WHERE (h.client_id IS NULL OR h.client_id = s.client_id) AND (h.resource_id IS NULL OR (h.resource_kind = s.kind AND h.resource_id = s.id)))
    FOR UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    mine := gen_random_uuid();
    INSERT INTO erased (kind, resource_id, entry) VALUES (r.kind, r.id, mine) ON CONFLICT DO NOTHING;
    DELETE FROM find_resource d WHERE d.kind = r.kind AND d.resource_id = r.id;
    UPDATE resource s SET document = '', found = '' WHERE s.kind = r.kind AND s.id = r.id;
    INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, revision, outcome, facts)
    VALUES (mine, 'erasure', r.client_id, r.kind, r.id, r.revision, 'document', json_build_object('system', current_setting('application_name'),
      'actor', session_user, 'source', coalesce(host(inet_client_addr()) || ':' || inet_client_port(), 'local'),
      'status', r.status, 'dataHash', encode(r.data_hash, 'hex'), 'keptDays', extract(day FROM keep)));
    gone := gone + 1;
  END LOOP;
  ended := seen < most;
  UPDATE erasure_walk w SET kind = CASE WHEN ended THEN -1 ELSE walk.kind END, resource_id = CASE WHEN ended THEN '' ELSE walk.resource_id END,
    ended_at = CASE WHEN ended THEN now() ELSE w.ended_at END;
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $$ BEGIN EXECUTE format('ALTER FUNCTION erase_documents(text[], interval, integer) SET search_path = %I, pg_temp', current_schema()); END $$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION erase_documents(finals text[], keep interval, most integer, OUT gone integer, OUT ended boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  walk erasure_walk;
  r    record;
  seen integer := 0;
  mine uuid;
BEGIN
  gone := 0;
  ended := false;
  IF now() - keep > now() - interval '30 days' THEN
    RAISE EXCEPTION 'erasure after % refused: the floor is 30 days', keep;
  END IF;
  SELECT * INTO walk FROM erasure_walk FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN -- another replica walks
    ended := true;
    RETURN;
  END IF;
  LOCK TABLE hold IN SHARE ROW EXCLUSIVE MODE; -- no hold is placed meanwhile
  FOR r IN SELECT kind, id FROM resource WHERE (kind, id) > (walk.kind, walk.resource_id) ORDER BY kind, id LIMIT most LOOP
    seen := seen + 1;
    walk.kind := r.kind;
    walk.resource_id := r.id;
    SELECT s.kind, s.id, s.client_id, s.revision, s.status, s.data_hash INTO r FROM resource s
    WHERE s.kind = walk.kind AND s.id = walk.resource_id AND s.document <> '' AND s.kind || ' ' || s.status = ANY (finals)
      AND s.updated_at <= now() - keep AND s.occurred_at <= now() - keep
      AND NOT EXISTS (SELECT FROM hold h WHERE (h.client_id IS NULL OR h.client_id = s.client_id) AND (h.resource_id IS NULL OR (h.resource_kind = s.kind AND h.resource_id = s.id)))
    FOR UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    mine := gen_random_uuid();
    INSERT INTO erased (kind, resource_id, entry) VALUES (r.kind, r.id, mine) ON CONFLICT DO NOTHING;
    DELETE FROM find_resource d WHERE d.kind = r.kind AND d.resource_id = r.id;
    UPDATE resource s SET document = '' WHERE s.kind = r.kind AND s.id = r.id;
    INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, revision, outcome, facts)
    VALUES (mine, 'erasure', r.client_id, r.kind, r.id, r.revision, 'document', json_build_object('system', current_setting('application_name'),
      'actor', session_user, 'source', coalesce(host(inet_client_addr()) || ':' || inet_client_port(), 'local'),
      'status', r.status, 'dataHash', encode(r.data_hash, 'hex'), 'keptDays', extract(day FROM keep)));
    gone := gone + 1;
  END LOOP;
  ended := seen < most;
  UPDATE erasure_walk w SET kind = CASE WHEN ended THEN -1 ELSE walk.kind END, resource_id = CASE WHEN ended THEN '' ELSE walk.resource_id END,
    ended_at = CASE WHEN ended THEN now() ELSE w.ended_at END;
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $$ BEGIN EXECUTE format('ALTER FUNCTION erase_documents(text[], interval, integer) SET search_path = %I, pg_temp', current_schema()); END $$;
-- +goose StatementEnd
ALTER TABLE resource DROP COLUMN found;
