package gateway

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

func TestOpenFilesAreSharedSoThatNobodyTakesWhatAnotherNeeds(t *testing.T) {
	for limit := uint64(fewest); limit < 1<<17; limit += 97 {
		d, err := share(limit, 0)
		require.NoError(t, err)
		require.LessOrEqual(t, uint64(base+d.outbound+d.public+d.internal), limit)
		require.Positive(t, d.internal)
		require.Greater(t, d.public, d.internal)
	}
	for _, c := range []struct {
		limit uint64
		slots int
		wrong string
	}{
		{fewest - 1, 1, "open files: the limit is 191; raise it"},
		{256, 64, ""},
		{256, 65, "is 65, and a limit of 256 open files affords 64; raise the limit (ulimit -n, LimitNOFILE=) to 258, or lower the slots"},
		{1 << 62, 4096, ""},
	} {
		d, err := share(c.limit, c.slots)
		if c.wrong == "" {
			require.NoError(t, err)
			require.Equal(t, c.limit < comfortable, d.small())
			continue
		}
		require.ErrorContains(t, err, c.wrong)
	}
}

func TestAKeptConnectionIsToldThatAnAnswerWasItsLast(t *testing.T) { // cases R5
	h := open(t)
	p := h.poller(certs.DefaultAlfa)
	ask := func() *http.Response {
		res, err := p.client.Get("https://" + h.g.Addr("public") + "/nowhere")
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res
	}
	require.False(t, ask().Close)
	public := h.g.listeners[0]
	ended := make(chan struct{})
	go func() { defer close(ended); _ = h.g.Stop() }()
	require.Eventually(t, public.leave.Load, patience, time.Millisecond)
	require.True(t, ask().Close, "answered, on the connection that was open, and the last")
	<-ended
	_, err := p.client.Get("https://" + h.g.Addr("public") + "/nowhere")
	require.Error(t, err)
}
