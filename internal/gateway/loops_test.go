package gateway

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAPartThatDoesNotEndIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p loops
		release := make(chan struct{})
		p.start("quick", func() {})
		p.start("seal", func() { <-release })
		p.start("seal", func() { time.Sleep(time.Second) })
		p.start("dispatch", func() { <-release })
		ctx, cancel := context.WithTimeout(t.Context(), DrainTimeout)
		defer cancel()
		began := time.Now()
		require.Equal(t, &LateError{[]string{"dispatch", "seal"}}, p.wait(ctx))
		require.Equal(t, DrainTimeout, time.Since(began))
		close(release)
		require.NoError(t, p.wait(t.Context()))
	})
}
