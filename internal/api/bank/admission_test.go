package bank

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const someID = "018f0000-0000-7000-8000-000000000001"

func TestEveryRouteNamesKnownRolesAndAHandler(t *testing.T) {
	in := NewInternal(InternalConfig{})
	seen := map[string]bool{}
	for _, r := range in.routes() {
		require.NotEmpty(t, r.Roles, "%s %s admits nobody: give it roles", r.Method, r.Path)
		for _, role := range r.Roles {
			require.Contains(t, []string{"ingest", "registrar", "operator", "auditor"}, role)
		}
		require.NotNil(t, r.Handle)
		require.True(t, strings.HasPrefix(r.Path, "/internal/v1/"))
		require.False(t, seen[r.Method+r.Path], "%s %s stands twice", r.Method, r.Path)
		seen[r.Method+r.Path] = true
	}
}

// matrix is who may do what, written down a second time on purpose (N1).
var matrix = map[string]string{
	"POST /internal/v1/changes":                   "ingest",
	"GET /internal/v1/initiators":                 "registrar operator auditor",
	"PUT /internal/v1/initiators/{clientId}":      "registrar",
	"GET /internal/v1/initiators/{clientId}":      "registrar operator auditor",
	"DELETE /internal/v1/initiators/{clientId}":   "registrar",
	"GET /internal/v1/notifications":              "operator auditor",
	"GET /internal/v1/notifications/{id}":         "operator auditor",
	"POST /internal/v1/notifications/{id}/resend": "operator",
	"GET /internal/v1/resources/{kind}/{id}":      "operator auditor",
	"GET /internal/v1/notifications/{id}/timing":  "operator auditor",
	"GET /internal/v1/audit/breaches":             "auditor",
	"GET /internal/v1/audit/report":               "auditor",
	"GET /internal/v1/audit/reconciliation":       "auditor",
	"GET /internal/v1/certificates":               "operator auditor",
	"GET /internal/v1/quarantine":                 "operator auditor",
	"GET /internal/v1/quarantine/{id}":            "operator auditor",
	"POST /internal/v1/quarantine/{id}/apply":     "operator",
	"POST /internal/v1/quarantine/{id}/dismiss":   "operator",
	"GET /internal/v1/audit/entries":              "auditor",
	"GET /internal/v1/audit/entries/{seq}":        "auditor",
	"GET /internal/v1/audit/entries/{seq}/proof":  "auditor",
	"GET /internal/v1/audit/dossier/{id}":         "auditor",
	"GET /internal/v1/audit/checkpoints":          "auditor",
	"GET /internal/v1/audit/key":                  "auditor",
	"POST /internal/v1/audit/exports":             "auditor",
	"GET /internal/v1/audit/exports":              "auditor",
	"GET /internal/v1/audit/exports/{id}":         "auditor",
	"GET /internal/v1/audit/exports/{id}/file":    "auditor",
	"DELETE /internal/v1/audit/exports/{id}":      "auditor",
	"GET /internal/v1/audit/holds":                "auditor",
	"GET /internal/v1/audit/holds/{name}":         "auditor",
	"PUT /internal/v1/audit/holds/{name}":         "auditor",
	"DELETE /internal/v1/audit/holds/{name}":      "auditor",
	"GET /internal/v1/requests":                   "operator registrar auditor",
	"GET /internal/v1/requests/{id}":              "operator registrar auditor",
	"POST /internal/v1/requests/{id}/approve":     "operator registrar auditor",
	"POST /internal/v1/requests/{id}/refuse":      "operator registrar auditor",
	"POST /internal/v1/notifications/resend":      "operator",
	"POST /internal/v1/quarantine/apply":          "operator",
	"POST /internal/v1/quarantine/dismiss":        "operator",
	"GET /internal/v1/settings":                   "operator auditor",
	"GET /internal/v1/reconciliations":            "operator auditor",
	"POST /internal/v1/reconciliations":           "operator auditor",
	"GET /internal/v1/sources":                    "operator auditor",
	"GET /internal/v1/sources/{name}":             "operator auditor",
	"POST /internal/v1/sources/{name}/pause":      "operator",
	"POST /internal/v1/sources/{name}/resume":     "operator",
	"POST /internal/v1/sources/{name}/accept":     "operator",
	"POST /internal/v1/sources/{name}/reapply":    "operator",

	"POST /internal/v1/initiators/{clientId}/preflight": "operator",
	"GET /internal/v1/audit/consistency":                "auditor",
	"GET /internal/v1/audit/calls":                      "auditor",
	"GET /internal/v1/audit/log/{file:.+}":              "auditor",
	"GET /internal/v1/audit/verifications":              "auditor",
	"POST /internal/v1/audit/verifications":             "auditor",
	"GET /internal/v1/audit/verifications/{id}":         "auditor",
	"POST /internal/v1/audit/judgements":                "auditor",

	"GET /internal/v1/find":                         "operator auditor",
	"GET /internal/v1/overview":                     "operator auditor",
	"GET /internal/v1/initiators/{clientId}/health": "operator auditor",
	"GET /internal/v1/audit/statistics":             "operator auditor",
	"GET /internal/v1/audit/polling":                "operator auditor",
}

func TestEveryEndpointAdmitsExactlyTheRolesOfTheMatrix(t *testing.T) {
	w := newWorld(t)
	routes := w.api.routes()
	require.Len(t, routes, len(matrix), "a new route needs a line in the matrix")
	for _, r := range routes {
		want, there := matrix[r.Method+" "+r.Path]
		require.True(t, there, "%s %s is not in the matrix", r.Method, r.Path)
		path := strings.NewReplacer("{clientId}", "itp", "{id}", someID, "{kind}", "pix-payment", "{name}", "core", "{seq}", "7", "{file:.+}", "checkpoint").Replace(r.Path)
		ask := func(token string, headers ...string) reply { return w.ask(r.Method, path, token, "", headers...) }

		none := ask("")
		none.refused(t, 401, "unauthorized")
		require.Equal(t, `Bearer realm="arauto"`, none.header.Get("WWW-Authenticate"))
		bad := ask("bad")
		bad.refused(t, 401, "unauthorized")
		require.Equal(t, `Bearer realm="arauto", error="invalid_token"`, bad.header.Get("WWW-Authenticate"))
		ask("nokeys").refused(t, 503, "unavailable")
		ask("", "Authorization: Basic b3BlcmF0b3I6eA==").refused(t, 401, "unauthorized")
		ask("", "Authorization: Bearer").refused(t, 401, "unauthorized")
		for _, role := range []string{"ingest", "registrar", "operator", "auditor", "admin", "Operator", "operator "} {
			got := ask(role)
			if slices.Contains(strings.Fields(want), strings.TrimSpace(role)) {
				require.NotContains(t, []int{401, 403}, got.status, "%s %s as %q: %s", r.Method, path, role, got.text)
				continue
			}
			got.refused(t, 403, "forbidden")
			require.Equal(t, `Bearer realm="arauto", error="insufficient_scope"`, got.header.Get("WWW-Authenticate"))
		}
	}
}

func TestUnknownPathsAndMethodsAreRefusedInTheShapeOfEveryError(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{
		"/", "/internal", "/internal/v1/", "/internal/v1/changes/", "/internal//v1/changes", "/internal/v1/./changes", "/internal/v1/%63hanges",
		"/internal/v1/notifications/a/b", "/internal/v1/initiators/", "/open-banking/payments/v4/pix/payments/1", "/internal/v1/quarantine/x/../../changes",
		"/internal/v1/initiators/..%2f..", "/metrics", "/debug/pprof/",
	} {
		got := w.ask("GET", path, "operator", "")
		if strings.Contains(path, "%2f") { // one segment, and no such client
			got.refused(t, 404, "not_found")
			continue
		}
		got.refused(t, 404, "not_found")
	}
	got := w.ask("PATCH", "/internal/v1/initiators/itp", "registrar", "{}")
	got.refused(t, 405, "method_not_allowed")
	require.Equal(t, "DELETE, GET, HEAD, PUT", got.header.Get("Allow"))
	got = w.ask("GET", "/internal/v1/changes", "ingest", "")
	got.refused(t, 405, "method_not_allowed")
	require.Equal(t, "POST", got.header.Get("Allow"))
	w.ask("TRACE", "/internal/v1/notifications", "operator", "").refused(t, 405, "method_not_allowed")
	w.ask("POST", "/internal/v1/notifications", "operator", "{}", "X-HTTP-Method-Override: GET").refused(t, 405, "method_not_allowed")

	head := w.ask("HEAD", "/internal/v1/notifications", "operator", "")
	require.Equal(t, 200, head.status)
	require.Empty(t, head.text)
}

func TestOptionsForTheWholeServerIsAnsweredByUs(t *testing.T) {
	w := newWorld(t)
	conn, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	got, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, 404, got.StatusCode)
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
}

func TestTwoAuthorizationHeadersAreNone(t *testing.T) {
	w := newWorld(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/internal/v1/notifications", http.NoBody)
	require.NoError(t, err)
	r.Header["Authorization"] = []string{"Bearer operator", "Bearer auditor"}
	got, err := w.client.Do(r)
	require.NoError(t, err)
	defer got.Body.Close()
	require.Equal(t, 401, got.StatusCode)
}

func TestEveryKindOfErrorHasItsStatus(t *testing.T) {
	w := newWorld(t)
	w.faked = true
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{errMissing, 404, "not_found"},
		{fmt.Errorf("resend: %w", contradiction("already sent")), 409, "conflict"},
		{fmt.Errorf("ask: %w", passing{io.ErrUnexpectedEOF}), 503, "unavailable"},
		{fmt.Errorf("secret of the database"), 500, "internal"},
	} {
		w.shelf.notification = notificationFails(c.err)
		got := w.ask("GET", "/internal/v1/notifications/"+someID, "auditor", "")
		got.refused(t, c.status, c.code)
		require.NotContains(t, got.text, "secret", "the reason of a 500 goes to the log alone")
	}
	require.Contains(t, w.journal.String(), "secret of the database")
}
