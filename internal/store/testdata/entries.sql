-- Makes n notifications of total, from number first on, of the last 28 days, for which there are always partitions: of each the change, an attempt, its end, and a
-- poll. 100 initiators, of which some are told more than others, and one of 10 notifications in all; 3 of 100 first attempts
-- fail, 1 of 200 is late.
CREATE FUNCTION make_entries(first bigint, n bigint, total bigint) RETURNS void LANGUAGE sql AS $$
WITH made AS MATERIALIZED (
  SELECT g, t, (lpad(to_hex((extract(epoch FROM t) * 1000)::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3) || 'a' || substr(md5(random()::text), 1, 15))::uuid AS change, gen_random_uuid() AS note,
    gen_random_uuid() AS token, gen_random_uuid() AS webhook, gen_random_uuid() AS fapi, gen_random_uuid()::text AS resource,
    'client-' || CASE WHEN g % 250000 = 7 THEN 'rare' ELSE floor(100 * random() ^ 2)::text END AS client,
    CASE WHEN random() < 0.97 THEN 'delivered' WHEN random() < 0.5 THEN 'refused' ELSE 'timeout' END AS outcome, random() < 0.005 AS late,
    (ARRAY[2, 2, 2, 2, 2, 2, 1, 1, 3, 4, 5])[1 + g % 11]::smallint AS kind, (1 + g % 3) AS number
  FROM generate_series(first, first + n - 1) g CROSS JOIN LATERAL (SELECT now() - interval '28 days' * (1 - g::float8 / total) AS t) moment
)
INSERT INTO arauto.entry (id, at, kind, client_id, resource_kind, resource_id, revision, notification_id, change_id, interaction_id, number, outcome, closes, created_at, facts)
SELECT change, t, 'change', client, kind, resource, 1, note, NULL::uuid, NULL::uuid, NULL::smallint, 'applied', NULL, NULL::timestamptz,
  json_build_object('system', 'replica-1 1.0', 'source', 'api', 'actor', 'core', 'remote', '10.0.0.17:41234', 'apiVersion', 'v5', 'status', 'ACSC', 'from', 'ACPD', 'cause', 'holder',
    'occurredAt', t, 'waitedMicros', 900, 'dataHash', encode(sha256(note::text::bytea), 'hex'), 'eventAt', t, 'clause', 'webhook §3.1', 'pushEpoch', 1)
FROM made
UNION ALL
SELECT token, t + interval '20 ms', 'attempt', client, kind, resource, NULL, note, NULL, webhook, 1, NULL, NULL, NULL,
  json_build_object('system', 'replica-1 1.0', 'scheduledAt', t, 'late', late, 'base', 'https://' || client || '.example.com/hook', 'manual', false)
FROM made
UNION ALL
SELECT gen_random_uuid(), t + interval '90 ms', 'result', client, kind, resource, NULL, note, NULL, NULL, 1, outcome, CASE WHEN outcome = 'delivered' THEN 'delivered' WHEN g % 3 = 0 THEN 'exhausted' END,
  CASE WHEN outcome <> 'delivered' AND g % 3 = 0 THEN t END,
  json_build_object('system', 'replica-1 1.0', 'number', 1, 'attempt', token, 'url', 'https://' || client || '.example.com/hook/open-banking/webhook/v1/payments/v5/pix/payments/' || resource,
    'httpStatus', 202, 'echo', 'match', 'tls', json_build_object('version', 'TLS 1.3', 'cipher', 'TLS_AES_128_GCM_SHA256', 'peerSubject', 'CN=' || client || '.example.com,O=Initiator,C=BR',
    'peerFingerprint', encode(sha256(client::bytea), 'hex')), 'local', '10.0.0.9:51234', 'remote', '203.0.113.9:443', 'claimToSendMicros', 300, 'answeredMicros', 65000, 'elapsedMicros', 66000, 'endedAt', t)
FROM made
UNION ALL
SELECT gen_random_uuid(), t + interval '5 s', 'poll', client, kind, resource, NULL, NULL, NULL, fapi, NULL, CASE WHEN g % 50 = 0 THEN '404' ELSE '200' END, NULL, NULL,
  json_build_object('system', 'replica-1 1.0', 'operation', 'getPixPayment', 'organisationId', 'org', 'softwareId', 'software', 'certificateSerial', '0123456789abcdef', 'certificateIssuer', 'CN=AC,O=ICP,C=BR',
    'certificateFingerprint', encode(sha256(client::bytea), 'hex'), 'tokenHash', substr(encode(sha256(fapi::text::bytea), 'hex'), 1, 32), 'tokenId', fapi, 'source', '198.51.100.7:40404', 'receivedAt', t,
    'durationMicros', 8000, 'httpStatus', 200, 'status', 'ACSC', 'jti', webhook, 'kid', 'key-1', 'answerDigest', encode(sha256(webhook::text::bytea), 'hex'))
FROM made
ORDER BY 2
$$;
