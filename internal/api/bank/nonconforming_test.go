package bank

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/registry"
)

func TestAnAnswerNamesWhatTheDocumentDoesNotConformIn(t *testing.T) {
	a := intake.Answer{
		Verdict: notice.Applied, ChangeID: id(1), Notifications: []notice.ID{id(2)},
		Nonconforming: []notice.Problem{{Pointer: "/data/name", Code: "length", Detail: "too long", DetailPT: "longo demais"}},
	}
	const form = `{"line":3,"status":200,"changeId":"01000000-0000-0000-0000-000000000001","outcome":"applied","notifications":[{"id":"01000000-0000-0000-0000-000000000002"}],
"nonconforming":[{"pointer":"/data/name","code":"length","detail":"`
	require.JSONEq(t, form+`too long"}]}`, string(appendAnswer(nil, a, 3, false)))
	require.JSONEq(t, form+`longo demais"}]}`, string(appendAnswer(nil, a, 3, true)))
}

func TestTheQuarantineIsListedPageByPage(t *testing.T) {
	w := newWorld(t)
	first := notice.Case{ID: id(9), State: notice.CaseNonconforming, FirstAt: now, LastAt: now}
	var state string
	w.shelf.cases = func(s string, _ int) ([]notice.Case, error) { state = s; return []notice.Case{first}, nil }
	w.shelf.moreCases = true
	got := w.ask("GET", "/internal/v1/quarantine?state=nonconforming&limit=1", "operator", "")
	require.Equal(t, 200, got.status, got.text)
	require.Equal(t, notice.CaseNonconforming, state)
	cursor, _ := got.body["nextCursor"].(string)
	require.NotEmpty(t, cursor)
	require.Zero(t, w.shelf.casesAfter)

	w.shelf.moreCases = false
	got = w.ask("GET", "/internal/v1/quarantine?state=nonconforming&limit=1&cursor="+cursor, "operator", "")
	require.Equal(t, 200, got.status, got.text)
	require.NotContains(t, got.body, "nextCursor")
	require.Equal(t, first.ID, w.shelf.casesAfter.ID)
	require.True(t, first.FirstAt.Equal(w.shelf.casesAfter.At))
	for _, other := range []string{"?cursor=" + cursor, "?state=nonconforming&cursor=x", "?state=nonconforming&cursor=" + cursor[1:]} {
		w.ask("GET", "/internal/v1/quarantine"+other, "operator", "").refused(t, 400, "invalid_request")
	}
}

func TestCasesThatDoNotConformAreDismissedByFilter(t *testing.T) {
	w := newWorld(t)
	dismiss := func(filter string) reply {
		return w.ask("POST", "/internal/v1/quarantine/dismiss", "operator", `{"filter":`+filter+`,"reason":"the facts are so"}`)
	}
	got := dismiss(`{"state":"nonconforming","code":"length"}`)
	require.Equal(t, 200, got.status, got.text)
	require.Equal(t, notice.CaseFilter{Code: "length", State: notice.CaseNonconforming}, w.shelf.casesFilter)
	dismiss(`{"state":"nonconforming"}`).refused(t, 400, "invalid_request")
	dismiss(`{"state":"applied","code":"length"}`).refused(t, 400, "invalid_request")
}

// TestACaseOfAStoredDocumentIsNotCalledClosed: there is nothing to apply, and it waits to be dismissed.
func TestACaseOfAStoredDocumentIsNotCalledClosed(t *testing.T) {
	w := newWorld(t)
	w.shelf.aCase = func(asked notice.ID) (notice.Case, error) {
		return notice.Case{ID: asked, State: notice.CaseNonconforming, FirstAt: now, LastAt: now}, nil
	}
	got := w.ask("POST", "/internal/v1/quarantine/"+someID+"/apply", "operator", "")
	got.refused(t, 409, "conflict")
	require.Contains(t, got.body["error_description"], "dismiss the case")
	require.NotContains(t, got.body["error_description"], "closed")
}

func TestNumbersAndMonthsThatAreNoneAreRefused(t *testing.T) {
	w := newWorld(t)
	for _, size := range []string{"0", "-1"} {
		w.ask("POST", "/internal/v1/audit/exports", "auditor", `{"size":`+size+`}`).refused(t, 400, "invalid_request")
	}
	w.ask("GET", "/internal/v1/audit/polling?month=0000-01", "auditor", "").refused(t, 400, "invalid_request")
}

func TestAnEmptyStatementIsOneThatIsThere(t *testing.T) {
	w := newWorld(t)
	var asked registry.Request
	w.shelf.put = func(_ notice.ClientID, r registry.Request, _ string) (notice.Initiator, bool, error) {
		asked = r
		return notice.Initiator{}, true, nil
	}
	for member, empty := range map[string]bool{`,"softwareStatement":""`: true, "": false, `,"softwareStatement":"x"`: false} {
		got := w.ask("PUT", "/internal/v1/initiators/four", "registrar", `{"organisationId":"o","softwareId":"s","name":"n"`+member+`}`)
		require.Equal(t, 201, got.status, got.text)
		require.Equal(t, empty, asked.EmptyStatement, member)
	}
	require.Equal(t, "o", asked.OrganisationID)
}
