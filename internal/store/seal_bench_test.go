package store_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// BenchmarkTheProof reports what sealing and verifying cost, for 100,000 entries as an attempt's end leaves them; with
// ARAUTO_LONG=1 for the 1,000,000 of case M7.
func BenchmarkTheProof(b *testing.B) {
	n := 100_000
	if os.Getenv("ARAUTO_LONG") == "1" {
		n = 1_000_000
	}
	for b.Loop() {
		proveMany(b, n)
	}
}

// emptyLog is a database without entries, its log with a key, and a connection of its owner.
type emptyLog struct {
	url   string
	log   *auditlog.Log
	key   *audit.Signer
	owner *pgx.Conn
	end   func()
}

func openEmptyLog(b *testing.B) emptyLog {
	b.Helper()
	url := storetest.Database(b)
	s, err := store.Open(b.Context(), store.Options{URL: url, Replica: "bench", Version: "0"})
	require.NoError(b, err)
	l := auditlog.New(s.Access())
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(b, err)
	key := audit.NewSigner(private)
	_, err = l.RegisterLogKey(b.Context(), key.Public())
	require.NoError(b, err)
	owner, err := pgx.Connect(b.Context(), url)
	require.NoError(b, err)
	return emptyLog{url, l, key, owner, func() {
		owner.Close(b.Context())
		s.Close()
	}}
}

func proveMany(b *testing.B, n int) {
	e := openEmptyLog(b)
	defer e.end()
	l, key, owner := e.log, e.key, e.owner
	for range n / 500 { // transactions as large as a settlement's
		_, err := owner.Exec(b.Context(), `
INSERT INTO arauto.entry (id, kind, client_id, resource_kind, resource_id, notification_id, interaction_id, number, outcome, facts)
SELECT gen_random_uuid(), 'result', '3d5b1f0a-6c0c-4a36-9a0b-9d1f5a0c7c11', 2, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'delivered',
  json_build_object('system', 'replica-1 1.0', 'httpStatus', 202, 'url', 'https://initiator.example.com/webhook/open-banking/webhook/v1/payments/v5/pix/payments/x',
    'peer', 'CN=initiator.example.com', 'serial', '0123456789abcdef', 'dialled', 12, 'handshake', 4321, 'firstByte', 5432, 'answered', 8765, 'endedAt', now(), 'n', n)
FROM generate_series(1, 500) n`)
		require.NoError(b, err)
	}
	began := time.Now()
	var sealed, batches int
	for more := true; more; batches++ {
		out, err := l.Seal(b.Context(), key)
		require.NoError(b, err)
		sealed, more = sealed+out.Entries, out.More || sealed+out.Entries < n
	}
	took := time.Since(began)
	require.Equal(b, n, sealed)
	b.ReportMetric(float64(took.Microseconds())/float64(n), "µs-seal/entry")
	b.ReportMetric(float64(n)/took.Seconds(), "sealed/s")
	began = time.Now()
	verdict, err := auditlog.Verify(b.Context(), e.url, key.Public(), nil)
	require.NoError(b, err)
	require.Equal(b, int64(n), verdict.Entries)
	took = time.Since(began)
	b.ReportMetric(float64(n)/took.Seconds(), "verified/s")
	var entry, proof int64
	require.NoError(b, owner.QueryRow(b.Context(), `SELECT pg_total_relation_size('arauto.log_position') + pg_total_relation_size('arauto.log_node') + pg_total_relation_size('arauto.log_checkpoint'),
(SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'arauto.entry'::regclass)`).Scan(&proof, &entry))
	b.ReportMetric(float64(proof)/float64(n), "proof-bytes/entry")
	b.ReportMetric(float64(entry)/float64(n), "entry-bytes/entry")
	x, err := auditlog.OpenExport(b.Context(), e.url, 0)
	require.NoError(b, err)
	defer x.Close(b.Context())
	began = time.Now()
	const proofs = 100
	for i := range int64(proofs) {
		_, err := x.Prove(b.Context(), i*int64(n)/proofs)
		require.NoError(b, err)
	}
	b.ReportMetric(float64(time.Since(began).Microseconds())/proofs/1000, "ms/proof")
}

// BenchmarkABacklog reports what one entry costs in the first three batches of a backlog, whose transactions have 1,000
// entries each: of 100,000 and 400,000 entries, with ARAUTO_LONG=1 of 1,000,000 and 4,000,000. It may not depend on how many
// wait. It also reports what the index of the order adds to the table.
func BenchmarkABacklog(b *testing.B) {
	sizes := []int{100_000, 400_000}
	if os.Getenv("ARAUTO_LONG") == "1" {
		sizes = []int{1_000_000, 4_000_000}
	}
	for _, n := range sizes {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				sealBacklog(b, n)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func sealBacklog(b *testing.B, n int) {
	e := openEmptyLog(b)
	defer e.end()
	l, key, owner := e.log, e.key, e.owner
	_, err := owner.Exec(b.Context(), "SET synchronous_commit = off")
	require.NoError(b, err)
	for range n / 1000 {
		_, err = owner.Exec(b.Context(), `INSERT INTO arauto.entry (id, kind, client_id, resource_kind, resource_id, outcome, facts)
SELECT gen_random_uuid(), 'poll', 'client-1', 2, gen_random_uuid(), '200', json_build_object('system', 'replica-1 1.0', 'status', 'ACSC', 'n', n) FROM generate_series(1, 1000) n`)
		require.NoError(b, err)
	}
	const batches = 3
	began := time.Now()
	for range batches {
		out, err := l.Seal(b.Context(), key)
		require.NoError(b, err)
		require.Equal(b, auditlog.SealBatch, out.Entries)
	}
	b.ReportMetric(float64(time.Since(began).Microseconds())/(batches*auditlog.SealBatch), "µs-seal/entry")
	var index, table int64
	require.NoError(b, owner.QueryRow(b.Context(), `SELECT sum(pg_relation_size(inhrelid)) FILTER (WHERE inhparent = 'arauto.entry_order'::regclass),
sum(pg_relation_size(inhrelid)) FILTER (WHERE inhparent = 'arauto.entry'::regclass) FROM pg_inherits`).Scan(&index, &table))
	b.ReportMetric(float64(index)/float64(n), "index-bytes/entry")
	b.ReportMetric(float64(table)/float64(n), "entry-bytes/entry")
}
