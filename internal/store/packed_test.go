package store_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// whole is a payment with a whole document.
func whole(id string, revision int, status ofb.Status) change {
	c := payment("itp", id, revision, string(status))
	c.Data = openapitest.Data(ofb.PixPayment, "v5", status, id)
	return c
}

// isPacked tells how the document of a payment is stored.
func (b *bench) isPacked(id string) bool {
	b.t.Helper()
	return one[bool](b, "SELECT substr(document, 1, 1) = '\\x01' FROM resource WHERE id = $1", id)
}

// document is the stored document of a resource.
func (b *bench) document(id string) string {
	b.t.Helper()
	text, err := store.Unpack(one[[]byte](b, "SELECT document FROM resource WHERE id = $1", id))
	require.NoError(b.t, err)
	return string(text)
}

// requireRead compares a document as each reader gives it with the one that was sent.
func (b *bench) requireRead(c change) {
	b.t.Helper()
	want, err := json.Marshal(c.Data)
	require.NoError(b.t, err)
	id, _ := c.Data["paymentId"].(string)
	read, err := b.store.Read(b.t.Context(), notice.Question{Client: "itp", Kind: ofb.PixPayment, ID: id})
	require.NoError(b.t, err)
	require.Equal(b.t, string(want), string(read.Stored.Document))
	consent, _ := c.Data["consentId"].(string)
	listed, err := b.store.Read(b.t.Context(), notice.Question{Client: "itp", Kind: ofb.PaymentConsent, ID: consent, Under: ofb.PixPayment, Most: 10})
	require.NoError(b.t, err)
	var documents []string
	for _, one := range listed.Listed {
		documents = append(documents, string(one.Document))
	}
	require.Contains(b.t, documents, string(want))
	timeline, err := b.log.Timeline(b.t.Context(), notice.Key{Kind: ofb.PixPayment, ID: id})
	require.NoError(b.t, err)
	require.Equal(b.t, string(want), string(timeline.Document))
}

// TestEveryReaderReadsBothForms: documents from before the form was chosen stay plain, and are read beside packed ones.
func TestEveryReaderReadsBothForms(t *testing.T) {
	b := newSealedBench(t)
	plain, packed := whole("plain", 1, ofb.RCVD), whole("packed", 1, ofb.RCVD)
	b.do("UPDATE form SET packed = false")
	b.accept(plain)
	b.do("UPDATE form SET packed = true")
	b.accept(packed)
	require.False(t, b.isPacked("plain"))
	require.True(t, b.isPacked("packed"))
	b.requireRead(plain)
	b.requireRead(packed)
	require.Equal(t, notice.Duplicate, b.accept(packed).Verdict)
	plain, packed = whole("plain", 2, ofb.ACSC), whole("packed", 2, ofb.ACSC)
	b.accept(plain)
	b.accept(packed)
	require.True(t, b.isPacked("plain"), "the next change packs it")
	b.requireRead(plain)
	b.requireRead(packed)
	require.Equal(t, 2, one[int](b.bench, "SELECT count(*) FROM resource WHERE found <> ''"), "found by their end-to-end ids")
	b.do("UPDATE resource SET found = NULL") // as a replica of the version before leaves it
	b.seal()
	folded, err := b.log.Fold(t.Context())
	require.NoError(t, err)
	require.False(t, folded.Busy || folded.More)
	require.Equal(t, 2, one[int](b.bench, "SELECT count(*) FROM find_resource"), "the fold reads both")
	_, differences := inspect(t, b.log.Inspector(), time.Time{}, soon())
	require.Empty(t, differences, "the hash is of what was sent")

	b.do("UPDATE resource SET document = '\\x01ff' WHERE id = 'packed'")
	_, differences = inspect(t, b.log.Inspector(), time.Time{}, soon())
	require.Len(t, differences, 1)
	require.Equal(t, history.DocumentDiffers, differences[0].What)
	_, err = b.store.Read(t.Context(), notice.Question{Client: "itp", Kind: ofb.PixPayment, ID: "packed"})
	require.ErrorContains(t, err, "damaged")
}

// TestATimerReadsAPackedDocument: and the consent is what the rules make of it.
func TestATimerReadsAPackedDocument(t *testing.T) {
	t.Parallel()
	b := newBench(t, ofb.PaymentConsent)
	b.register("itp", "https://itp.example/hook")
	c := timed("c", 1, "AWAITING_AUTHORISATION", 10*time.Minute)
	id, _ := c.Data["consentId"].(string)
	c.Data = openapitest.Data(ofb.PaymentConsent, "v5", ofb.AwaitingAuthorisation, id, openapitest.Created(c.OccurredAt))
	b.accept(c)
	require.True(t, b.isPacked(id))
	require.EqualValues(t, 1, runTimers(t, 1, b.world))
	read, err := b.store.Read(t.Context(), notice.Question{Client: "itp", Kind: ofb.PaymentConsent, ID: id})
	require.NoError(t, err)
	require.Contains(t, string(read.Stored.Document), `"REJECTED"`)
	require.Contains(t, string(read.Stored.Document), "Loja Fictícia Ltda")
}

// TestTheWayBackLeavesNoPackedDocument is backup-and-upgrade: a version before reads every document afterwards.
func TestTheWayBackLeavesNoPackedDocument(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	first, second, third := whole("p1", 1, ofb.ACSC), whole("p2", 1, ofb.ACSC), whole("p3", 1, ofb.ACSC)
	b.accept(first)
	b.accept(second)
	revisions := one[string](b, "SELECT json_agg(v ORDER BY resource_id)::text FROM stored_revision v")
	b.do("UPDATE resource SET document = '\\x01ff' WHERE id = 'p2'")
	n, err := store.PlainDocuments(t.Context(), b.url)
	require.ErrorContains(t, err, "the document of resource p2 of kind 2 stays packed")
	require.Equal(t, 1, n)
	b.accept(third)
	require.False(t, b.isPacked("p1"))
	require.False(t, b.isPacked("p3"), "no replica packs any more")
	b.requireRead(first)
	b.requireRead(third)
	require.Equal(t, revisions, one[string](b, "SELECT json_agg(v ORDER BY resource_id)::text FROM stored_revision v WHERE resource_id <> 'p3'"))
	b.do("DELETE FROM resource WHERE id = 'p2'")
	n, err = store.PlainDocuments(t.Context(), b.url)
	require.NoError(t, err)
	require.Zero(t, n)
}

// walOf accepts payments with whole documents at once and returns the bytes of write-ahead log of one.
func (b *bench) walOf(prefix string, n int) float64 {
	b.t.Helper()
	from := one[string](b, "SELECT pg_current_wal_insert_lsn()::text")
	pending := make([]*intake.Pending, n)
	for i := range pending {
		line, err := json.Marshal(whole(fmt.Sprintf("%s-%d", prefix, i), 1, ofb.ACSC))
		require.NoError(b.t, err)
		pending[i], err = b.intake.Enqueue(b.t.Context(), line, intake.Origin{Source: "api", Actor: "core"})
		require.NoError(b.t, err)
	}
	for _, p := range pending {
		_, err := p.Wait(b.t.Context())
		require.NoError(b.t, err)
	}
	return one[float64](b, "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1::pg_lsn)::float8", from) / float64(n)
}

// TestAPackedDocumentWritesLessLog: that is what it is for. The server of tests writes no images of pages, so bytes are what records have.
func TestAPackedDocumentWritesLessLog(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	const n = 500
	b.walOf("first", n) // pages and plans are there
	b.do("UPDATE form SET packed = false")
	plain := b.walOf("plain", n)
	b.do("UPDATE form SET packed = true")
	packed := b.walOf("packed", n)
	long, short := one[int](b, "SELECT octet_length(document) FROM resource WHERE id = 'plain-0'"), one[int](b, "SELECT octet_length(document) FROM resource WHERE id = 'packed-0'")
	t.Logf("write-ahead log of a change: %.0f B with a plain document of %d B, %.0f B with a packed one of %d B", plain, long, packed, short)
	require.Less(t, packed, plain-float64(long-short)/2)
}
