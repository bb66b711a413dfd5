package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

func TestCompetingClaimersNeverGetTheSameRow(t *testing.T) {
	b := newBench(t)
	lanes := []string{"a", "b", "c", "d"}
	for _, lane := range lanes {
		b.register(lane, "https://itp.example/hook")
		b.fill(lane, 60, "1 second")
	}
	other := replicaOf(t, b.url)
	var mu sync.Mutex
	var all sync.WaitGroup
	seen, tokens, interactions := map[notice.ID]int{}, map[notice.ID]bool{}, map[notice.ID]bool{}
	for n := range 6 {
		s := []*store.Store{b.store, other.store}[n%2]
		all.Go(func() {
			for {
				var want []notice.ClaimRequest
				for _, lane := range lanes {
					want = append(want, notice.ClaimRequest{Client: notice.ClientID(lane), Free: 7, Late: 2})
				}
				got, err := s.Claim(context.WithoutCancel(t.Context()), want, 20*time.Second)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, a := range got {
					seen[a.Notification]++
					tokens[a.Token], interactions[a.Interaction] = true, true
				}
				left := len(seen) < 240
				mu.Unlock()
				if len(got) == 0 && !left {
					return
				}
			}
		})
	}
	all.Wait()
	require.Len(t, seen, 240)
	for id, n := range seen {
		require.Equal(t, 1, n, "notification %s was claimed %d times", id, n)
	}
	require.Len(t, tokens, 240)
	require.Len(t, interactions, 240)
	require.Equal(t, 240, one[int](b, "SELECT count(*) FROM entry WHERE kind = 'attempt'"), "each claim is recorded before anything is sent")
}

// TestAClaimPreparedOnAnEmptyTableStaysQuickWithABacklog looks at what the server did, not only at what it says it would do.
func TestAClaimPreparedOnAnEmptyTableStaysQuickWithABacklog(t *testing.T) {
	b := newBench(t)
	s, err := store.Open(t.Context(), store.Options{URL: b.url, Replica: "one", DispatchConns: 1})
	require.NoError(t, err)
	defer s.Close()
	b.do("ALTER TABLE queue SET (autovacuum_enabled = off)") // nothing may tell the planner
	b.register("backlog", "https://itp.example/hook")
	b.register("quiet", "https://itp.example/hook")
	want := []notice.ClaimRequest{{Client: "backlog", Free: 50, Late: 12}, {Client: "quiet", Free: 50, Late: 12}}
	for range 12 { // past the five custom plans
		got, err := s.Claim(t.Context(), want, 20*time.Second)
		require.NoError(t, err)
		require.Empty(t, got)
	}
	explain := b.prepareClaim(want)
	scans := one[int64](b, "SELECT seq_scan FROM pg_stat_user_tables WHERE relid = 'queue'::regclass")
	b.fill("backlog", 200_000, "1 hour")
	b.fill("quiet", 3, "100 milliseconds")
	scanned := one[int64](b, "SELECT seq_scan FROM pg_stat_user_tables WHERE relid = 'queue'::regclass")
	require.Equal(t, scans, scanned)

	var slowest time.Duration
	for n := range 10 {
		began := time.Now()
		got, err := s.Claim(t.Context(), want, 20*time.Second)
		slowest = max(slowest, time.Since(began))
		require.NoError(t, err)
		require.Len(t, got, 50+map[bool]int{true: 3}[n == 0])
	}
	t.Logf("slowest of 10 claims of 50 from 200,000 rows: %s", slowest)
	require.Less(t, slowest, time.Second)
	plan := explain()
	require.Contains(t, plan, "queue_lane")
	require.NotContains(t, plan, "Seq Scan on queue")
	require.Eventually(t, func() bool {
		return one[int64](b, "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'queue_lane'") > 0
	}, time.Minute, 100*time.Millisecond)
	require.Equal(t, scans, one[int64](b, "SELECT seq_scan FROM pg_stat_user_tables WHERE relid = 'queue'::regclass"))
}

// prepareClaim prepares the claim as the dispatch pool's sessions do and returns how to see its generic plan.
func (b *bench) prepareClaim(want []notice.ClaimRequest) (explain func() string) {
	b.t.Helper()
	conn, err := pgx.Connect(b.t.Context(), b.url)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	do := func(text string) {
		_, err := conn.Exec(b.t.Context(), text)
		require.NoError(b.t, err, text)
	}
	for name, value := range store.HotSession {
		do("SET " + name + " = " + value)
	}
	do("SET search_path = arauto; SET ROLE arauto_app; SET plan_cache_mode = force_generic_plan")
	do("PREPARE claim (text[], int[], int[], interval, interval, text, text[], bigint[], bigint[]) AS " + store.ClaimSQL)
	var clients []string
	for _, w := range want {
		clients = append(clients, string(w.Client))
	}
	execute := "EXPLAIN EXECUTE claim ('{" + strings.Join(clients, ",") + "}', '{50,50}', '{12,12}', '20 s', '1.5 s', 'test', '{\"\",\"\"}', '{0,0}', '{3600000000,3600000000}')"
	do(execute) // now, while the table is empty, the plan is made
	return func() string {
		rows, err := conn.Query(b.t.Context(), execute)
		require.NoError(b.t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(b.t, err)
		return strings.Join(lines, "\n")
	}
}

// TestNeitherClaimNorSettlementComparesEachRowWithEachOther looks at plans made from figures that a flood has overtaken: a
// few rows when the table was analysed, thousands when the statement runs.
func TestNeitherClaimNorSettlementComparesEachRowWithEachOther(t *testing.T) {
	b := newBench(t)
	b.do("ALTER TABLE queue SET (autovacuum_enabled = off)")
	lanes := make([]string, 10)
	for i := range lanes {
		lanes[i] = fmt.Sprint("lane-", i)
		b.register(lanes[i], "https://itp.example/hook")
		b.fill(lanes[i], 3, "1 hour")
	}
	b.do("ANALYZE queue")
	conn, err := pgx.Connect(t.Context(), b.url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	do := func(text string) {
		_, err := conn.Exec(t.Context(), text)
		require.NoError(t, err, text)
	}
	for name, value := range store.HotSession {
		do("SET " + name + " = " + value)
	}
	do("SET search_path = arauto; SET ROLE arauto_app")
	do("PREPARE claim (text[], int[], int[], interval, interval, text, text[], bigint[], bigint[]) AS " + store.ClaimSQL)
	do("PREPARE settle (uuid[], uuid[], text[], boolean[], bigint[], bigint[], text[], text[], smallint[], text[], smallint[], text[], uuid[], timestamptz[], boolean[], uuid[]) AS " + store.SettleSQL)
	for _, lane := range lanes {
		b.fill(lane, 2000, "1 hour")
	}
	every := func(value string) string {
		return "'{" + strings.TrimSuffix(strings.Repeat(value+",", len(lanes)), ",") + "}'"
	}
	claim := "EXECUTE claim ('{" + strings.Join(lanes, ",") + "}', " + every("40") + ", " + every("10") + ", '20 s', '1.5 s', 'test', " + every(`""`) + ", " + every("0") + ", " + every("7200000000") + ")"
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		do("SET plan_cache_mode = " + mode)
		for what, execute := range map[string]string{
			"claim": claim,
			"settle": `EXECUTE settle ('$1', '$2',
 array_fill('delivered'::text, '{300}'), array_fill(true, '{300}'), array_fill(0::bigint, '{300}'), array_fill(-1::bigint, '{300}'), array_fill('{"attempt":"x","private":"RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o"'::text, '{300}'),
 array_fill('lane-0'::text, '{300}'), array_fill(2::smallint, '{300}'), array_fill('r'::text, '{300}'), array_fill(1::smallint, '{300}'), array_fill('{}'::text, '{300}'),
 array_fill(NULL::uuid, '{300}'), array_fill(now(), '{300}'), array_fill(false, '{300}'), '$1')`,
		} {
			t.Run(what+" "+mode, func(t *testing.T) {
				if what == "settle" {
					do(claim)
					const leased = "::text FROM (SELECT * FROM queue WHERE token IS NOT NULL ORDER BY id LIMIT 300) q"
					execute = strings.NewReplacer("$1", one[string](b, "SELECT array_agg(id)"+leased), "$2", one[string](b, "SELECT array_agg(token)"+leased)).Replace(execute)
				}
				rows, err := conn.Query(t.Context(), "EXPLAIN (ANALYZE, TIMING OFF) "+execute)
				require.NoError(t, err)
				lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
				require.NoError(t, err)
				plan := strings.Join(lines, "\n")
				require.Contains(t, plan, "Index Scan using queue_pkey")
				require.NotContains(t, plan, "Rows Removed by Join Filter")
				require.NotContains(t, plan, "Bitmap Heap Scan on queue")
				require.NotContains(t, plan, "Materialize")
				require.NotContains(t, plan, "queue_lease", "that index has an entry for each attempt since the oldest snapshot")
			})
		}
	}
}

func TestAClaimTakesWhatCanBeOnTimeFirstAndAShareOfTheLate(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.fill("itp", 5, "10 minutes")       // late
	b.fill("itp", 6, "500 milliseconds") // can still be on time
	claim := func(free, at int) (fresh, late int, oldest bool) {
		// Within 1.5 s, a test on a busy machine would have to hurry.
		got, err := b.store.ClaimWithin(t.Context(), []notice.ClaimRequest{{Client: "itp", Free: free, Late: at}}, 20*time.Second, 5*time.Minute)
		require.NoError(t, err)
		if len(got) == 0 {
			return 0, 0, true
		}
		for _, a := range got {
			if time.Since(a.ScheduledAt) > time.Minute {
				late++
			} else {
				fresh++
			}
		}
		left := one[*time.Time](b, "SELECT min(due_at) FROM queue WHERE token IS NULL AND due_at < now() - interval '1 minute'")
		latest := slices.MaxFunc(got, func(x, y notice.Attempt) int {
			if time.Since(x.ScheduledAt) < time.Minute || time.Since(y.ScheduledAt) < time.Minute {
				return 0
			}
			return x.ScheduledAt.Compare(y.ScheduledAt)
		})
		return fresh, late, left == nil || late == 0 || time.Since(latest.ScheduledAt) < time.Minute || !latest.ScheduledAt.After(*left)
	}
	fresh, late, oldest := claim(4, 1)
	require.Equal(t, []int{3, 1}, []int{fresh, late}, "one slot in four is for the late")
	require.True(t, oldest, "the late are taken oldest first")
	fresh, late, oldest = claim(4, 0)
	require.Equal(t, []int{3, 1}, []int{fresh, late}, "what is left of the slots goes to the late")
	require.True(t, oldest)
	fresh, late, _ = claim(10, 2)
	require.Equal(t, []int{0, 3}, []int{fresh, late})
	fresh, late, _ = claim(10, 2)
	require.Zero(t, fresh+late)
}

// TestWhatWasAskedForByHandTakesSlotsThatAreLeft: it is due before all others, and sent after them.
func TestWhatWasAskedForByHandTakesSlotsThatAreLeft(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.fill("itp", 4, "12 minutes")
	b.do("UPDATE queue SET manual = true")
	b.fill("itp", 3, "10 minutes")       // late
	b.fill("itp", 3, "100 milliseconds") // can still be on time
	byHand := func(free, late int) (n, all int) {
		got := b.claim("itp", free, late)
		for _, a := range got {
			if a.Manual {
				n++
			}
		}
		return n, len(got)
	}
	for _, want := range []struct{ free, late, manual, all int }{{2, 1, 0, 2}, {2, 2, 0, 2}, {3, 0, 1, 3}, {10, 0, 3, 3}} {
		manual, all := byHand(want.free, want.late)
		require.Equal(t, []int{want.manual, want.all}, []int{manual, all}, "%+v", want)
	}
}

func TestAnAttemptKeepsWhyItsLaneWasHeld(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.register("other", "https://other.example/hook")
	b.fill("itp", 1, "10 seconds")
	b.fill("other", 1, "10 seconds")
	got, err := b.store.Claim(t.Context(), []notice.ClaimRequest{
		{Client: "itp", Free: 10, Held: notice.DelaySlots, HeldFor: 9 * time.Second}, {Client: "other", Free: 10},
	}, 20*time.Second)
	require.NoError(t, err)
	require.Len(t, got, 2)
	facts := func(client string) string {
		return one[string](b, "SELECT facts::text FROM entry WHERE kind = 'attempt' AND client_id = $1", client)
	}
	require.Contains(t, facts("itp"), `"held":"slots","heldMicros":9000000`)
	require.NotContains(t, facts("other"), "held")
}

// TestAnAttemptUnderWayTellsItsURL: its address is known when it is claimed, and was told only when it had ended, or never if nobody saw that.
func TestAnAttemptUnderWayTellsItsURL(t *testing.T) {
	const url = "https://itp.example/hook/open-banking/webhook/v1/payments/v5/pix/payments/"
	b := newFlights(t)
	flying := b.fly(20*time.Second, "p1", "p2") // of both forms
	b.accept(payment("itp", "p3", 1, "ACSC"))
	claimed := b.claim("itp", 10, 0)
	require.Len(t, claimed, 1)
	for _, a := range append(flying, claimed...) {
		r := b.record(a.Notification)
		require.Len(t, r.Attempts, 1)
		require.Empty(t, r.Attempts[0].Outcome)
		require.Equal(t, url+a.ResourceID, r.Attempts[0].ClaimedURL)
		require.Empty(t, r.Attempts[0].URL, "a receipt tells what the entry of the end proves")
	}
}

func TestAnAttemptIsLateWhenItStartsMoreThan1500MillisecondsAfterTheEvent(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	c := payment("itp", "old", 1, "ACSC")
	c.OccurredAt = time.Now().Add(-2 * time.Second)
	b.accept(c)
	young := payment("itp", "new", 1, "ACSC")
	young.OccurredAt = time.Now().Add(30 * time.Second) // the core's clock is ahead, and the test need not hurry
	b.accept(young)
	got := b.claim("itp", 10, 0)
	require.Len(t, got, 2)
	for _, a := range got {
		require.Equal(t, a.ResourceID == "old", a.Late)
	}
	for ago := 1400 * time.Millisecond; ago <= 1600*time.Millisecond; ago += 20 * time.Millisecond { // on both sides of the bound, whatever a commit takes
		c := payment("itp", fmt.Sprint("at-", ago.Milliseconds()), 1, "ACSC")
		c.OccurredAt = time.Now().Add(-ago)
		b.accept(c)
		got := b.claim("itp", 10, 0)
		require.Len(t, got, 1)
		require.Equal(t, got[0].StartedAt.Sub(c.OccurredAt.Truncate(time.Microsecond)) > 1500*time.Millisecond, got[0].Late)
	}
}
