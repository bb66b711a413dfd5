package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// oldPayment is a payment whose event is as old as a document that may go.
func oldPayment(id string, revision int, status string) change {
	c := payment("itp", id, revision, status)
	c.OccurredAt = time.Now().Add(-40 * 24 * time.Hour)
	return c
}

// aged makes rows of resources as old as a document that may go.
func (b *bench) aged(ids ...string) {
	b.t.Helper()
	b.do("UPDATE resource SET updated_at = now() - interval '40 days' WHERE id = ANY ($1)", ids)
}

// walkAgain lets the next walk begin now.
func (b *bench) walkAgain() { b.t.Helper(); b.do("UPDATE erasure_walk SET ended_at = '-infinity'") }

func (b *bench) erase(days int) int {
	b.t.Helper()
	n, err := b.log.EraseDocuments(b.t.Context(), days)
	require.NoError(b.t, err)
	return n
}

// TestADocumentIsErasedAfterItsTimeAndTheProofStays erases one of several resources; only that one is final, old and held by nobody.
func TestADocumentIsErasedAfterItsTimeAndTheProofStays(t *testing.T) {
	b := newSealedBench(t)
	secret := oldPayment("gone", 1, "RCVD")
	secret.Data["cpf"], secret.Data["endToEndId"] = "12345678909", "E1234567820261128120012345678901"
	b.accept(secret)
	secret.Revision, secret.Data["status"] = 2, "ACSC"
	b.accept(secret)
	b.accept(oldPayment("pending", 1, "RCVD"))
	b.accept(oldPayment("young", 1, "ACSC"))
	b.accept(payment("itp", "recent", 1, "ACSC"))
	b.accept(oldPayment("held", 1, "ACSC"))
	_, _, err := b.log.PlaceHold(asAuditor(t), history.Hold{Name: "court", Kind: ofb.PixPayment, ResourceID: "held", Reason: "court"})
	require.NoError(t, err)
	b.aged("gone", "pending", "recent", "held")
	b.seal()
	b.do(`INSERT INTO find_resource (kind, resource_id, digest) SELECT 2, id, decode(repeat('01', 16), 'hex') FROM unnest('{gone,young}'::text[]) AS u(id)`)
	hash := one[[]byte](b.bench, "SELECT data_hash FROM resource WHERE id = 'gone'")

	require.Equal(t, 1, b.erase(30))
	require.Empty(t, one[[]byte](b.bench, "SELECT document FROM resource WHERE id = 'gone'"))
	require.Zero(t, one[int](b.bench, "SELECT count(*) FROM resource WHERE document = '' AND id <> 'gone'"))
	require.Equal(t, []int64{1, 2}, one[[]int64](b.bench, "SELECT array_agg(revision ORDER BY revision) FROM stored_revision WHERE resource_id = 'gone'"), "they hold hashes")
	require.Equal(t, 1, b.entries(history.FactErasure, "gone"))
	facts := one[string](b.bench, "SELECT facts::text FROM entry WHERE kind = 'erasure'")
	require.NotContains(t, facts, "12345678909")
	require.Contains(t, facts, one[string](b.bench, "SELECT encode($1::bytea, 'hex')", hash), "the digest stays")
	require.Equal(t, []string{"young"}, one[[]string](b.bench, "SELECT array_agg(resource_id) FROM find_resource"), "nothing finds it by its end-to-end id")
	require.True(t, one[bool](b.bench, "SELECT found = '' FROM resource WHERE id = 'gone'"))
	found, err := b.log.Find(t.Context(), "E1234567820261128120012345678901")
	require.NoError(t, err)
	require.Empty(t, found.Hits)
	require.Zero(t, b.erase(30), "a walk a day")
	b.walkAgain()
	require.Zero(t, b.erase(30), "once")

	b.seal()
	verdict, err := auditlog.Verify(t.Context(), b.url, b.key.Public(), nil)
	require.NoError(t, err)
	require.Zero(t, verdict.Unsealed)
	require.Empty(t, reconcileAll(t, b.bench), "an erasure is no difference")

	// The rules answer as for what is not there, and an owner is still told from a stranger.
	r, err := b.store.Read(t.Context(), notice.Question{Client: "itp", Kind: ofb.PixPayment, ID: "gone"})
	require.NoError(t, err)
	require.True(t, r.Mine)
	require.Empty(t, r.Stored.Document)

	// The core repeats what it said long ago: nothing is told again.
	before := one[int](b.bench, "SELECT count(*) FROM queue WHERE resource_id = 'gone'")
	a := b.accept(secret)
	require.Equal(t, notice.Duplicate, a.Verdict)
	require.Equal(t, before, one[int](b.bench, "SELECT count(*) FROM queue WHERE resource_id = 'gone'"))

	require.NoError(t, b.log.LiftHold(asAuditor(t), "court", "over"))
	b.walkAgain()
	require.Equal(t, 1, b.erase(30))
	require.Equal(t, 1, b.entries(history.FactErasure, "held"))
}

// TestAnErasureLeavesTheNewestRevisionWhereverItStands: in the row of its resource or in one of its own, and the older ones with it. A later
// change gives it its row, and the next erasure leaves that too.
func TestAnErasureLeavesTheNewestRevisionWhereverItStands(t *testing.T) {
	for _, dense := range []bool{true, false} {
		b := newSealedBench(t)
		b.do("UPDATE form SET dense = $1", dense)
		revisions := func(from string) []int64 {
			return one[[]int64](b.bench, "SELECT coalesce(array_agg(revision ORDER BY revision), '{}') FROM "+from+" WHERE resource_id = 'p1'")
		}
		c := oldPayment("p1", 1, "RCVD")
		b.accept(c)
		c.Revision, c.Data["status"] = 3, "ACSC"
		b.accept(c)
		require.Equal(t, notice.Superseded, b.accept(oldPayment("p1", 2, "PDNG")).Verdict)
		require.Equal(t, []int64{1, 2, 3}, revisions("stored_revision"))
		newest := b.rowOf("stored_revision", "p1", 3)
		b.aged("p1")
		require.Equal(t, 1, b.erase(30))
		require.Equal(t, []int64{1, 2, 3}, revisions("stored_revision"))
		if dense {
			require.Equal(t, []int64{1, 2}, revisions("revision"), "the newest stands in the row of its resource")
		}
		require.Equal(t, newest, b.rowOf("stored_revision", "p1", 3), "as it was")
		require.Equal(t, notice.Duplicate, b.accept(c).Verdict)
		require.Empty(t, reconcileAll(t, b.bench))

		c.Revision, c.Data["n"] = 4, "more"
		require.Equal(t, notice.Applied, b.accept(c).Verdict)
		require.Equal(t, newest, b.rowOf("revision", "p1", 3), "the change gives it its row")
		require.Empty(t, reconcileAll(t, b.bench), "a document after its erasure")
		b.aged("p1")
		b.walkAgain()
		require.Equal(t, 1, b.erase(30))
		require.Equal(t, []int64{1, 2, 3, 4}, revisions("stored_revision"))
		require.Equal(t, 2, b.entries(history.FactErasure, "p1"))
		require.Empty(t, reconcileAll(t, b.bench), "erased twice")
	}
}

// TestAnOlderRevisionThatIsRepeatedAfterTheErasureIsToldToNobody: it was silent for want of an address, which the client has since.
func TestAnOlderRevisionThatIsRepeatedAfterTheErasureIsToldToNobody(t *testing.T) {
	b := newSealedBench(t)
	b.register("later")
	var said []change
	for i, status := range []string{"RCVD", "PDNG", "ACSC"} {
		c := oldPayment("p1", i+1, status)
		c.ClientID = "later"
		said = append(said, c)
		require.Empty(t, b.accept(c).Notifications)
	}
	b.aged("p1")
	require.Equal(t, 1, b.erase(30))
	b.register("later", "https://later.example/hook")
	for _, c := range said {
		a := b.accept(c)
		require.Equal(t, notice.Duplicate, a.Verdict, "revision %d", c.Revision)
		require.Empty(t, a.Notifications)
	}
	changed := said[1]
	changed.Data = map[string]any{"paymentId": "p1", "status": "PDNG", "n": "another"}
	require.Equal(t, notice.Conflicting, b.accept(changed).Verdict, "the hash tells another content")
	require.Zero(t, one[int](b.bench, "SELECT count(*) FROM queue WHERE client_id = 'later'"))
	require.Equal(t, 3, b.entries(history.FactChange, "p1"))
	require.Empty(t, reconcileAll(t, b.bench))
}

// TestNobodyErasesByHand: what is missing without an entry of the owner's function is a difference, and the role of serve cannot
// write that entry or delete a revision.
func TestNobodyErasesByHand(t *testing.T) {
	b := newSealedBench(t)
	b.accept(payment("itp", "p1", 1, "RCVD"))
	b.accept(payment("itp", "p1", 2, "ACSC"))
	for _, statement := range []string{
		"INSERT INTO entry (id, kind, outcome, facts) VALUES (gen_random_uuid(), 'erasure', 'document', '{}')",
		"INSERT INTO erased (kind, resource_id, entry) VALUES (2, 'p1', gen_random_uuid())",
		"DELETE FROM revision WHERE resource_id = 'p1'",
		"SELECT erase_documents('{2 ACSC}', interval '29 days', 10)",
	} {
		b.do("SET ROLE arauto_app")
		_, err := b.owner.Exec(t.Context(), statement)
		require.Error(t, err, statement)
		b.do("RESET ROLE")
	}
	_, err := b.owner.Exec(t.Context(), "DELETE FROM revision WHERE resource_id = 'p1'")
	require.ErrorContains(t, err, "append-only", "not even the owner, while it is not erased")
	require.Empty(t, reconcileAll(t, b.bench))
	b.do("UPDATE resource SET document = '' WHERE id = 'p1'")
	require.NotEmpty(t, reconcileAll(t, b.bench), "a document that only vanished")
}

// TestAWalkGoesOnWhereItStopped looks at more resources than one step does, and at none twice.
func TestAWalkGoesOnWhereItStopped(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	const n = 450
	b.do(`INSERT INTO resource (kind, id, client_id, api_version, revision, change_id, status, watched, data_hash, announced, occurred_at, updated_at, document)
SELECT 2, 'p' || n, 'itp', 'v5', 1, gen_random_uuid(), 'ACSC', '{}', '\x00', 0, now() - interval '40 days', now() - interval '40 days', '{}' FROM generate_series(1, $1::int) AS n`, n)
	require.Equal(t, n, b.erase(30))
	require.Equal(t, n, one[int](b, "SELECT count(*) FROM entry WHERE kind = 'erasure'"))
	require.True(t, one[bool](b, "SELECT ended_at > now() - interval '1 minute' FROM erasure_walk"))
}

// reconcileAll lists every difference.
func reconcileAll(t *testing.T, b *bench) []history.Difference {
	t.Helper()
	_, all := inspect(t, b.log.Inspector(), time.Time{}, soon())
	return all
}

// TestAnErasureFindsItsRowsByTheirKeys: those that payments of older versions are found by, however many there are.
func TestAnErasureFindsItsRowsByTheirKeys(t *testing.T) {
	b := newSealedBench(t)
	var ids []string
	for n := range 20 {
		ids = append(ids, fmt.Sprintf("old-%d", n))
		b.accept(oldPayment(ids[n], 1, "ACSC"))
	}
	b.aged(ids...)
	b.do("INSERT INTO find_resource (kind, resource_id, digest) SELECT 2, 'other-' || n, substr(sha256(n::text::bytea), 1, 16) FROM generate_series(1, 20000) n")
	b.do("INSERT INTO find_resource (kind, resource_id, digest) SELECT 2, id, substr(sha256(id::bytea), 1, 16) FROM unnest($1::text[]) AS u(id)", ids)
	require.Equal(t, len(ids), b.erase(30))
	require.Equal(t, 20000, one[int](b.bench, "SELECT count(*) FROM find_resource"))
	require.Eventually(t, func() bool { // the other index begins with what an erasure does not know, and would be read whole for each
		return one[int](b.bench, "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'find_resource_key'") == len(ids)
	}, 10*time.Second, 50*time.Millisecond)
}
