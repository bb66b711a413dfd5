package bank

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// sources is one source, "core", whose mapping a test sets.
type sources struct {
	stands notice.StoredSource
	acts   []string
	open   []notice.Case
	asked  []notice.ID // after which case pages were asked for
	remap  func(notice.Case) (notice.Remapped, error)

	accepted []notice.AcceptedFinding
}

func (s *sources) Sources(context.Context) ([]notice.FollowedSource, error) {
	return []notice.FollowedSource{{StoredSource: s.stands, Origin: "postgres", Running: s.stands.Reading}}, nil
}

func (s *sources) Source(_ context.Context, name string) (notice.FollowedSource, error) {
	if name != "core" {
		return notice.FollowedSource{}, errMissing
	}
	all, err := s.Sources(context.Background())
	return all[0], err
}

func (s *sources) Pause(_ context.Context, name string, paused bool, actor, reason string) (bool, error) {
	if s.stands.Paused == paused {
		return false, nil
	}
	s.stands.Paused, s.stands.PausedBy, s.stands.PausedWhy, s.stands.PausedAt = paused, actor, reason, time.Unix(1e9, 0).UTC()
	s.acts = append(s.acts, fmt.Sprintf("%s %t %s %s", name, paused, actor, reason))
	return true, nil
}

func (s *sources) Accept(_ context.Context, f notice.AcceptedFinding) (bool, error) {
	if slices.Contains(s.accepted, f) {
		return false, nil
	}
	s.accepted = append(s.accepted, f)
	return true, nil
}

func (s *sources) OpenCases(_ context.Context, _ string, revision int64, after notice.ID, limit int) ([]notice.Case, error) {
	s.asked = append(s.asked, after)
	var out []notice.Case
	for _, c := range s.open {
		if (c.Revision > revision || c.Revision == revision && c.ID.String() > after.String()) && len(out) < limit {
			out = append(out, c)
		}
	}
	return out, nil
}

func (s *sources) Remap(_ context.Context, c notice.Case) (notice.Remapped, error) {
	if s.remap == nil {
		return notice.Remapped{}, nil
	}
	return s.remap(c)
}

func withSources(s *sources) func(*InternalConfig) {
	s.stands.Name = "core"
	return func(c *InternalConfig) { c.Sources = s }
}

func TestSourcesAreListedReadPausedAndResumed(t *testing.T) {
	s := &sources{}
	w := newWorld(t, withSources(s))
	got := w.ask("GET", "/internal/v1/sources", "auditor", "")
	require.Equal(t, `{"sources":[{"name":"core","origin":"postgres","running":false,"paused":false,"pausedBy":null,"pausedReason":null,"pausedAt":null,`+
		`"replica":null,"reportedAt":null,"status":null}]}`, got.text)
	s.stands.Reading, s.stands.Status, s.stands.ReportedAt, s.stands.Replica = true, []byte(`{"state":"reading"}`), time.Unix(1e9, 0), "r1"
	got = w.ask("GET", "/internal/v1/sources/core", "operator", "")
	require.Equal(t, map[string]any{"state": "reading"}, got.body["status"])
	require.Equal(t, true, got.body["running"])
	w.ask("GET", "/internal/v1/sources/other", "operator", "").refused(t, 404, "not_found")

	w.ask("POST", "/internal/v1/sources/core/pause", "operator", `{}`).refused(t, 400, "invalid_request")
	got = w.ask("POST", "/internal/v1/sources/core/pause", "operator", `{"reason":"the core is migrated"}`)
	require.Equal(t, 200, got.status, got.text)
	require.Equal(t, []any{true, "who-operator", "the core is migrated"}, []any{got.body["paused"], got.body["pausedBy"], got.body["pausedReason"]})
	w.ask("POST", "/internal/v1/sources/core/pause", "operator", `{"reason":"again"}`).refused(t, 409, "conflict")
	require.Equal(t, 200, w.ask("POST", "/internal/v1/sources/core/resume", "operator", `{"reason":"done"}`).status)
	w.ask("POST", "/internal/v1/sources/core/resume", "operator", `{"reason":"done"}`).refused(t, 409, "conflict")
	w.ask("POST", "/internal/v1/sources/other/resume", "operator", `{"reason":"done"}`).refused(t, 404, "not_found")
	require.Equal(t, []string{"core true who-operator the core is migrated", "core false who-operator done"}, s.acts)

	none := newWorld(t)
	require.Equal(t, `{"sources":[]}`, none.ask("GET", "/internal/v1/sources", "operator", "").text)
	none.ask("GET", "/internal/v1/sources/core", "operator", "").refused(t, 404, "not_found")
	none.ask("POST", "/internal/v1/sources/core/reapply", "operator", "").refused(t, 404, "not_found")
}

func TestAFindingIsAcceptedWhileItStopsItsSourceAndBySomebodyElseWhereFourEyesSaySo(t *testing.T) {
	const path, wants = "/internal/v1/sources/core/accept", `{"finding":"1a2b3c4d","reason":"the partition was a test's"}`
	s := &sources{}
	w := newWorld(t, withSources(s))
	w.ask("POST", path, "operator", wants).refused(t, 409, "conflict") // no replica has told anything
	s.stands.Status, s.stands.ReportedAt, s.stands.Replica = []byte(`{"state":"waiting","halted":true,"findings":[{"code":"1a2b3c4d","text":"rows may be missing"}]}`), time.Unix(1e9, 0), "r1"
	w.ask("POST", path, "operator", `{"finding":"00000000","reason":"in advance"}`).refused(t, 409, "conflict")
	w.ask("POST", path, "operator", `{"finding":"1a2b3c4d"}`).refused(t, 400, "invalid_request")
	w.ask("POST", path, "auditor", wants).refused(t, 403, "forbidden")
	require.Empty(t, s.accepted)
	require.Equal(t, 200, w.ask("POST", path, "operator", wants).status)
	require.Equal(t, []notice.AcceptedFinding{{Source: "core", Finding: "1a2b3c4d", By: "who-operator", Reason: "the partition was a test's"}}, s.accepted)
	w.ask("POST", path, "operator", wants).refused(t, 409, "conflict")

	guarded := &sources{}
	f := openFourEyes(t, withSources(guarded))
	guarded.stands.Status, guarded.stands.ReportedAt = s.stands.Status, s.stands.ReportedAt
	id := f.asked("POST", path, "operator", wants)
	require.Empty(t, guarded.accepted)
	r, err := f.api.Decide(t.Context(), bia, id, true, "I looked at the core")
	require.NoError(t, err)
	require.Equal(t, history.RequestDone, r.State, r.Answer)
	require.Len(t, guarded.accepted, 1)
}

// putAside is a case that keeps a record; its line names what the mapping of the test makes of it.
func putAside(n int, revision int64, line string) notice.Case {
	return notice.Case{ID: notice.ID{15: byte(n)}, State: "open", Source: "core", Revision: revision, Line: []byte(line)}
}

// mapRecord makes of "map …" the line after it, skips "skip", cannot map "broken", and leaves the rest as it is.
func mapRecord(c notice.Case) (notice.Remapped, error) {
	text := string(c.Line)
	switch line, is := strings.CutPrefix(text, "map "); {
	case is:
		return notice.Remapped{Line: []byte(line)}, nil
	case text == `"client"`:
		return notice.Remapped{Registered: true}, nil
	case text == "skip":
		return notice.Remapped{Skipped: true}, nil
	case text == "broken":
		return notice.Remapped{Problems: []notice.Problem{{Pointer: "/data/status", Code: "mapping", Detail: "no such column"}}}, nil
	case text == "away":
		return notice.Remapped{}, passing{errors.New("the core's database is away")}
	}
	return notice.Remapped{}, nil
}

func TestACaseOfASourceIsMappedAgainWhenItIsApplied(t *testing.T) {
	s := &sources{remap: mapRecord}
	w := newWorld(t, withSources(s))
	var current notice.Case
	w.shelf.aCase = func(notice.ID) (notice.Case, error) { return current, nil }
	apply := func(c notice.Case) reply {
		current = c
		return w.ask("POST", "/internal/v1/quarantine/"+someID+"/apply", "operator", "")
	}
	got := apply(putAside(1, 1, "map "+payment("p1", 1, "RCVD")))
	require.Equal(t, 200, got.status, got.text)
	require.Equal(t, "applied", got.body["outcome"])
	require.Equal(t, []string{"core who-operator"}, w.memory.sources, "the history names the source and who applied it")
	got = apply(putAside(2, 1, payment("p2", 1, "RCVD")))
	require.Equal(t, 200, got.status, "a line of its own is applied as it is: %s", got.text)
	require.Equal(t, "quarantine who-operator", w.memory.sources[1])
	var dismissed []string
	w.shelf.dismiss = func(_ notice.ID, actor, reason string) (bool, error) {
		dismissed = append(dismissed, actor+": "+reason)
		return true, nil
	}
	require.Equal(t, 200, apply(putAside(6, 1, `"client"`)).status)
	require.Equal(t, []string{"who-operator: mapped again and registered"}, dismissed)
	apply(putAside(3, 1, "skip")).refused(t, 409, "conflict")
	apply(putAside(4, 1, "away")).refused(t, 503, "unavailable")
	got = apply(putAside(5, 1, "broken"))
	got.refused(t, 422, "invalid_change")
	require.Equal(t, someID, got.body["quarantineId"])
	require.Contains(t, got.text, "no such column")
	require.Equal(t, 2, w.memory.stored())
}

func TestReapplyingHandsInAllCasesOfASourceOldestRevisionFirst(t *testing.T) {
	s := &sources{remap: mapRecord}
	w := newWorld(t, withSources(s))
	s.open = []notice.Case{
		putAside(1, 1, "map "+payment("p1", 1, "RCVD")), putAside(2, 2, "map "+payment("p1", 2, "PDNG")), putAside(3, 3, "skip"), putAside(10, 3, `"client"`), putAside(4, 4, "broken"),
		putAside(5, 5, payment("p2", 5, "RCVD")), putAside(6, 5, "map "+payment("p1", 2, "PDNG")), putAside(7, 6, "map "+payment("p1", 2, "RJCT")),
		putAside(9, 8, "map "+payment("p3", 1, "RCVD", `,"bad":1`)),
	}
	got := w.ask("POST", "/internal/v1/sources/core/reapply", "operator", "")
	require.Equal(t, 200, got.status, got.text)
	require.JSONEq(t, `{"applied":3,"superseded":0,"duplicate":1,"conflict":1,"quarantined":1,"registered":1,"unmapped":1,"skipped":1,"more":false}`, got.text)
	require.Equal(t, []notice.ID{{}, {15: 9}}, s.asked)

	s.open = nil
	for n := range 450 {
		s.open = append(s.open, notice.Case{ID: notice.ID{14: byte(n >> 8), 15: byte(n)}, Revision: int64(n + 1), Line: []byte("map " + payment(fmt.Sprint("q", n), 1, "RCVD"))})
	}
	got = w.ask("POST", "/internal/v1/sources/core/reapply", "operator", "")
	require.EqualValues(t, 450, got.body["applied"])
	s.open = append(s.open[:1], putAside(1, 1, "away"))
	w.ask("POST", "/internal/v1/sources/core/reapply", "operator", "").refused(t, 503, "unavailable")
}

func TestTheRecordAndNotTheLineIsKeptWhenAMappedCaseIsRefusedAgain(t *testing.T) {
	s := &sources{remap: mapRecord}
	w := newWorld(t, withSources(s))
	var kept []string
	w.memory.fail = func(c *notice.Change) error { kept = append(kept, string(c.Line)); return nil }
	line := "map " + payment("p1", 1, "RCVD", `,"bad":1`)
	w.shelf.aCase = func(notice.ID) (notice.Case, error) { return putAside(1, 1, line), nil }
	w.ask("POST", "/internal/v1/quarantine/"+someID+"/apply", "operator", "").refused(t, 422, "invalid_change")
	require.Equal(t, []string{line}, kept)
}
