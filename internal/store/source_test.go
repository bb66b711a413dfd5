package store_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

func TestAPauseHoldsForEveryReplicaAndStandsInTheHistory(t *testing.T) {
	b := newBench(t)
	paused, err := b.store.SourcePaused(t.Context(), "core")
	require.NoError(t, err)
	require.False(t, paused, "a source nobody spoke of is not paused")
	_, err = b.store.Source(t.Context(), "core")
	require.ErrorIs(t, err, store.ErrNotFound)

	changed, err := b.store.PauseSource(t.Context(), "core", true, "maria", "the core is migrated")
	require.NoError(t, err)
	require.True(t, changed)
	changed, err = b.store.PauseSource(t.Context(), "core", true, "joão", "again")
	require.NoError(t, err)
	require.False(t, changed, "it was paused already")
	other := replicaOf(t, b.url)
	paused, err = other.store.SourcePaused(t.Context(), "core")
	require.NoError(t, err)
	require.True(t, paused)
	s, err := other.store.Source(t.Context(), "core")
	require.NoError(t, err)
	require.Equal(t, []string{"maria", "the core is migrated"}, []string{s.PausedBy, s.PausedWhy})
	require.WithinDuration(t, time.Now(), s.PausedAt, time.Minute)

	changed, err = b.store.PauseSource(t.Context(), "core", false, "maria", "done")
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, 2, one[int](b, "SELECT count(*) FROM entry WHERE kind = 'admin'"))
	require.Equal(t, "source-paused maria core the core is migrated", one[string](b,
		"SELECT concat_ws(' ', outcome, facts->>'actor', facts->>'object', facts->>'reason') FROM entry WHERE kind = 'admin' AND outcome = 'source-paused'"))
	require.Equal(t, 1, one[int](b, "SELECT count(*) FROM entry WHERE kind = 'admin' AND outcome = 'source-resumed'"))
}

func TestAnAcceptedFindingHoldsForEveryReplicaAndStandsInTheHistory(t *testing.T) {
	b := newBench(t)
	f := notice.AcceptedFinding{Source: "core", Finding: "1a2b3c4d", By: "maria", Reason: "the partition was a test's"}
	fresh, err := b.store.AcceptFinding(t.Context(), f)
	require.NoError(t, err)
	require.True(t, fresh)
	f.By = "joão"
	fresh, err = b.store.AcceptFinding(t.Context(), f)
	require.NoError(t, err)
	require.False(t, fresh, "it was accepted already")
	f.Finding = "everything"
	_, err = b.store.AcceptFinding(t.Context(), f)
	require.Error(t, err, "a code has 8 digits")
	other := replicaOf(t, b.url)
	codes, err := other.store.AcceptedFindings(t.Context(), "core")
	require.NoError(t, err)
	require.Equal(t, []string{"1a2b3c4d"}, codes)
	codes, err = other.store.AcceptedFindings(t.Context(), "another")
	require.NoError(t, err)
	require.Empty(t, codes)
	require.Equal(t, "source-finding-accepted maria core 1a2b3c4d the partition was a test's", one[string](b,
		"SELECT string_agg(concat_ws(' ', outcome, facts->>'actor', facts->>'object', facts->>'reason'), ', ') FROM entry WHERE kind = 'admin'"))
	require.NoError(t, other.store.UseUpFindings(t.Context(), "another", []string{"1a2b3c4d"}))
	codes, err = b.store.AcceptedFindings(t.Context(), "core")
	require.NoError(t, err)
	require.Equal(t, []string{"1a2b3c4d"}, codes, "another source's reader passed another finding")
	b.do("SET ROLE arauto_app; UPDATE source_finding SET used_at = NULL; RESET ROLE") // the right that serve has
	require.NoError(t, other.store.UseUpFindings(t.Context(), "core", []string{"1a2b3c4d", "00000000"}))
	codes, err = b.store.AcceptedFindings(t.Context(), "core")
	require.NoError(t, err)
	require.Empty(t, codes, "its reader has passed it")
	f.Finding = "1a2b3c4d"
	fresh, err = b.store.AcceptFinding(t.Context(), f)
	require.NoError(t, err)
	require.True(t, fresh, "it came again, and is accepted again")
	codes, err = b.store.AcceptedFindings(t.Context(), "core")
	require.NoError(t, err)
	require.Equal(t, []string{"1a2b3c4d"}, codes)
	require.Equal(t, "maria joão", one[string](b, "SELECT string_agg(accepted_by, ' ' ORDER BY id) FROM source_finding"), "both acts are kept")
	b.do("DROP TABLE source_finding")
	codes, err = other.store.AcceptedFindings(t.Context(), "core")
	require.NoError(t, err, "a schema from before there were findings has none")
	require.Empty(t, codes)
}

func TestTheWordOfTheReplicaThatReadsStandsAgainstTheOthers(t *testing.T) {
	b := newBench(t)
	other, err := store.Open(t.Context(), store.Options{URL: b.url, Replica: "standby"})
	require.NoError(t, err)
	t.Cleanup(other.Close)
	report := func(s *store.Store, reading bool, text string) {
		t.Helper()
		require.NoError(t, s.ReportSource(t.Context(), "core", reading, fmt.Appendf(nil, `{"is":%q}`, text)))
	}
	now := func() string {
		s, err := b.store.Source(t.Context(), "core")
		require.NoError(t, err)
		return string(s.Status)
	}
	report(other, false, "first")
	require.JSONEq(t, `{"is":"first"}`, now())
	report(b.store, true, "reads")
	report(other, false, "waits")
	require.JSONEq(t, `{"is":"reads"}`, now())
	report(b.store, false, "lost it")
	require.JSONEq(t, `{"is":"lost it"}`, now(), "its own word it may change")
	report(b.store, true, "reads")
	report(other, true, "took over")
	require.JSONEq(t, `{"is":"took over"}`, now())
	b.do("UPDATE source SET reported_at = now() - interval '1 minute'")
	report(b.store, false, "nobody reads")
	require.JSONEq(t, `{"is":"nobody reads"}`, now())
	all, err := b.store.Sources(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, "test", all[0].Replica)
	require.Less(t, all[0].Age, 10*time.Second)
	require.False(t, all[0].Paused)
}

func TestASourceFindsAgainWhatItRemembered(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	v, err := b.store.Recall(ctx, "core", "loaded")
	require.NoError(t, err)
	require.Nil(t, v)
	require.NoError(t, b.store.Remember(ctx, "core", "loaded", []byte("payments")))
	require.NoError(t, b.store.Remember(ctx, "core", "loaded", []byte("consents")))
	require.NoError(t, b.store.Remember(ctx, "bus", "loaded", []byte("x")))
	v, err = b.store.Recall(ctx, "core", "loaded")
	require.NoError(t, err)
	require.Equal(t, "consents", string(v))
	require.NoError(t, b.store.Remember(ctx, "core", "loaded", nil))
	v, err = b.store.Recall(ctx, "core", "loaded")
	require.NoError(t, err)
	require.Nil(t, v)
}

func TestARecordThatIsNoChangeIsKeptWithItsKeyAndListedOldestRevisionFirst(t *testing.T) {
	b := newBench(t)
	reject := func(source, id string, revision int64, line string) notice.ID {
		t.Helper()
		p, err := b.intake.Reject(t.Context(), notice.Change{
			Kind: ofb.PixPayment, ResourceID: id, Client: "itp", Revision: revision, Source: source, Actor: "source:" + source, Line: []byte(line),
			Problems: []notice.Problem{{Pointer: "/data", Code: "mapping", Detail: "cannot be mapped"}},
		})
		require.NoError(t, err)
		a, err := p.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, notice.Quarantined, a.Verdict)
		return a.QuarantineID
	}
	late := reject("core", "payments id=7", 9, `{"n":9}`)
	early := reject("core", "payments id=8", 2, `{"n":2}`)
	reject("core", "payments id=8", 2, `{"n":2}`)
	reject("bus", "payments id=8", 1, `{"n":1}`)
	require.Equal(t, 3, b.entries("quarantined", "payments id=8"))

	cases, err := b.store.OpenCases(t.Context(), "core", 0, notice.ID{}, 10)
	require.NoError(t, err)
	require.Len(t, cases, 2)
	require.Equal(t, []notice.ID{early, late}, []notice.ID{cases[0].ID, cases[1].ID})
	require.Equal(t, `{"n":2}`, string(cases[0].Line))
	require.EqualValues(t, 2, cases[0].Seen)
	rest, err := b.store.OpenCases(t.Context(), "core", cases[0].Revision, cases[0].ID, 10)
	require.NoError(t, err)
	require.Len(t, rest, 1)
	require.Equal(t, late, rest[0].ID)
	_, err = b.intake.Reject(t.Context(), notice.Change{})
	require.Error(t, err, "without a problem it would be taken for a change")
}

func TestForeseeingAnswersAsAcceptingWouldAndStoresNothing(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	line := func(c change) []byte {
		text, err := json.Marshal(c)
		require.NoError(t, err)
		return text
	}
	foresee := func(c change) intake.Foresight {
		t.Helper()
		f, err := b.intake.Foresee(t.Context(), line(c), intake.Origin{Source: "explain"}, b.store)
		require.NoError(t, err)
		return f
	}
	before := one[int](b, "SELECT count(*) FROM entry")
	f := foresee(payment("itp", "p1", 5, "ACSC"))
	require.Equal(t, notice.Applied, f.Verdict)
	require.Equal(t, ofb.Must, f.Decision.Judged.Duty)
	require.NotNil(t, f.Decision.Announce)
	require.Equal(t, before, one[int](b, "SELECT count(*) FROM entry"))
	require.Zero(t, one[int](b, "SELECT count(*) FROM resource"))

	b.accept(payment("itp", "p1", 5, "ACSC"))
	require.Equal(t, notice.Quarantined, foresee(payment("itp", "p1", 6, "RCVD")).Verdict)
	require.Equal(t, "owner", foresee(payment("other", "p1", 6, "ACSC")).Why)
	require.Equal(t, ofb.UnknownClient, foresee(payment("other", "p2", 1, "ACSC")).Silence)
	require.Equal(t, notice.Superseded, foresee(payment("itp", "p1", 4, "PDNG")).Verdict)
	alone, err := b.intake.Foresee(t.Context(), line(payment("other", "p2", 1, "ACSC")), intake.Origin{}, nil)
	require.NoError(t, err)
	require.Empty(t, alone.Silence, "without a store it is the first change of a client with an address")
	require.Zero(t, one[int](b, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"), "no transaction stays open")
}

func TestTheBasisOfAFollowedRegistrationStandsInItsEntry(t *testing.T) {
	b := newBench(t)
	_, _, err := b.store.PutInitiator(t.Context(), notice.Initiator{
		Client: "itp", OrganisationID: "org", SoftwareID: "software", Name: "itp", Basis: notice.StatementChecked,
	}, "source:as")
	require.NoError(t, err)
	require.Equal(t, "source:as checked-by-authorization-server", one[string](b,
		"SELECT concat_ws(' ', facts->>'actor', facts->>'basis') FROM entry WHERE kind = 'registered'"))
}
