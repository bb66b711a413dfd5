package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
)

// TestRubbishInAnAnchorFileHidesNoCheckpointAndIsTold: whatever stands between, before or behind genuine checkpoints.
func TestRubbishInAnAnchorFileHidesNoCheckpointAndIsTold(t *testing.T) {
	signer := audit.NewSigner(key())
	other := audit.NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize)))
	sign := func(s *audit.Signer, size int64) string {
		signed, err := s.Sign(audit.Checkpoint{Size: size})
		require.NoError(t, err)
		return string(signed) + "\n"
	}
	one, two, three := sign(signer, 1), sign(signer, 2), sign(signer, 3)
	forged := strings.Replace(two, "\n2\n", "\n7\n", 1)
	loss, err := signer.SignLoss(audit.Loss{Lost: []audit.Checkpoint{{Size: 5}}, By: "Ana", Why: "restored"})
	require.NoError(t, err)
	const inName = "a note in the name of this log that is not signed with its key, or that is no checkpoint"
	for _, c := range []struct {
		name, text string
		sizes      []int64
		told       []string
		tail       int64
	}{
		{"nothing else", one + two + three, []int64{1, 2, 3}, nil, 0},
		{"blank lines", "\n\n" + one + "\r\n \n" + two + "\n\n", []int64{1, 2}, nil, 0},
		{"at the end", one + "garbage\nmore", []int64{1}, []string{"line 9: 12 bytes in 2 lines are passed over: it is no checkpoint"}, 12},
		{"in the middle, without a line feed", one + "garbage" + two, []int64{1, 2}, []string{"line 9: 7 bytes in 1 lines are passed over: it is no checkpoint"}, 0},
		{"at the beginning", "\xff\x00\n" + one, []int64{1}, []string{"line 1: 2 bytes in 1 lines are passed over: it is no checkpoint"}, 0},
		{"a torn one", one[:60] + "\n" + two, []int64{2}, []string{"line 1: 60 bytes in 3 lines are passed over: a checkpoint of this log that breaks off"}, 0},
		{"a torn signature that a line feed follows", one[:150] + "\n" + two, []int64{2}, []string{"line 1: 150 bytes in 7 lines are passed over: " + inName}, 0},
		{"a torn signature", strings.TrimSuffix(one, "\n\n"), nil, []string{"line 1: 234 bytes in 7 lines are passed over: a checkpoint of this log that breaks off"}, 234},
		{"a forged one", one + forged + three, []int64{1, 3}, []string{"line 9: 234 bytes in 7 lines are passed over: " + inName}, 0},
		{"two forged ones", one + forged + forged, []int64{1}, []string{"line 9: 470 bytes in 15 lines are passed over: " + inName}, 470},
		{"a statement of loss", string(loss) + "\n" + one, []int64{1}, []string{"passed over: " + inName}, 0},
		{"of another log", one + sign(other, 9) + two, []int64{1, 2}, []string{"line 9: 234 bytes in 7 lines are passed over: a checkpoint of another log, " + audit.Origin(other.Public())}, 0},
		{"several kinds", one + forged + "hello\n" + two + "end\n", []int64{1, 2}, []string{inName, "line 17: 5 bytes in 1 lines are passed over: it is no checkpoint", "line 26: 3 bytes"}, 3},
		{"nothing genuine", "hello\n" + sign(other, 9), nil, []string{"line 1: 5 bytes", "line 2: 234 bytes"}, 240},
		{"empty", "", nil, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := audit.ReadAnchorFile([]byte(c.text), signer.Public())
			var sizes []int64
			for _, k := range got.Checkpoints {
				sizes = append(sizes, k.Size)
			}
			require.Equal(t, c.sizes, sizes)
			require.Equal(t, c.tail, got.Tail)
			notes := got.Notes()
			require.Len(t, notes, len(c.told), notes)
			for i, n := range notes {
				require.Contains(t, n, c.told[i])
			}
		})
	}
	many := audit.ReadAnchorFile([]byte(strings.Repeat(one+"x\n", 1000)), signer.Public())
	require.Len(t, many.Checkpoints, 1000)
	require.Len(t, many.Notes(), 21)
	require.Equal(t, "and 980 more pieces, the last at line 9000, are passed over", many.Notes()[20])
}
