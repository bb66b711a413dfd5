package api

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shown is a calendar of one line each.
type shown struct{ now time.Time }

func (s shown) Certificates() []Certificate {
	return []Certificate{{Role: "webhook-client", Source: "brcac.pem", Subject: "CN=x", Serial: "a1", NotAfter: s.now.Add(47 * time.Hour)}}
}

func (s shown) Receivers() []ReceiverCertificate {
	return []ReceiverCertificate{{Client: "alfa", Subject: "CN=y", Serial: "b2", Fingerprint: "c3", NotAfter: s.now.Add(-time.Hour), SeenAt: s.now}}
}

func (shown) RevocationLists() []RevocationList {
	return []RevocationList{{Direction: "callers", Source: "https://crl.example.com/v10.crl"}}
}

func TestTheCalendarCountsWholeDaysAndSaysWhatNeverCame(t *testing.T) {
	w := newWorld(t)
	const path = "/internal/v1/certificates"
	require.Equal(t, 404, w.ask("GET", path, "operator", "").status, "without a calendar there is none")
	w.api.cfg.Calendar = shown{time.Now()}
	got := w.ask("GET", path, "auditor", "")
	require.Equal(t, 200, got.status, got.text)
	require.Contains(t, got.text, `"role":"webhook-client","source":"brcac.pem","subject":"CN=x","serial":"a1"`)
	require.Contains(t, got.text, `"daysLeft":1}`)
	require.Contains(t, got.text, `"clientId":"alfa"`)
	require.Contains(t, got.text, `"daysLeft":-1,`, "ended within the last day")
	require.Contains(t, got.text, `"thisUpdate":null,"nextUpdate":null,"validUntil":null,"softFailUntil":null,"entries":0,"proven":false`)
	require.Equal(t, 400, w.ask("GET", path+"?x=1", "auditor", "").status)
}
