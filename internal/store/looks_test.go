package store_test

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// TestWhatAppearsFarBackIsFoundByTheNextFullLook: between two full looks nobody looks at what fell due long before the first.
func TestWhatAppearsFarBackIsFoundByTheNextFullLook(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	waiting := func() []notice.Lane {
		lanes, err := b.store.Waiting(t.Context())
		require.NoError(t, err)
		return lanes
	}
	require.Empty(t, waiting())
	store.LookNoFurther(b.store)
	b.fill("itp", 1, "1 hour") // as by a transaction that a lock held off
	require.Empty(t, waiting())
	require.Empty(t, b.claimFor("itp", 20*time.Second))
	store.LookAgain(b.store)
	require.Len(t, waiting(), 1)
	require.Len(t, waiting(), 1, "looks that are not full know how old it is")
	require.Len(t, b.claimFor("itp", 20*time.Second), 1)
}

func TestAnAttemptThatFollowsAFailureStoredLateIsFoundAtOnce(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.accept(payment("itp", "p1", 1, "ACSC"))
	first := b.claimFor("itp", 20*time.Second)
	require.Len(t, first, 1)
	_, err := b.store.Waiting(t.Context())
	require.NoError(t, err)
	lanes, err := b.store.Settle(t.Context(), []notice.Settlement{{Attempt: first[0], Result: notice.Result{Outcome: notice.OutcomeRefused, EndedAt: time.Now().Add(-time.Hour)}}})
	require.NoError(t, err)
	require.Len(t, lanes, 1)
	require.Less(t, lanes[0].DueIn, -50*time.Minute)
	second := b.claimFor("itp", 20*time.Second)
	require.Len(t, second, 1)
	require.Equal(t, 2, second[0].Number)
}

func TestALeaseThatRanOutLongAgoIsFoundByTheNextFullLook(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.accept(payment("itp", "p1", 1, "ACSC"))
	require.Len(t, b.claimFor("itp", time.Hour), 1)
	require.Zero(t, b.rescue())
	store.LookNoFurther(b.store)
	b.do("UPDATE queue SET lease_until = now() - interval '1 hour'")
	require.Zero(t, b.rescue())
	store.LookAgain(b.store)
	require.Equal(t, 1, b.rescue())
}

func TestATimerThatIsArmedLongAfterItsDeadlineFires(t *testing.T) {
	b := newBench(t, ofb.PaymentConsent)
	other := replicaOf(t, b.url, ofb.PaymentConsent)
	fire := func(w *world) int {
		n, err := w.store.FireTimers(t.Context(), 2, func(ready []notice.DueTimer) []notice.Fired { return make([]notice.Fired, len(ready)) })
		require.NoError(t, err)
		return n
	}
	arm := func(ids ...string) {
		for _, id := range ids {
			require.Equal(t, notice.Applied, b.accept(timed(id, 1, "AWAITING_AUTHORISATION", 10*time.Minute)).Verdict)
		}
	}
	arm("before")
	require.Equal(t, 1, fire(other), "the first look is a full one")
	require.Zero(t, fire(b.world))

	store.LookNoFurther(b.store)
	store.LookNoFurther(other.store)
	arm("a")
	require.Zero(t, fire(other))
	require.Equal(t, 1, fire(b.world), "who armed it knows how old it is")

	arm("b", "c", "d")
	require.Zero(t, fire(other))
	store.LookAgain(other.store)
	require.Equal(t, 2, fire(other), "as many as it may take")
	require.Equal(t, 1, fire(other), "the full look goes on while there may be more")
	require.Zero(t, one[int](b, "SELECT count(*) FROM timer"))

	arm("e")
	store.LookAgain(other.store)
	_, err := other.store.FireTimers(t.Context(), 2, func(ready []notice.DueTimer) []notice.Fired {
		require.Len(t, ready, 1)
		return []notice.Fired{{Change: &notice.Change{Kind: ofb.PixPayment}}} // which it refuses
	})
	require.Error(t, err)
	require.Equal(t, 1, fire(other), "what was not fired is looked for again")
}

// TestWhatAClaimReadsDoesNotGrowWithTheAgeOfASnapshot holds one while thousands of notifications come and go.
func TestWhatAClaimReadsDoesNotGrowWithTheAgeOfASnapshot(t *testing.T) {
	b := newBench(t)
	b.do("ALTER TABLE queue SET (autovacuum_enabled = off)")
	b.register("itp", "https://itp.example/hook")
	connect := func() *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), b.url)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn
	}
	holder, err := connect().BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	require.NoError(t, err)
	_, err = holder.Exec(t.Context(), "SELECT 1")
	require.NoError(t, err)
	const came = 3000
	b.fill("itp", came, "10 minutes")
	for range came / 500 {
		got, err := b.store.Claim(t.Context(), []notice.ClaimRequest{{Client: "itp", Free: 500, Late: 500}}, 20*time.Second)
		require.NoError(t, err)
		require.Len(t, got, 500)
		b.settle(notice.OutcomeDelivered, got...)
	}
	conn := connect()
	for name, value := range store.HotSession {
		_, err := conn.Exec(t.Context(), "SET "+name+" = "+value)
		require.NoError(t, err)
	}
	_, err = conn.Exec(t.Context(), "SET search_path = arauto")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "PREPARE claim (text[], int[], int[], interval, interval, text, text[], bigint[], bigint[]) AS "+store.ClaimSQL)
	require.NoError(t, err)
	read := func(back time.Duration) int {
		rows, err := conn.Query(t.Context(), fmt.Sprintf("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) EXECUTE claim ('{itp}', '{50}', '{12}', '20 s', '1.5 s', 'test', '{\"\"}', '{0}', '{%d}')", back.Microseconds()))
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		hit := regexp.MustCompile(`shared hit=(\d+)`).FindStringSubmatch(strings.Join(lines[1:], "\n"))
		require.NotNil(t, hit, lines)
		n, err := strconv.Atoi(hit[1])
		require.NoError(t, err)
		return n
	}
	all, few := read(time.Hour), read(time.Minute)
	t.Logf("pages read: %d when everything is looked at, %d with a bound", all, few)
	require.Greater(t, all, came/50, "the instrument: every row that left is passed over")
	require.Less(t, few, 40)
}
