package store

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// BenchmarkFactsOfANotification is all JSON that the entries of one notification are written with.
func BenchmarkFactsOfANotification(b *testing.B) {
	now := time.Now().UTC()
	sum := "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
	private := history.PrivateFacts{Salt: "AAAAAAAAAAAAAAAAAAAAAA", System: "arauto-1 v1.0.0", Local: "127.0.0.1:33333"}
	all := []any{
		history.ChangeFacts{
			System: "arauto-1 v1.0.0", Source: "api", Actor: "core-payments", Remote: "127.0.0.1:50000", APIVersion: "v5", Status: "ACSC", OccurredAt: now,
			BeganUS: 12, WaitedUS: 4000, DataHash: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", EventAt: now, Clause: "webhook §3.1", Epoch: 1, FirstReceivedAt: now,
		},
		history.AttemptFacts{Private: sum, ScheduledAt: now, Base: "https://localhost:40000/good"},
		history.ResultFacts{
			Private: sum, Number: 1, Attempt: "0190a0a0-0000-7000-8000-000000000000", URL: "https://localhost:40000/open-banking/webhook/v1/payments/v5/pix/payments/x",
			HTTPStatus: 202, Echo: "same", Reused: true, Remote: "127.0.0.1:40000", WaitedUS: 5, FirstByteUS: 10, AnsweredUS: 100, ElapsedUS: 101,
			TLS: &notice.TLSFacts{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", PeerSubject: "CN=alfa", PeerFingerprint: sum, PeerSerial: "01", PeerNotAfter: now, OwnSerial: "02"},
		},
		private, private,
	}
	for b.Loop() {
		for _, v := range all {
			if _, err := Facts(v); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func TestAHandshakeIsKeptWholeOnceAConnection(t *testing.T) {
	whole := notice.TLSFacts{Version: "TLS 1.3", Cipher: "c", PeerSubject: "CN=alfa", PeerFingerprint: "ab", PeerSerial: "01", PeerNotAfter: time.Now(), OwnSerial: "02"}
	facts := func(reused bool) string {
		given := whole
		text, err := Facts(resultFacts(notice.Settlement{Result: notice.Result{TLS: &given, Reused: reused}}, "sum"))
		require.NoError(t, err)
		require.Equal(t, whole, given)
		return text
	}
	require.Contains(t, facts(false), `"peerFingerprint":"ab","peerSerial":"01","peerNotAfter":"2`)
	require.Contains(t, facts(true), `"tls":{"version":"TLS 1.3","cipher":"c","peerSubject":"CN=alfa","peerFingerprint":"ab","ownSerial":"02"}`)
	text, err := Facts(resultFacts(notice.Settlement{}, "sum"))
	require.NoError(t, err)
	require.NotContains(t, text, `"tls"`)
}
