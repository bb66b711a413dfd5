-- Documents of resources are erased a time after their final state. The entry about it, the revisions and the rest of the resource stay.

-- +goose Up

-- Resources whose document was erased at least once. entry names the first erasure's entry.
CREATE TABLE erased (
  kind        smallint NOT NULL,
  resource_id text COLLATE "C" NOT NULL,
  entry       uuid NOT NULL,
  at          timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (kind, resource_id)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON erased FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON erased FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- How far the walk through all resources has come. One replica walks at a time.
CREATE TABLE erasure_walk (
  one         boolean PRIMARY KEY DEFAULT true CHECK (one),
  kind        smallint NOT NULL DEFAULT -1,
  resource_id text COLLATE "C" NOT NULL DEFAULT '',
  ended_at    timestamptz NOT NULL DEFAULT '-infinity' -- when it last came to its end
);
INSERT INTO erasure_walk DEFAULT VALUES;

CREATE TRIGGER by_function_erasure BEFORE INSERT ON entry FOR EACH ROW WHEN (NEW.kind = 'erasure') EXECUTE FUNCTION refuse_by_hand();

-- Looks at the next resources in the order of their keys, and erases the documents of those that have been in a final state for the
-- time given and that no hold keeps. finals are "KIND STATE". Revisions stay: they hold hashes and no content, and by them a repeated
-- change is recognised, also one that is not the newest. Answers how many were erased, and whether the walk came to its end or is another's.
-- +goose StatementBegin
CREATE FUNCTION erase_documents(finals text[], keep interval, most integer, OUT gone integer, OUT ended boolean)
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

GRANT SELECT ON erased, erasure_walk TO arauto_app, arauto_auditor;
REVOKE ALL ON FUNCTION erase_documents(text[], interval, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_documents(text[], interval, integer) TO arauto_app;

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN RAISE EXCEPTION 'erasures cannot be rolled back: the log has them'; END $$;
-- +goose StatementEnd
