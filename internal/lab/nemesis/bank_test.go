package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

func TestTheStoryOfTheBankIsLawful(t *testing.T) {
	for i := 1; i < len(bankStory); i++ {
		require.True(t, ofb.PixPayment.Reaches(bankStory[i-1], bankStory[i]), "%s to %s", bankStory[i-1], bankStory[i])
	}
}

func TestTheBankBeginsNothingAfterTheEndAndLeavesNothingOpen(t *testing.T) {
	require.Equal(t, []step{begin, goOn, goOn, begin}, []step{nextStep(false, 0, 0), nextStep(false, 1, 1), nextStep(false, 2, 1), nextStep(false, 3, 1)})
	require.Equal(t, begin, nextStep(false, 1, 0), "it never rests while the load lasts")
	require.Equal(t, goOn, nextStep(true, 3, 1))
	require.Equal(t, end, nextStep(true, 3, 0), "it was over while the last payment ended")
}

// TestWhatTheBankCommitsStandsInItsBookWhateverPartitionsCome runs the bank alone, on a real server.
func TestWhatTheBankCommitsStandsInItsBookWhateverPartitionsCome(t *testing.T) {
	dir := t.TempDir()
	for _, folder := range []string{dir, filepath.Dir(dir)} {
		require.NoError(t, os.Chmod(folder, 0o755))
	}
	began := time.Now()
	b, err := openBank(t.Context(), dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.server.Stop()) })
	t.Logf("set up within %s", time.Since(began))
	b.client = &client{id: "itp-bank"}
	for way := range partitionWays {
		branch, err := b.newBranch(t.Context(), way)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%04d", 3+way), branch)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.work(ctx, rand.New(rand.NewPCG(1, 4))) }()
	conn, err := pgx.Connect(t.Context(), b.url)
	require.NoError(t, err)
	defer leave(t.Context(), conn)
	newest := b.branches[len(b.branches)-1]
	require.Eventually(t, func() bool { return b.begun(newest) > 0 }, time.Minute, 10*time.Millisecond)
	stop()
	require.NoError(t, <-ended)
	rows, err := conn.Query(t.Context(), "SELECT id, branch, status, tableoid::regclass::text FROM payments")
	require.NoError(t, err)
	found, leaves := 0, map[string]bool{}
	var id, branch, status, leaf string
	_, err = pgx.ForEachRow(rows, []any{&id, &branch, &status, &leaf}, func() error {
		found++
		leaves[leaf] = true
		require.Equal(t, bankStory, b.of(id), "every payment that was begun is ended")
		require.Equal(t, string(bankStory[len(bankStory)-1]), status)
		require.Contains(t, leaf, "payments_"+branch)
		return nil
	})
	require.NoError(t, err)
	require.Len(t, b.states, found)
	require.Equal(t, found*len(bankStory), b.committed())
	require.Contains(t, leaves, "payments_0003", "the first row came with its partition")
	require.Nil(t, b.of("another"))
	require.Nil(t, (*bank)(nil).of("another"))
}

func TestTheBanksBookFindsWhatWasLostToldTwiceOrInvented(t *testing.T) {
	committed := map[string][]ofb.Status{"a": {ofb.RCVD, ofb.PDNG, ofb.ACSC}, "b": {ofb.RCVD}}
	right := func() (map[string]stored, map[string][]ofb.Status) {
		return map[string]stored{"a": {"ACSC", 3}, "b": {"RCVD", 1}}, map[string][]ofb.Status{"a": {ofb.PDNG, ofb.ACSC}}
	}
	found, announced := right()
	require.Empty(t, bankDiffers(committed, found, announced))
	for name, spoil := range map[string]func(map[string]stored, map[string][]ofb.Status){
		"a resource is lost":    func(f map[string]stored, _ map[string][]ofb.Status) { delete(f, "b") },
		"a revision is lost":    func(f map[string]stored, _ map[string][]ofb.Status) { f["a"] = stored{"ACSC", 2} },
		"a revision too many":   func(f map[string]stored, _ map[string][]ofb.Status) { f["a"] = stored{"ACSC", 4} },
		"another state is last": func(f map[string]stored, _ map[string][]ofb.Status) { f["a"] = stored{"PDNG", 3} },
		"an invented resource":  func(f map[string]stored, _ map[string][]ofb.Status) { f["c"] = stored{"RCVD", 1} },
		"not told":              func(_ map[string]stored, told map[string][]ofb.Status) { told["a"] = told["a"][1:] },
		"told twice":            func(_ map[string]stored, told map[string][]ofb.Status) { told["a"] = append(told["a"], ofb.ACSC) },
		"told in another order": func(_ map[string]stored, told map[string][]ofb.Status) { told["a"] = []ofb.Status{ofb.ACSC, ofb.PDNG} },
		"told what is silent":   func(_ map[string]stored, told map[string][]ofb.Status) { told["b"] = []ofb.Status{ofb.RCVD} },
	} {
		found, announced := right()
		spoil(found, announced)
		require.Len(t, bankDiffers(committed, found, announced), 1, name)
	}
}

func TestWhatAClientWasToldIsReadInTheOrderOfRevisions(t *testing.T) {
	revision := func(n int64) *int64 { return &n }
	all := []stage.Notification{
		{ClientID: "x", ResourceID: "a", Status: "ACSC", Revision: revision(9)},
		{ClientID: "y", ResourceID: "a", Status: "RJCT", Revision: revision(8)},
		{ClientID: "x", ResourceID: "a", Status: "PDNG", Revision: revision(7)},
	}
	require.Equal(t, map[string][]ofb.Status{"a": {ofb.PDNG, ofb.ACSC}}, announced(all, "x"))
}
