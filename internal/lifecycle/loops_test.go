package lifecycle

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAPartThatDoesNotEndIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Loops
		release := make(chan struct{})
		p.Start("quick", func() {})
		p.Start("seal", func() { <-release })
		p.Start("seal", func() { time.Sleep(time.Second) })
		p.Start("dispatch", func() { <-release })
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		began := time.Now()
		require.Equal(t, &LateError{[]string{"dispatch", "seal"}}, p.Wait(ctx))
		require.Equal(t, within, time.Since(began))
		close(release)
		require.NoError(t, p.Wait(t.Context()))
	})
}
