package audit_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
)

func statement(kept audit.Tree, lost ...audit.Checkpoint) audit.Loss {
	return audit.Loss{Kept: kept, Lost: lost, At: audit.At(time.Date(2026, 11, 21, 13, 0, 0, 0, time.UTC)), By: "Ana, database administrator", Why: "restored to 12:00 after a failure of the storage"}
}

func TestAStatementOfLossIsSignedAndReadBack(t *testing.T) {
	signer := audit.NewSigner(key())
	l := makeLog(t, 40, 10)
	said := statement(audit.Tree{Size: 20, Root: l.heads[1].Root}, l.heads[2], l.heads[3])
	signed, err := signer.SignLoss(said)
	require.NoError(t, err)
	got, err := audit.OpenLoss(signed, signer.Public())
	require.NoError(t, err)
	require.Equal(t, said, got)
	require.Equal(t, "the positions 20 to 39 as they were published are lost: restored to 12:00 after a failure of the storage (stated by Ana, database administrator at 2026-11-21T13:00:00.000000Z)", got.String())
	for name, wrong := range map[string][]byte{
		"changed":      bytes.Replace(signed, []byte("kept 20"), []byte("kept 10"), 1),
		"a checkpoint": l.notes[0],
		"nothing":      nil,
	} {
		_, err := audit.OpenLoss(wrong, signer.Public())
		require.Error(t, err, name)
	}
	_, err = audit.OpenCheckpoint(signed, signer.Public())
	require.Error(t, err, "a statement is no checkpoint")
	for name, change := range map[string]func(*audit.Loss){
		"nothing lost":  func(s *audit.Loss) { s.Lost = nil },
		"not ahead":     func(s *audit.Loss) { s.Lost[0].Size = 20 },
		"two lines":     func(s *audit.Loss) { s.Why = "a\nb" },
		"nobody":        func(s *audit.Loss) { s.By = "" },
		"too much text": func(s *audit.Loss) { s.Why = strings.Repeat("x", 1001) },
	} {
		bad := statement(said.Kept, l.heads[2])
		change(&bad)
		_, err := signer.SignLoss(bad)
		require.Error(t, err, name)
	}
}

// TestAStatementOfLossAdmitsThePublishedPartItNamesAndNothingElse.
func TestAStatementOfLossAdmitsThePublishedPartItNamesAndNothingElse(t *testing.T) {
	l := makeLog(t, 40, 10)
	said := statement(audit.Tree{Size: 20, Root: l.heads[1].Root}, l.heads[3])
	before, lost, newest := l.heads[1], l.heads[2], l.heads[3]
	require.True(t, said.Admits(lost))
	require.True(t, said.Admits(newest))
	require.False(t, said.Admits(before), "what is kept")
	newest.Root = lost.Root
	require.False(t, said.Admits(newest), "another head of that size")
	newest = l.heads[3]
	newest.Size++
	require.False(t, said.Admits(newest), "beyond")
	lost.At = l.heads[3].At + 1
	require.False(t, said.Admits(lost), "signed after what is named: the log was set back once more")
}

// fallen is a log that lost its positions 20 to 39, went on, and says so, or not.
func fallen(t *testing.T, says bool) (whole *log, gone []audit.Checkpoint, notes [][]byte) {
	t.Helper()
	old := makeLog(t, 40, 10)
	l := &log{t: t, signer: old.signer}
	var tree audit.Range
	add := func(e audit.Entry) {
		record := e.AppendRecord(nil, tree.Size())
		l.kept.add(&tree, audit.Leaf(record))
		l.records, l.lines = append(l.records, record), append(l.lines, audit.AppendLine(nil, record, audit.Leaf(record)))
	}
	sign := func(at time.Time) {
		c := audit.Checkpoint{Size: tree.Size(), Root: tree.Root(), At: audit.At(at)}
		signed, err := l.signer.Sign(c)
		require.NoError(t, err)
		l.notes, l.heads = append(l.notes, signed), append(l.heads, c)
	}
	for i := range 20 {
		record := old.records[i]
		l.kept.add(&tree, audit.Leaf(record))
		l.records, l.lines = append(l.records, record), append(l.lines, old.lines[i])
	}
	l.heads, l.notes = old.heads[:2:2], old.notes[:2:2]
	if says {
		signed, err := l.signer.SignLoss(statement(audit.Tree{Size: 20, Root: old.heads[1].Root}, old.heads[3]))
		require.NoError(t, err)
		text, err := json.Marshal(map[string]string{"statement": string(signed)})
		require.NoError(t, err)
		add(audit.Entry{ID: numbered(200), At: samples()[0].At, XID: 900, Kind: audit.KindLoss, Facts: string(text)})
	}
	for i := range 30 {
		e := samples()[0]
		e.ID, e.XID = numbered(byte(100+i)), int64(1000+i)
		add(e)
		if i%10 == 9 {
			sign(time.Date(2026, 11, 21, 14, 0, i, 0, time.UTC))
		}
	}
	return l, old.heads[2:], old.notes[2:]
}

// TestALogThatWasSetBackVerifiesAgainstItsAnchorsOnlyWithASignedStatement, and both verifiers say that it was.
func TestALogThatWasSetBackVerifiesAgainstItsAnchorsOnlyWithASignedStatement(t *testing.T) {
	for name, says := range map[string]bool{"with a statement": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			l, lost, notes := fallen(t, says)
			file := l.bundle()
			verdict, err := audit.VerifyBundle(bytes.NewReader(file), int64(len(file)), l.signer.Public(), lost)
			if says {
				require.NoError(t, err)
				require.Len(t, verdict.Notes, 1)
				require.Contains(t, verdict.Notes[0], "the positions 20 to 39 as they were published are lost")
			} else {
				require.ErrorContains(t, err, "BAD seq=20 the entries from 20 to 29 are not what was signed at ")
			}
			python, err := exec.LookPath("python3")
			if err != nil {
				t.Skip("there is no python3")
			}
			dir := t.TempDir()
			public, err := audit.MarshalPublic(l.signer.Public())
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "key.pem"), public, 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "log.zip"), file, 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "anchors"), append(bytes.Join(notes, []byte("\n")), '\n'), 0o600))
			out, err := exec.CommandContext(t.Context(), python, "../../docs/verify.py", "--key", filepath.Join(dir, "key.pem"), "--anchors", filepath.Join(dir, "anchors"), filepath.Join(dir, "log.zip")).CombinedOutput()
			if says {
				require.NoError(t, err, string(out))
				require.Contains(t, string(out), "note: the positions 20 to 39 as they were published are lost: restored to 12:00")
				require.Contains(t, string(out), "ok 51 ")
			} else {
				require.Error(t, err)
				require.True(t, strings.HasPrefix(string(out), "BAD seq=20 "), string(out))
			}
		})
	}
}
