package webhook

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/ofb"
)

// TestAPreviewIsWhatIsSent compares what Preview writes with what a receiver got, for every kind.
func TestAPreviewIsWhatIsSent(t *testing.T) {
	i := newInitiator(t)
	var used Config
	s := newSender(t, func(c *Config) { used = *c })
	for _, kind := range ofb.Kinds() {
		a := newAttempt(i.BaseURI("/brand"))
		a.Kind, a.APIVersion, a.ResourceID = kind, kind.Versions()[0], "urn:b:1"
		if kind.HasEventType() {
			a.Event = ofb.StateChanged
		}
		url, wire, err := Preview(used, a)
		require.NoError(t, err)
		r, err := s.Send(t.Context(), a)
		require.NoError(t, err)
		require.Equal(t, r.URL, url)
		got := i.Requests()[len(i.Requests())-1]
		require.Equal(t, string(got.Head)+string(got.Body), string(wire))
	}
	a := newAttempt("https://10.0.0.1/x")
	_, _, err := Preview(Config{Version: "1"}, a)
	require.ErrorContains(t, err, "the host must be a DNS name")
}
