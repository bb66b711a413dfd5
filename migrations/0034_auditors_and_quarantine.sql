-- Auditors do not read what stands in quarantine: no command of theirs needs the lines, which hold documents.

-- +goose Up
REVOKE SELECT ON quarantine FROM arauto_auditor;
GRANT SELECT (id, kind, resource_id, revision, content_hash, client_id, source, seen, first_at, last_at, state, closed_by, closed_at) ON quarantine TO arauto_auditor;

-- +goose Down
REVOKE SELECT (id, kind, resource_id, revision, content_hash, client_id, source, seen, first_at, last_at, state, closed_by, closed_at) ON quarantine FROM arauto_auditor;
GRANT SELECT ON quarantine TO arauto_auditor;
