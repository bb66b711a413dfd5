package bank

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/registry"
)

// formJudge is a registry that finds every registration wrong.
type formJudge struct{ registrations }

func (formJudge) Judge(context.Context, notice.ClientID, registry.Request, string) error {
	return &registry.Invalid{Code: registry.InvalidRequest, Description: "the registration is not well formed", Problems: []notice.Problem{
		{Pointer: "/softwareId", Code: "required", Detail: "is required"},
	}}
}

// TestACallThatIsWrongIsNotKeptForASecondPerson: nobody need decide about what would be refused anyhow.
func TestACallThatIsWrongIsNotKeptForASecondPerson(t *testing.T) {
	w, l, given := resendWorld(t, history.GuardedActs()...)
	w.api.cfg.Holds = l
	w.api.cfg.Initiators = formJudge{registrations{w.shelf}}
	w.ask("PUT", "/internal/v1/initiators/four", "registrar", `{"organisationId":"x"}`).refused(t, 400, "invalid_request")
	w.ask("DELETE", "/internal/v1/initiators/four", "registrar", "").refused(t, 404, "not_found")
	w.ask("DELETE", holdPath+"?reason=x", "auditor", "").refused(t, 404, "not_found")

	_, _, err := l.PlaceHold(t.Context(), history.Hold{Name: "case-1", Reason: "court order"})
	require.NoError(t, err)
	w.ask("PUT", holdPath, "auditor", courtHold).refused(t, 409, "conflict")
	require.Equal(t, 202, w.ask("PUT", holdPath, "auditor", `{"all":true,"reason":"court order"}`).status)

	w.ask("POST", listPath+"/"+someID+"/resend", "operator", `{"reason":"x"}`).refused(t, 404, "not_found")
	fresh, err := l.Resend(t.Context(), given[0], "ana", "asked by phone")
	require.NoError(t, err)
	for _, id := range []notice.ID{given[0], fresh} { // sent once more already, and not over
		w.ask("POST", listPath+"/"+id.String()+"/resend", "operator", `{"reason":"x"}`).refused(t, 409, "conflict")
	}
	several := func(ids ...notice.ID) reply {
		return w.ask("POST", listPath+"/resend", "operator", fmt.Sprintf(`{"ids":[%q,%q],"reason":"x"}`, ids[0], ids[1]))
	}
	got := several(given[0], fresh)
	require.Equal(t, 200, got.status, got.text)
	for _, r := range got.body["results"].([]any) {
		require.Equal(t, float64(409), r.(map[string]any)["status"])
	}
	require.Equal(t, 202, several(given...).status, "one of them can be sent")

	id := oneRefusedChange(t, w)
	done, err := w.api.cfg.Quarantine.Dismiss(t.Context(), id, "ana", "sent anew")
	require.NoError(t, err)
	require.True(t, done)
	for _, act := range []string{"dismiss", "apply"} {
		w.ask("POST", "/internal/v1/quarantine/"+someID+"/"+act, "operator", `{"reason":"x"}`).refused(t, 404, "not_found")
		w.ask("POST", "/internal/v1/quarantine/"+id.String()+"/"+act, "operator", `{"reason":"x"}`).refused(t, 409, "conflict")
		got := w.ask("POST", "/internal/v1/quarantine/"+act, "operator", fmt.Sprintf(`{"ids":[%q],"reason":"x"}`, id))
		require.Equal(t, 200, got.status, got.text)
		require.Equal(t, float64(409), got.body["results"].([]any)[0].(map[string]any)["status"])
	}
	waiting, err := l.ActRequests(t.Context(), history.RequestWaiting, history.Position{}, 10)
	require.NoError(t, err)
	require.Len(t, waiting, 2)
}

// oneRefusedChange has a change refused and returns its case.
func oneRefusedChange(t *testing.T, w *world) notice.ID {
	t.Helper()
	id, err := notice.ParseID(refuseChanges(t, w, 1)[0])
	require.NoError(t, err)
	return id
}
