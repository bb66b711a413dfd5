package store_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/timing"
)

// TestAMillionEntriesAreJudgedInBoundedMemory measures what docs/operations/reconcile.md says. ARAUTO_ENTRIES names how
// many entries; without it there are few.
func TestAMillionEntriesAreJudgedInBoundedMemory(t *testing.T) {
	entries := 20_000
	if n, err := strconv.Atoi(os.Getenv("ARAUTO_ENTRIES")); err == nil {
		entries = n
	}
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.fillHistory(entries / 4)
	i := b.log.Inspector()
	to := time.Now().Add(24 * time.Hour)

	month := time.Now().UTC().Format("2006-01") + "-01"
	rows, err := b.owner.Query(t.Context(), `EXPLAIN SELECT count(*) FROM entry p WHERE p.ctid >= '(0,0)'::tid AND p.ctid < '(128,0)'::tid
AND p.at >= '`+month+`T00:00:00Z'::timestamptz AND p.at < '`+month+`T00:00:00Z'::timestamptz + interval '1 month'`)
	require.NoError(t, err)
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(strings.Join(plan, "\n"), "Tid Range Scan"), "a piece reads its pages of one month and nothing else: %s", plan)
	require.NotContains(t, strings.Join(plan, "\n"), "Seq Scan")

	began := time.Now()
	r, found := inspect(t, i, time.Time{}, to)
	t.Logf("reconciled %d entries, %d resources in %s", sum(r.Entries), r.Resources, time.Since(began).Round(time.Millisecond))
	require.Empty(t, found)
	require.EqualValues(t, entries/4, r.Resources)

	began = time.Now()
	late := 0
	report, err := i.ClockReport(t.Context(), timing.Period{From: time.Now().AddDate(0, -2, 0), To: to}, func(*timing.Timing) error { late++; return nil })
	require.NoError(t, err)
	t.Logf("judged the times of %d notifications in %s", report.Total.Notifications, time.Since(began).Round(time.Millisecond))
	require.EqualValues(t, entries/4, report.Total.Notifications)
	require.Equal(t, entries/4/100, late)
	require.EqualValues(t, entries/4, report.Silent["not-a-trigger"])

	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	t.Logf("heap in use %d MB", memory.HeapInuse>>20)
	require.Less(t, memory.HeapInuse, uint64(128<<20))
}

// fillHistory writes n resources: a silent change, one that was told, its attempt and its delivery; one in a hundred late.
func (b *bench) fillHistory(n int) {
	document := `{"paymentId":"p","status":"ACSC"}`
	hash := ofb.Hash(map[string]any{"paymentId": "p", "status": "ACSC"})
	first := ofb.Hash(map[string]any{"paymentId": "p", "status": "RCVD"})
	b.do("SET session_replication_role = replica")
	b.do(`CREATE FUNCTION pg_temp.v7(at timestamptz, salt text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
  SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(salt), 1, 3) || '8' || substr(md5(salt), 4, 15))::uuid $$`)
	b.do(`CREATE TEMP TABLE made AS SELECT n, 'p' || n AS resource, at, pg_temp.v7(at, 'a' || n) AS silent, pg_temp.v7(at, 'b' || n) AS change,
  pg_temp.v7(at, 'c' || n) AS notification, pg_temp.v7(at, 'd' || n) AS attempt, pg_temp.v7(at, 'e' || n) AS result,
  CASE WHEN n % 100 = 0 THEN interval '2 seconds' ELSE interval '20 milliseconds' END AS wait
FROM (SELECT n, date_trunc('month', now()) + n * interval '3 milliseconds' AS at FROM generate_series(1, ` + fmt.Sprint(n) + `) n) g`)
	text := func(status, hash, more string) string {
		return `json_build_object('system', 'r 1', 'source', 'api', 'status', '` + status + `', 'cause', 'holder', 'occurredAt', to_json(at), 'beganMicros', 1000, 'waitedMicros', 2000, 'dataHash', '` + hash + `'` + more + `)`
	}
	b.do(`INSERT INTO entry (id, at, kind, client_id, resource_kind, resource_id, revision, notification_id, interaction_id, number, outcome, closes, facts)
SELECT v.* FROM made, LATERAL (VALUES
  (silent, at, 'change', 'itp', 2::smallint, resource, 1::bigint, NULL::uuid, NULL::uuid, NULL::smallint, 'applied', NULL, ` + text("RCVD", hex.EncodeToString(first[:]), ", 'reason', 'not-a-trigger'") + `),
  (change, at + interval '1 millisecond', 'change', 'itp', 2, resource, 2, notification, NULL, NULL, 'applied', NULL, ` + text("ACSC", hex.EncodeToString(hash[:]), ", 'pushEpoch', 1") + `),
  (attempt, at + wait, 'attempt', 'itp', 2, resource, NULL, notification, attempt, 1, NULL, NULL, json_build_object('system', 'r 1', 'scheduledAt', at, 'late', false, 'base', 'https://itp.example/hook')),
  (result, at + wait + interval '40 milliseconds', 'result', 'itp', 2, resource, NULL, notification, NULL, 1, 'delivered', 'delivered',
    json_build_object('system', 'r 1', 'number', 1, 'attempt', attempt, 'httpStatus', 202, 'claimToSendMicros', 300, 'firstByteOutMicros', 900, 'answeredMicros', 30000, 'elapsedMicros', 30000, 'endedAt', at + wait + interval '30 milliseconds'))
) v`)
	b.do(`INSERT INTO revision (kind, resource_id, revision, change_id, data_hash, status, watched, cause, occurred_at, notification_id, reason)
SELECT v.* FROM made, LATERAL (VALUES (2::smallint, resource, 1::bigint, silent, decode('` + hex.EncodeToString(first[:]) + `', 'hex'), 'RCVD', '{}'::jsonb, 'holder', at, NULL::uuid, 'not-a-trigger'),
  (2, resource, 2, change, decode('` + hex.EncodeToString(hash[:]) + `', 'hex'), 'ACSC', '{}', 'holder', at, notification, NULL)) v`)
	b.do(`INSERT INTO resource (kind, id, client_id, api_version, revision, change_id, status, watched, data_hash, announced, occurred_at, document)
SELECT 2, resource, 'itp', 'v5', 2, change, 'ACSC', '{}', decode('` + hex.EncodeToString(hash[:]) + `', 'hex'), 32, at, convert_to('` + document + `', 'UTF8') FROM made`)
	b.do("ANALYZE")
}
