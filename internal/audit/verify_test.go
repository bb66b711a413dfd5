package audit_test

import (
	"archive/zip"
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/lab/verifiers"
)

// log is one of made-up entries with a checkpoint every so often.
type log struct {
	t       *testing.T
	signer  *audit.Signer
	lines   [][]byte
	records [][]byte
	entries []audit.Entry // their private texts are handed over where it is asked for
	kept    memory
	notes   [][]byte
	heads   []audit.Checkpoint

	secret bool // bundles have private texts
}

// makeLog makes a log of n entries, signed after each step.
func makeLog(t *testing.T, n, step int) *log {
	t.Helper()
	l := &log{t: t, signer: audit.NewSigner(key())}
	var tree audit.Range
	for i := range n {
		e := samples()[i%2]
		e.ID, e.Facts = numbered(byte(i)), fmt.Sprintf(`{"n":%d}`, i)
		if e.Kind == "result" && i < 30 { // the others are from before there were private texts
			e.Private = ptr(fmt.Sprintf(`{"salt":"%022d","system":"a 1","detail":"é"}`, i))
			e.Facts = fmt.Sprintf(`{"private":"%s","n":%d}`, audit.Commit(*e.Private), i)
			if i%4 == 1 { // such facts are a string in the record
				e.Facts = fmt.Sprintf("{\n\"n\":%d,\"\\u0070rivate\":\"%s\"}", i, audit.Commit(*e.Private))
			}
		}
		l.entries = append(l.entries, e)
		record := e.AppendRecord(nil, int64(i))
		l.kept.add(&tree, audit.Leaf(record))
		l.records, l.lines = append(l.records, record), append(l.lines, audit.AppendLine(nil, record, audit.Leaf(record)))
		if (i+1)%step == 0 || i+1 == n {
			c := audit.Checkpoint{Size: tree.Size(), Root: tree.Root(), At: audit.At(time.Date(2026, 11, 21, 12, 0, i, 0, time.UTC))}
			signed, err := l.signer.Sign(c)
			require.NoError(t, err)
			l.notes, l.heads = append(l.notes, signed), append(l.heads, c)
		}
	}
	return l
}

// bundle writes the lines as they are now; with picked, those alone and their proofs.
func (l *log) bundle(picked ...int) []byte {
	l.t.Helper()
	var out bytes.Buffer
	head := l.heads[len(l.heads)-1]
	filter := map[string]string{}
	if picked != nil {
		filter["clientId"] = "c3a1"
	}
	b := audit.NewBundle(&out, l.signer.Public(), head, filter, "test")
	if picked == nil {
		for _, line := range l.lines {
			require.NoError(l.t, b.Entry(line))
		}
		for i := range l.entries {
			l.private(b, i)
		}
		require.NoError(l.t, b.Close(l.notes))
		return out.Bytes()
	}
	for _, i := range picked {
		require.NoError(l.t, b.Entry(l.lines[i]))
	}
	for _, i := range picked {
		path, err := audit.ProveInclusion(l.kept, int64(i), head.Size)
		require.NoError(l.t, err)
		require.NoError(l.t, b.Proof(int64(i), path))
	}
	for _, i := range picked {
		l.private(b, i)
	}
	require.NoError(l.t, b.Close(l.notes[len(l.notes)-1:]))
	return out.Bytes()
}

// private hands over the private text of an entry.
func (l *log) private(b *audit.BundleWriter, i int) {
	l.t.Helper()
	if l.secret {
		require.NoError(l.t, b.Private(int64(i), &l.entries[i]))
	}
}

func (l *log) text() []byte { return append(bytes.Join(l.lines, []byte("\n")), '\n') }

// change alters something in a line; the second of the kinds changes the leaf beside it to match.
func (l *log) change(i int, before, after string, leafToo bool) {
	l.t.Helper()
	record := bytes.Replace(l.records[i], []byte(before), []byte(after), 1)
	require.NotEqual(l.t, string(l.records[i]), string(record))
	leaf := audit.Leaf(l.records[i])
	if leafToo {
		leaf = audit.Leaf(record)
	}
	l.lines[i] = audit.AppendLine(nil, record, leaf)
}

// files are what a stranger is handed, and what must come of each.
type files struct {
	name string
	make func(l *log) []byte
	want string // the whole line, or its beginning
}

func stranger() []files {
	lines := func(change func(l *log)) func(*log) []byte {
		return func(l *log) []byte { change(l); return l.text() }
	}
	whole := func(change func(l *log)) func(*log) []byte {
		return func(l *log) []byte { change(l); return l.bundle() }
	}
	nothing := func(*log) {}
	private := func(change func(l *log), picked ...int) func(*log) []byte {
		return func(l *log) []byte { l.secret = true; change(l); return l.bundle(picked...) }
	}
	texts := func(change func(lines []string) []string) func(*log) []byte { // what private.jsonl has
		return func(l *log) []byte { l.secret = true; return rewritePrivate(l.t, l.bundle(), change) }
	}
	return []files{
		{"the lines", lines(nothing), "ok 100 "},
		{"a bundle", whole(nothing), "ok 100 "},
		{"an entry of lines is changed", lines(func(l *log) { l.change(57, `{"n":57}`, `{"n":58}`, false) }), "BAD seq=57 "},
		{"an entry of a bundle is changed", whole(func(l *log) { l.change(57, `{"n":57}`, `{"n":58}`, false) }), "BAD seq=57 "},
		{"two entries of a bundle are changed", whole(func(l *log) {
			l.change(71, `{"n":71}`, `{"n":0}`, false)
			l.change(33, `{"n":33}`, `{"n":0}`, false)
		}), "BAD seq=33 "},
		{"an entry and its leaf are changed", whole(func(l *log) { l.change(57, `{"n":57}`, `{"n":58}`, true) }), "BAD seq=48 "},
		{"a leaf alone is changed", whole(func(l *log) { l.lines[57] = audit.AppendLine(nil, l.records[57], audit.Leaf(nil)) }), "BAD seq=57 "},
		{"a line is missing", lines(func(l *log) { l.lines = append(l.lines[:57], l.lines[58:]...) }), "BAD seq=57 "},
		{"two lines are swapped", lines(func(l *log) { l.lines[57], l.lines[58] = l.lines[58], l.lines[57] }), "BAD seq=57 "},
		{"two entries are swapped", lines(func(l *log) { l.change(57, `{"n":57}`, `{"n":58}`, false); l.change(58, `{"n":58}`, `{"n":57}`, false) }), "BAD seq=57 "},
		{"a line is put in", lines(func(l *log) { l.lines = append(l.lines[:58:58], l.lines[57:]...) }), "BAD seq=58 "},
		{"an entry is changed before one that is missing", lines(func(l *log) {
			l.change(51, `{"n":51}`, `{"n":52}`, false)
			l.lines = append(l.lines[:57], l.lines[58:]...)
		}), "BAD seq=51 "},
		{"the end is cut off", lines(func(l *log) { l.lines = l.lines[:90] }), "BAD seq=90 "},
		{"the end of a bundle is cut off", whole(func(l *log) { l.lines = l.lines[:90] }), "BAD seq=90 "},
		{"a line is no line", lines(func(l *log) { l.lines[57] = []byte("{}") }), "BAD seq=57 "},
		{"a removal nobody recorded", lines(func(l *log) { l.lines[57] = audit.AppendRemoved(nil, 57, samples()[0].At, audit.Leaf(l.records[57])) }), "BAD seq=57 "},
		{"a removed line with another leaf", lines(func(l *log) { l.lines[57] = audit.AppendRemoved(nil, 57, samples()[0].At, audit.Leaf(nil)) }), "BAD seq=48 "},
		{"a checkpoint of a bundle is changed", whole(func(l *log) { l.notes[2] = bytes.Replace(l.notes[2], []byte("skew 0us"), []byte("skew 1us"), 1) }), "BAD seq=32 "},
		{"the manifest is changed", func(l *log) []byte {
			return bytes.Replace(l.bundle(), []byte(`"verifier": "arauto test"`), []byte(`"verifier": "arauto tesT"`), 1)
		}, "BAD seq=0 "},
		{"a filtered bundle", func(l *log) []byte { return l.bundle(3, 50, 99) }, "genuine 3 of 100 "},
		{"a filtered bundle with an entry taken out", func(l *log) []byte { return l.bundle(3, 99) }, "genuine 2 of 100 "},
		{"a filtered bundle of nothing", func(l *log) []byte { return l.bundle([]int{}...) }, "genuine 0 of 100 "},
		{"a filtered bundle with a changed entry", func(l *log) []byte { l.change(51, `{"n":51}`, `{"n":52}`, true); return l.bundle(3, 51, 99) }, "BAD seq=51 "},
		{"a filtered bundle with a changed leaf", func(l *log) []byte {
			l.lines[51] = audit.AppendLine(nil, l.records[51], audit.Leaf(nil))
			return l.bundle(3, 51, 99)
		}, "BAD seq=51 "},
		{"a bundle with private texts", private(nothing), "ok 100 "},
		{"a filtered bundle with private texts", private(nothing, 3, 9, 50, 99), "genuine 4 of 100 "},
		{"a filtered bundle of entries that have none", private(nothing, 2, 50, 99), "genuine 3 of 100 "},
		{"a private text is changed", private(func(l *log) { l.entries[9].Private = ptr(*l.entries[9].Private + " ") }), "BAD seq=9 "},
		{"a private text of a filtered bundle is changed", private(func(l *log) { l.entries[9].Private = ptr("{}") }, 3, 9, 50), "BAD seq=9 "},
		{"two private texts are exchanged", private(func(l *log) { l.entries[3].Private, l.entries[7].Private = l.entries[7].Private, l.entries[3].Private }), "BAD seq=3 "},
		{"a private text is lost", private(func(l *log) { l.entries[9].Private = nil }), "BAD seq=9 "},
		{"a private text is put in", private(func(l *log) { l.entries[50].Private = ptr("{}") }), "BAD seq=50 "},
		{"a private text is put beside an entry from before", private(func(l *log) { l.entries[51].Private = ptr("{}") }), "BAD seq=51 "},
		{"an entry is changed, and its private text too", private(func(l *log) {
			l.entries[11].Private = ptr("{}")
			l.change(11, `"n":11`, `"n":12`, false)
		}), "BAD seq=11 the entry is not "},
		{"a private text was not handed over", texts(func(lines []string) []string { return lines[1:] }), "ok 100 "},
		{"no private text was handed over", texts(func([]string) []string { return nil }), "ok 100 "},
		{"a private text is there twice", texts(func(lines []string) []string { return append(lines[:2:2], lines[1:]...) }), "BAD seq=3 "},
		{"private texts are out of order", texts(func(lines []string) []string { lines[0], lines[1] = lines[1], lines[0]; return lines }), "BAD seq=3 "},
		{"a private text of no entry", texts(func(lines []string) []string { return append(lines, `{"seq":100,"private":"{}"}`) }), "BAD seq=100 "},
		{"a private text that is no text", texts(func(lines []string) []string { lines[1] = `{"seq":3,"private":5}`; return lines }), "BAD seq=1 "},
		{"a private text that is none and is null", texts(func(lines []string) []string { return append(lines, `{"seq":50,"private":null}`) }), "BAD seq=50 "},
		{"a line of private texts that is no JSON", texts(func(lines []string) []string { lines[1] = "x"; return lines }), "BAD seq=1 "},
		{"a proof", func(l *log) []byte { return l.proof(57).Marshal() }, "ok 1 "},
		{"a proof of another record", func(l *log) []byte {
			p := l.proof(57)
			p.Record = bytes.Replace(p.Record, []byte(`{"n":57}`), []byte(`{"n":58}`), 1)
			return p.Marshal()
		}, "BAD seq=57 "},
		{"a proof of consistency", func(l *log) []byte { return l.consistency(2, 6).Marshal() }, "ok 100 "},
		{"a proof of consistency from a power of two", func(l *log) []byte { return l.consistency(1, 6).Marshal() }, "ok 100 "},
		{"a proof of consistency between powers of two", func(l *log) []byte { return l.consistency(1, 3).Marshal() }, "ok 64 "},
		{"a proof of consistency of one checkpoint with itself", func(l *log) []byte { return l.consistency(2, 2).Marshal() }, "ok 48 "},
		{"a proof of consistency of a log written anew", func(l *log) []byte {
			p := l.consistency(2, 6)
			other, err := l.signer.Sign(audit.Checkpoint{Size: 48, Root: audit.Leaf([]byte("anew")), At: l.heads[2].At})
			require.NoError(l.t, err)
			p.Old = other
			return p.Marshal()
		}, "BAD seq=0 "},
		{"a proof of consistency backwards", func(l *log) []byte {
			p := l.consistency(2, 6)
			p.Old, p.New = p.New, p.Old
			return p.Marshal()
		}, "BAD seq=0 "},
	}
}

// rewritePrivate changes the private texts of a bundle, and its manifest to match.
func rewritePrivate(t *testing.T, bundle []byte, change func(lines []string) []string) []byte {
	t.Helper()
	from, err := zip.NewReader(bytes.NewReader(bundle), int64(len(bundle)))
	require.NoError(t, err)
	var out bytes.Buffer
	to := zip.NewWriter(&out)
	var manifest audit.Manifest
	var private []byte
	for _, f := range from.File {
		r, err := f.Open()
		require.NoError(t, err)
		text, err := io.ReadAll(r)
		require.NoError(t, err)
		switch f.Name {
		case "private.jsonl":
			private = []byte{}
			for _, line := range change(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")) {
				private = append(private, line+"\n"...)
			}
			text = private
		case "manifest.json":
			require.NoError(t, json.Unmarshal(text, &manifest))
			for i := range manifest.Files {
				if manifest.Files[i].Name == "private.jsonl" {
					sum := sha256.Sum256(private)
					manifest.Files[i].Bytes, manifest.Files[i].SHA256 = int64(len(private)), hex.EncodeToString(sum[:])
				}
			}
			text, err = json.Marshal(manifest)
			require.NoError(t, err)
		}
		w, err := to.Create(f.Name)
		require.NoError(t, err)
		_, err = w.Write(text)
		require.NoError(t, err)
	}
	require.NotNil(t, manifest.Files)
	require.NoError(t, to.Close())
	return out.Bytes()
}

func (l *log) proof(seq int64) audit.Proof {
	l.t.Helper()
	head := len(l.heads) - 1
	path, err := audit.ProveInclusion(l.kept, seq, l.heads[head].Size)
	require.NoError(l.t, err)
	return audit.Proof{Record: l.records[seq], Seq: seq, Path: path, Checkpoint: l.notes[head]}
}

func (l *log) consistency(from, to int) audit.Consistency {
	l.t.Helper()
	path, err := audit.ProveConsistency(l.kept, l.heads[from].Size, l.heads[to].Size)
	require.NoError(l.t, err)
	return audit.Consistency{Path: path, Old: l.notes[from], New: l.notes[to]}
}

// verifyText verifies as audit verify does.
func verifyText(l *log, file []byte) (audit.VerifiedLog, error) {
	public := l.signer.Public()
	switch {
	case bytes.HasPrefix(file, []byte("PK")):
		return audit.VerifyBundle(bytes.NewReader(file), int64(len(file)), public, nil)
	case audit.IsProof(file):
		return audit.VerifyProof(file, public)
	case audit.IsConsistency(file):
		return audit.VerifyConsistency(file, public)
	}
	return audit.VerifyRecords(bytes.NewReader(file), public, l.heads)
}

// TestAFaultInAFileNamesTheFirstEntryThatIsWrong: and the verdict stands when everything is right.
func TestAFaultInAFileNamesTheFirstEntryThatIsWrong(t *testing.T) {
	for _, f := range stranger() {
		t.Run(f.name, func(t *testing.T) {
			l := makeLog(t, 100, 16)
			verdict, err := verifyText(l, f.make(l))
			told := verdict.String()
			if err != nil {
				told = err.Error()
			}
			require.True(t, strings.HasPrefix(told, f.want), told)
		})
	}
}

// TestAnEmptyLogProvesNothing: not even with a checkpoint over nothing.
func TestAnEmptyLogProvesNothing(t *testing.T) {
	for _, signed := range [][]audit.Checkpoint{nil, {{Root: audit.EmptyRoot()}}} {
		_, err := audit.VerifyRecords(strings.NewReader(""), nil, signed)
		require.ErrorContains(t, err, "BAD seq=0 the log is empty")
	}
}

// TestASecondVerifierAgrees is case M6: docs/verify.py, written in another language from docs/audit-format.md alone, tells
// the same of every file, right or wrong.
func TestASecondVerifierAgrees(t *testing.T) {
	script := verifiers.Script(t)
	dir := t.TempDir()
	public, err := audit.MarshalPublic(audit.NewSigner(key()).Public())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key.pem"), public, 0o600))
	for _, f := range stranger() {
		t.Run(f.name, func(t *testing.T) {
			l := makeLog(t, 100, 16)
			folder := t.TempDir()
			var anchors bytes.Buffer
			for _, note := range l.notes {
				anchors.Write(append(bytes.Clone(note), '\n'))
			}
			require.NoError(t, os.WriteFile(filepath.Join(folder, "file"), f.make(l), 0o600))
			args := []string{"--key", filepath.Join(dir, "key.pem"), filepath.Join(folder, "file")}
			if !bytes.HasPrefix(f.make(makeLog(t, 100, 16)), []byte("PK")) {
				require.NoError(t, os.WriteFile(filepath.Join(folder, "anchors"), anchors.Bytes(), 0o600))
				args = append(args, "--anchors", filepath.Join(folder, "anchors"))
			}
			ran := script(t, args...)
			require.True(t, strings.HasPrefix(string(ran.Out), f.want), string(ran.Out))
			require.Equal(t, !strings.HasPrefix(f.want, "BAD "), ran.Code == 0, "exit code")
			require.Equal(t, 1, strings.Count(string(ran.Out), "\n"), string(ran.Out))
		})
	}
}

// TestTheFormatsOfEveryMemberAreChecked: what a bundle has too much or too little.
func TestABundleHasWhatItsManifestSaysAndNothingElse(t *testing.T) {
	l := makeLog(t, 20, 10)
	whole := l.bundle()
	rewrite := func(change func(name string) (string, bool)) []byte {
		from, err := zip.NewReader(bytes.NewReader(whole), int64(len(whole)))
		require.NoError(t, err)
		var out bytes.Buffer
		to := zip.NewWriter(&out)
		for _, f := range from.File {
			name, keep := change(f.Name)
			if !keep {
				continue
			}
			w, err := to.Create(name)
			require.NoError(t, err)
			r, err := f.Open()
			require.NoError(t, err)
			_, err = io.Copy(w, r) //nolint:gosec // our own bundle
			require.NoError(t, err)
		}
		require.NoError(t, to.Close())
		return out.Bytes()
	}
	_, err := verifyText(l, rewrite(func(name string) (string, bool) { return name, true }))
	require.NoError(t, err)
	for _, member := range []string{"entries.jsonl", "checkpoints.txt", "log.pub.pem", "manifest.json"} {
		_, err := verifyText(l, rewrite(func(name string) (string, bool) { return name, name != member }))
		require.ErrorContains(t, err, "BAD seq=0", member)
		_, err = verifyText(l, rewrite(func(name string) (string, bool) { return strings.Replace(name, member, member+"x", 1), true }))
		require.ErrorContains(t, err, "BAD seq=0", member)
	}
}

// device is a key that others hold, as a security module does.
type device struct {
	public crypto.PublicKey
	sign   func(text []byte) ([]byte, error)
}

func (d device) Public() crypto.PublicKey { return d.public }

func (d device) Sign(_ io.Reader, text []byte, _ crypto.SignerOpts) ([]byte, error) {
	return d.sign(text)
}

// TestTheLogsKeyMayBeInADevice that must sign rightly.
func TestTheLogsKeyMayBeInADevice(t *testing.T) {
	good := device{key().Public(), func(text []byte) ([]byte, error) { return key().Sign(nil, text, crypto.Hash(0)) }}
	c := audit.Checkpoint{Size: 1, Root: audit.Leaf(nil)}
	signed, err := audit.NewSigner(good).Sign(c)
	require.NoError(t, err)
	ours, err := audit.NewSigner(key()).Sign(c)
	require.NoError(t, err)
	require.Equal(t, ours, signed)
	bad := device{key().Public(), func([]byte) ([]byte, error) { return make([]byte, 64), nil }}
	_, err = audit.NewSigner(bad).Sign(c)
	require.ErrorContains(t, err, "does not verify")
	_, err = audit.NewSigner(device{key().Public(), func([]byte) ([]byte, error) { return nil, io.ErrUnexpectedEOF }}).Sign(c)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	require.Nil(t, audit.NewSigner(other).Public())
	_, err = audit.NewSigner(other).Sign(c)
	require.ErrorContains(t, err, "not an Ed25519 key")
}
