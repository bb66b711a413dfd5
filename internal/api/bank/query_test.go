package bank

import (
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoReadingIgnoresWhatItDoesNotKnow walks through every route that reads: a parameter that it does not know is a 400
// which says what is known, and never an answer as if it had not been asked.
func TestNoReadingIgnoresWhatItDoesNotKnow(t *testing.T) {
	w := newWorld(t, func(c *InternalConfig) { c.Clock = &almanac{} })
	variable := regexp.MustCompile(`\{[a-zA-Z]+(:\.\+)?\}`)
	values := map[string]string{"{id}": "0192a6a6-0000-7000-8000-000000000001", "{seq}": "1", "{kind}": "pix-payment", "{name}": "n", "{clientId}": "itp", "{file:.+}": "checkpoint"}
	n := 0
	for _, r := range w.api.routes() {
		if r.Method != http.MethodGet {
			continue
		}
		n++
		path := variable.ReplaceAllStringFunc(r.Path, func(v string) string { require.Contains(t, values, v); return values[v] })
		t.Run(r.Path, func(t *testing.T) {
			for _, query := range []string{"nonsense=1", "Kind=pix-payment", "kind=pix-payment;nonsense"} {
				got := w.ask("GET", path+"?"+query, r.Roles[0], "")
				require.Equal(t, 400, got.status, "%s: %s", query, got.text)
				require.Contains(t, got.text, "errors")
			}
		})
	}
	require.Greater(t, n, 15)
}

// TestAValueThatNoFilterKnowsIsRefusedByName is F25: an empty list would say that there is nothing of the kind.
func TestAValueThatNoFilterKnowsIsRefusedByName(t *testing.T) {
	w := newWorld(t, func(c *InternalConfig) { c.Clock = &almanac{} })
	for path, filters := range map[string][]string{
		"/internal/v1/notifications":     {"kind", "state", "limit", "from", "to", "cursor", "interactionId", "late", "outcome"},
		"/internal/v1/quarantine":        {"state", "limit"},
		"/internal/v1/audit/entries":     {"kind", "entry", "outcome", "late", "limit", "from", "to", "cursor", "interactionId", "notificationId", "changeId"},
		"/internal/v1/audit/breaches":    {"from", "to", "limit"},
		"/internal/v1/audit/checkpoints": {"size", "at"},
	} {
		for _, name := range filters {
			t.Run(path+" "+name, func(t *testing.T) {
				got := w.ask("GET", path+"?"+name+"=nonsense", "operator+auditor", "")
				got.refused(t, 400, "invalid_request")
				require.Contains(t, got.text, `"/`+name+`"`)
			})
		}
	}
}
