package bank

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/trust"
)

// shown is a calendar of one line each.
type shown struct{ now time.Time }

func (s shown) Certificates() []trust.Certificate {
	return []trust.Certificate{{
		Role: "webhook-client", Expiry: mtls.Expiry{Source: "brcac.pem", Subject: "CN=x", Serial: "a1", NotAfter: s.now.Add(47 * time.Hour)},
	}}
}

func (s shown) Receivers() []trust.ReceiverCertificate {
	return []trust.ReceiverCertificate{{
		SeenCertificate: notice.SeenCertificate{Client: "alfa", SeenAt: s.now, ShownCertificate: notice.ShownCertificate{
			Fingerprint: "c3", Subject: "CN=y", Serial: "b2", NotAfter: s.now.Add(-time.Hour), Issuer: "CN=z", Wrong: "tls: it has expired",
		}},
	}}
}

func (shown) RevocationLists() []trust.RevocationList {
	return []trust.RevocationList{{Direction: "callers", ListStatus: mtls.ListStatus{Source: "https://crl.example.com/v10.crl"}}}
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
	require.Contains(t, got.text, `"issuer":"CN=z","wrong":"tls: it has expired"`)
	require.Contains(t, got.text, `"thisUpdate":null,"nextUpdate":null,"validUntil":null,"softFailUntil":null,"entries":0,"proven":false`)
	require.Equal(t, 400, w.ask("GET", path+"?x=1", "auditor", "").status)
}
