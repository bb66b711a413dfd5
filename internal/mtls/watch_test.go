package mtls_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/keystock"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/mtls"
)

// journal collects events from another goroutine.
type journal struct {
	mu      sync.Mutex
	events  []mtls.ReloadEvent // without digests
	digests map[string]string  // of the newest
}

func (j *journal) note(e mtls.ReloadEvent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.digests, e.Digests = e.Digests, nil
	j.events = append(j.events, e)
}

// after lets (virtual) time pass and returns what was noted since the last call.
func (j *journal) after(d time.Duration) []mtls.ReloadEvent {
	<-time.After(d)
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	out := j.events
	j.events = nil
	return out
}

func TestWatchTellsOfChangesAndOncePerRefusal(t *testing.T) {
	pki, err := certs.New(certs.Options{Now: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), SharedLeafKey: true, NewKey: keystock.New})
	require.NoError(t, err) // synctest's clock begins at that instant
	issue := func(p certs.Profile) certs.Leaf {
		leaf, err := pki.Issue(p)
		require.NoError(t, err)
		return leaf
	}
	first, second := issue(pki.HolderBRCAC()), issue(pki.HolderBRCAC())
	tomorrow := pki.HolderBRCAC()
	tomorrow.NotBefore = pki.Now().Add(10 * time.Minute)
	early := issue(tomorrow)
	f := mtlstest.Write(t, first)
	anchorsFile := mtlstest.AnchorsFile(t, pki.Root)

	synctest.Test(t, func(t *testing.T) {
		id, err := mtls.LoadIdentity(f.Cert, f.Key, mtls.AsClient)
		require.NoError(t, err)
		anchors, err := mtls.LoadAnchors(anchorsFile)
		require.NoError(t, err)
		var news journal
		look := news.after
		ctx, cancel := context.WithCancel(t.Context())
		go mtls.Watch(ctx, 0, news.note, id, anchors)
		require.Empty(t, look(time.Minute))

		f.Replace(t, second)
		require.Equal(t, []mtls.ReloadEvent{{Source: f.Cert, Generation: 2}}, look(mtls.WatchEvery))

		require.NoError(t, os.WriteFile(f.Cert, []byte("torn"), 0o600))
		refused := look(time.Minute)
		require.Len(t, refused, 1, "one report per refusal, not one per look")
		require.ErrorContains(t, refused[0].Err, "no PEM certificate")
		require.EqualValues(t, 2, refused[0].Generation)

		f.Replace(t, second)
		require.Equal(t, []mtls.ReloadEvent{{Source: f.Cert, Generation: 2}}, look(time.Minute), "the refusal is over")

		f.Replace(t, early)
		refused = look(time.Minute)
		require.Len(t, refused, 1)
		require.ErrorContains(t, refused[0].Err, "not valid before")
		require.Equal(t, []mtls.ReloadEvent{{Source: f.Cert, Generation: 3}}, look(10*time.Minute), "it takes effect when its day comes")

		mtlstest.WriteAnchors(t, anchorsFile, pki.ServerCA)
		require.Equal(t, []mtls.ReloadEvent{{Source: anchorsFile, Generation: 2}}, look(mtls.WatchEvery))
		require.Equal(t, anchors.Digests(), news.digests)
		cancel()
	})
}
