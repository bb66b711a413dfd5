package audit_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/lab/verifiers"
)

// TestThreeVerifiersRefuseAFileOfAnotherHistoryThanTheKeptCheckpoints: a proof, a proof of growth and a filtered bundle are right by
// themselves. With a checkpoint of their size and of the other history they are evidence of two histories; with others they are right.
func TestThreeVerifiersRefuseAFileOfAnotherHistoryThanTheKeptCheckpoints(t *testing.T) {
	python, browser := verifiers.Python(t), verifiers.Browser(t)
	shown, _, others := fallen(t, false) // the checkpoints of 30 and of 40 entries are not those of the others
	mine := shown.anchorFile()
	theirs := []byte(string(others[0]) + "\n" + string(others[1]) + "\n")
	growth := shown.consistency(2, 3).Marshal()
	shown.heads, shown.notes = shown.heads[:4], shown.notes[:4] // as of 40 entries
	const two = "BAD seq=0 two histories: the log was signed over "
	cases := []struct {
		name string
		verifiers.Original

		want string
	}{
		{"a proof", verifiers.Original{Bytes: shown.proof(7).Marshal(), Anchors: theirs}, two + "40 entries at "},
		{"a proof, own checkpoints", verifiers.Original{Bytes: shown.proof(7).Marshal(), Anchors: mine}, "ok 1 "},
		{"a proof, of another size", verifiers.Original{Bytes: shown.proof(7).Marshal(), Anchors: others[0]}, "ok 1 "},
		{"a proof of growth", verifiers.Original{Bytes: growth, Anchors: theirs}, two + "30 entries at "},
		{"a proof of growth, by its newer checkpoint", verifiers.Original{Bytes: growth, Anchors: others[1]}, two + "40 entries at "},
		{"a proof of growth, own checkpoints", verifiers.Original{Bytes: growth, Anchors: mine}, "ok 40 "},
		{"a filtered bundle", verifiers.Original{Bytes: shown.bundle(1, 3, 9), Anchors: theirs}, two + "40 entries at "},
		{"a filtered bundle, own checkpoints", verifiers.Original{Bytes: shown.bundle(1, 3, 9), Anchors: mine}, "genuine 3 of 40 "},
		{"kept checkpoints that contradict each other", verifiers.Original{Bytes: shown.proof(7).Marshal(), Anchors: []byte(string(mine) + string(others[0]))}, two + "30 entries at "},
	}
	originals, files := []verifiers.Original{}, []verifiers.File{}
	for i := range cases {
		originals, files = append(originals, cases[i].Original), append(files, verifiers.File{Of: i})
	}
	byPython, byBrowser := python(t, publicPEM(t), originals, files), browser(t, publicPEM(t), originals, files)
	for i := range cases {
		t.Run(cases[i].name, func(t *testing.T) {
			require.True(t, strings.HasPrefix(byPython[i], cases[i].want), "python: %s", byPython[i])
			require.Equal(t, byPython[i], byBrowser[i], "browser")
		})
	}
}

// TestCheckpointsAreJoinedByProofsOfGrowth up to the newest one, also by way of others.
func TestCheckpointsAreJoinedByProofsOfGrowth(t *testing.T) {
	at := func(sizes ...int64) (all []audit.Checkpoint) {
		for _, size := range sizes {
			all = append(all, audit.Checkpoint{Size: size, Root: audit.Hash{byte(size)}})
		}
		return all
	}
	for _, c := range []struct {
		name   string
		sizes  []int64
		proofs []audit.Growth
		apart  int64
	}{
		{"one", []int64{5}, nil, 0},
		{"equal ones", []int64{5, 5}, nil, 0},
		{"nothing joins them", []int64{5, 9}, nil, 5},
		{"one proof", []int64{9, 5}, []audit.Growth{{From: 5, To: 9}}, 0},
		{"by way of another", []int64{5, 7, 9}, []audit.Growth{{From: 7, To: 9}, {From: 5, To: 7}}, 0},
		{"each by itself", []int64{5, 7, 9}, []audit.Growth{{From: 7, To: 9}, {From: 5, To: 9}}, 0},
		{"one of them", []int64{5, 7, 9}, []audit.Growth{{From: 5, To: 7}}, 7},
		{"in the other direction", []int64{5, 9}, []audit.Growth{{From: 9, To: 5}}, 5},
		{"the empty log begins every one", []int64{0, 9}, nil, 0},
	} {
		newest, apart, err := audit.Compare(at(c.sizes...), c.proofs)
		require.NoError(t, err, c.name)
		require.Equal(t, c.apart, apart, c.name)
		require.Equal(t, max(c.sizes[0], c.sizes[len(c.sizes)-1]), newest.Size, c.name)
	}
	_, _, err := audit.Compare([]audit.Checkpoint{{Size: 5}, {Size: 9}, {Size: 5, Root: audit.Hash{1}}}, []audit.Growth{{From: 5, To: 9}})
	require.ErrorContains(t, err, "BAD seq=0 two histories: the log was signed over 5 entries")
}
