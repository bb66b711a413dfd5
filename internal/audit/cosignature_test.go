package audit

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/arauto/arauto/internal/lab/verifiers"
)

// vouching is a witness with its private key.
type vouching struct {
	WitnessKey

	key ed25519.PrivateKey
}

func newVouching(t *testing.T, name string) vouching {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	w, err := NewWitnessKey(name, public)
	require.NoError(t, err)
	return vouching{w, private}
}

func (v vouching) cosign(t *testing.T, signed []byte, at time.Time) []byte {
	t.Helper()
	line, err := v.Cosign(signed, v.key, at)
	require.NoError(t, err)
	return append([]byte(string(signed)), line...)
}

func newLog(t *testing.T) *Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	return NewSigner(private)
}

var vouchedAt = time.Date(2026, 11, 21, 12, 0, 9, 0, time.UTC)

func TestACosignatureIsWhatTheSpecificationSays(t *testing.T) {
	log, w := newLog(t), newVouching(t, "audit.example/w1")
	signed, err := log.Sign(Checkpoint{Size: 5, Root: EmptyRoot(), At: At(vouchedAt)})
	require.NoError(t, err)
	both := w.cosign(t, signed, vouchedAt)

	// The message, put together here as C2SP tlog-cosignature describes it.
	said, err := ReadCosignatures(both, log.Public(), []WitnessKey{w.WitnessKey})
	require.NoError(t, err)
	require.Len(t, said, 1)
	require.Equal(t, vouchedAt, said[0].At)
	text, _, _ := strings.Cut(string(signed), "\n\n")
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s\n", vouchedAt.Unix(), text)
	opened, err := note.Open(both, note.VerifierList(stub{w.Name, w.KeyHash(), func(_, signature []byte) bool {
		return ed25519.Verify(w.Key, []byte(message), signature[8:])
	}}))
	require.NoError(t, err)
	require.Len(t, opened.Sigs, 1)

	// The checkpoint stays the same to those who know nothing of witnesses.
	plain, err := OpenCheckpoint(both, log.Public())
	require.NoError(t, err)
	require.Equal(t, int64(5), plain.Size)
	parsed, err := ParseWitnessKey(w.String())
	require.NoError(t, err)
	require.Equal(t, w.WitnessKey, parsed)
}

// stub is a verifier of one form.
type stub struct {
	name   string
	hash   uint32
	verify func(text, signature []byte) bool
}

func (s stub) Name() string                 { return s.name }
func (s stub) KeyHash() uint32              { return s.hash }
func (s stub) Verify(text, sig []byte) bool { return s.verify(text, sig) }

func TestAForgedCosignatureIsRefusedAndAStrangersIsPassedOver(t *testing.T) {
	log, w, stranger := newLog(t), newVouching(t, "audit.example/w1"), newVouching(t, "other.example")
	signed, err := log.Sign(Checkpoint{Size: 5, Root: EmptyRoot(), At: At(vouchedAt)})
	require.NoError(t, err)
	said, err := ReadCosignatures(stranger.cosign(t, signed, vouchedAt), log.Public(), []WitnessKey{w.WitnessKey})
	require.NoError(t, err)
	require.Empty(t, said)
	good := string(w.cosign(t, signed, vouchedAt))
	forged := good[:len(good)-10] + "AAAAAAA" + good[len(good)-3:]
	_, err = ReadCosignatures([]byte(forged), log.Public(), []WitnessKey{w.WitnessKey})
	require.Error(t, err)
	_, err = ReadCosignatures([]byte(strings.Replace(good, "\n5\n", "\n6\n", 1)), log.Public(), []WitnessKey{w.WitnessKey})
	require.Error(t, err)
	_, err = ReadCosignatures([]byte(good), newLog(t).Public(), []WitnessKey{w.WitnessKey})
	require.EqualError(t, err, "the checkpoint is not signed with this key")
	_, err = w.Cosign([]byte("no note"), w.key, vouchedAt)
	require.Error(t, err)
	_, err = w.Cosign(signed, stranger.key, vouchedAt)
	require.ErrorContains(t, err, "does not verify")
}

func TestTheKeyOfAWitnessIsReadStrictly(t *testing.T) {
	w := newVouching(t, "w")
	good := w.String()
	for name, bad := range map[string]string{
		"nothing": "", "a log's key": VerifierKey(w.Key), "another hash": strings.Replace(good, good[2:10], "00000000", 1), "no name": good[1:],
		"cut": good[:len(good)-4], "spaces": "a " + good,
	} {
		_, err := ParseWitnessKey(bad)
		require.Error(t, err, name)
	}
	_, err := NewWitnessKey("with space", w.Key)
	require.Error(t, err)
}

func TestARequestOfTheWitnessProtocolIsReadStrictly(t *testing.T) {
	r := CosignRequest{Old: 3, Path: []Hash{EmptyRoot(), {1}}, Checkpoint: []byte("a\n1\nb\n\n— x y\n")}
	again, err := ParseCosignRequest(r.Marshal())
	require.NoError(t, err)
	require.Equal(t, r, again)
	for _, bad := range []string{
		"", "old 3\n", "old 03\n\nx", "old -1\n\nx", "old +1\n\nx", "new 3\n\nx", "old 3\nAAAA\n\nx", "old 3\r\n\nx", "old 3 \n\nx",
		"old 1\n" + strings.Repeat(EmptyRoot().String()+"\n", 64) + "\nx",
	} {
		_, err := ParseCosignRequest([]byte(bad))
		require.Error(t, err, "%q", bad)
	}
}

func TestAPolicyIsReadAsC2SPWritesIt(t *testing.T) {
	log := newLog(t)
	x1, x2, x3, y := newVouching(t, "x1"), newVouching(t, "x2"), newVouching(t, "x3"), newVouching(t, "y")
	text := fmt.Sprintf("# ours\nlog %s https://log.example\n\nwitness X1 %s https://x1.example/\n\twitness X2 %s\nwitness X3 %s\ngroup X 2 X1 X2 X3\nwitness Y %s\ngroup both all X Y\nquorum both\n",
		VerifierKey(log.Public()), x1, x2, x3, y)
	p, err := ParsePolicy([]byte(text))
	require.NoError(t, err)
	require.Equal(t, "https://x1.example", p.Witnesses[0].URL)
	require.True(t, p.Knows(log.Public()))
	require.False(t, p.Knows(newLog(t).Public()))
	said := func(at int, v vouching) Cosignature {
		return Cosignature{Witness: v.WitnessKey, At: vouchedAt.Add(time.Duration(at) * time.Second)}
	}
	until, reached := p.Until([]Cosignature{said(0, x1), said(9, x2), said(5, x3), said(7, y)})
	require.True(t, reached)
	require.Equal(t, vouchedAt.Add(5*time.Second), until, "x2, x3 and y vouched then or later")
	_, reached = p.Until([]Cosignature{said(0, x1), said(0, x2), said(0, x3)})
	require.False(t, reached)
	_, reached = p.Until([]Cosignature{said(0, x1), said(1, x1), said(0, y)})
	require.False(t, reached, "one witness counts once")
	_, reached = p.Until([]Cosignature{said(0, x1), said(0, newVouching(t, "x2")), said(0, y)})
	require.False(t, reached, "a name is not a key")
	none, err := ParsePolicy([]byte("quorum none\n"))
	require.NoError(t, err)
	require.False(t, none.Demands())
	_, reached = none.Until(nil)
	require.True(t, reached)

	for want, bad := range map[string]string{
		"no line `quorum NAME`":              "witness a " + x1.String(),
		"line 1: not one of":                 "quorum",
		"line 2: a second quorum":            "quorum none\nquorum none",
		`the quorum "a" is not defined`:      "quorum a\nwitness a " + x1.String(),
		"a second witness with the same key": "witness a " + x1.String() + "\nwitness b " + x1.String() + "\nquorum a",
		`the name "a" is taken`:              "witness a " + x1.String() + "\nwitness a " + x2.String() + "\nquorum a",
		`the name "none" is taken`:           "witness none " + x1.String() + "\nquorum none",
		"is a member of a group already":     "witness a " + x1.String() + "\ngroup g any a\ngroup h any a\nquorum h",
		`"b" is not defined`:                 "witness a " + x1.String() + "\ngroup g any a b\nquorum g",
		`"3" is not all, any or a number`:    "witness a " + x1.String() + "\ngroup g 3 a\nquorum g",
		"a second log with the same key":     "log " + VerifierKey(log.Public()) + "\nlog " + VerifierKey(log.Public()) + "\nquorum none",
		"whose type is 0x04":                 "witness a " + VerifierKey(log.Public()) + "\nquorum a",
		"is not an http(s) URL":              "witness a " + x1.String() + " ftp://x\nquorum a",
		"control character":                  "quorum none\r\n",
		"NAME+HASH+BASE64":                   "log x\nquorum none",
	} {
		_, err := ParsePolicy([]byte(bad))
		require.ErrorContains(t, err, want)
	}
}

// TestBothVerifiersJudgeAPolicyAlike compares Policy.Confirm with docs/verify.py, over a proof of one entry.
func TestBothVerifiersJudgeAPolicyAlike(t *testing.T) {
	script := verifiers.Script(t)
	log, a, b, c := newLog(t), newVouching(t, "a"), newVouching(t, "b"), newVouching(t, "c")
	record := []byte(`{"v":1,"seq":0,"id":"x"}`)
	signed, err := log.Sign(Checkpoint{Size: 1, Root: Leaf(record), At: At(vouchedAt)})
	require.NoError(t, err)
	later := a.cosign(t, signed, time.Now().Add(time.Hour))
	two := b.cosign(t, a.cosign(t, signed, vouchedAt), vouchedAt.Add(time.Minute))
	names := fmt.Sprintf("witness A %s\nwitness B %s\nwitness C %s\n", a, b, c)
	dir := t.TempDir()
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		return path
	}
	public, err := MarshalPublic(log.Public())
	require.NoError(t, err)
	key := file("key.pem", public)
	for name, one := range map[string]struct {
		policy string
		note   []byte
		want   string // "": the quorum is reached
	}{
		"one of them":                {names + "quorum A", two, ""},
		"two of three":               {names + "group g 2 A B C\nquorum g", two, ""},
		"all of them":                {names + "group g all A B C\nquorum g", two, "BAD seq=0 no checkpoint of it has the cosignatures that the policy demands: witnesses did not vouch for it"},
		"not vouched":                {names + "quorum C", two, "BAD seq=0 no checkpoint"},
		"nobody":                     {names + "quorum A", signed, "BAD seq=0 no checkpoint"},
		"none demanded":              {names + "quorum none", signed, ""},
		"another log":                {"log " + VerifierKey(newLog(t).Public()) + "\nquorum none", signed, "BAD seq=0 the policy names other logs"},
		"rubbish in base64":          {names + "quorum B", []byte(strings.Replace(string(two), "==\n", "==*\n", 2)), "BAD seq=0 "},
		"another alphabet":           {names + "quorum B", []byte(strings.TrimSuffix(string(two), "==\n") + "-_==\n"), "BAD seq=0 "},
		"bits behind the end":        {names + "quorum B", []byte(strings.TrimSuffix(string(two), two64End(two)+"==\n") + oddEnd(two) + "==\n"), "BAD seq=1 the checkpoint"},
		"a line in a line":           {names + "quorum B", []byte(strings.Replace(string(two), "\n— b ", "\u2028— b ", 1)), "BAD seq=0 "},
		"a line in a stranger's":     {names + "quorum B", []byte(strings.Replace(string(two), "\n— b ", "\n— x AAAAAAAA\u0085— b ", 1)), "BAD seq=0 "},
		"a control character":        {names + "quorum B", []byte(string(two) + "— x\x01 AAAAAAAA\n"), "BAD seq=0 "},
		"a stranger's without bytes": {names + "quorum B", []byte(string(two) + "— x AAAA\n"), "BAD seq=0 "},
		"a stranger's with odd bits": {names + "quorum B", []byte(string(two) + "— x AAAAAAB=\n"), ""},
		"yet to come":                {names + "quorum A", later, "BAD seq=0 the witnesses vouched until "},
		"a forgery":                  {names + "quorum A", flipped(two, len(two)-30), "BAD seq=1 the checkpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := ParsePolicy([]byte(one.policy))
			require.NoError(t, err)
			v := VerifiedLog{Entries: 1, Size: 1, Root: Leaf(record)}
			if err = p.Confirm(&v, [][]byte{one.note}, log.Public()); err == nil {
				err = v.AsOf(time.Now())
			}
			proof := file("proof.txt", Proof{Record: record, Checkpoint: one.note}.Marshal())
			ran := script(t, "--key", key, "--policy", file("policy.txt", []byte(one.policy)), proof)
			out, notes := string(ran.Out), string(ran.Problems)
			if one.want == "" {
				require.NoError(t, err)
				require.Equal(t, "ok 1 "+Leaf(record).String()+"\n", out, notes)
				require.Equal(t, strings.Join(v.Notes, "\n"), strings.TrimSpace(strings.ReplaceAll(notes, "note: ", "")))
				return
			}
			require.ErrorContains(t, err, one.want)
			require.Contains(t, out, one.want, notes)
		})
	}
}

// two64End is the last letter of base64 before the padding at the end of a note. Four of its six bits are of no byte.
func two64End(signed []byte) string { return string(signed[len(signed)-4]) }

// oddEnd is that letter with another such bit.
func oddEnd(signed []byte) string { return string(signed[len(signed)-4] + 1) }

// flipped is a text with another letter of base64 at a place.
func flipped(text []byte, at int) []byte {
	out := []byte(string(text))
	out[at] = 'A' + (out[at]-'A'+1)%26
	return out
}

func TestAWholeLogIsWitnessedUpToItsNewestCosignedCheckpoint(t *testing.T) {
	log, w := newLog(t), newVouching(t, "w")
	sign := func(size int64, root Hash) []byte {
		signed, err := log.Sign(Checkpoint{Size: size, Root: root, At: At(vouchedAt)})
		require.NoError(t, err)
		return signed
	}
	p, err := ParsePolicy(fmt.Appendf(nil, "witness W %s\nquorum W\n", w))
	require.NoError(t, err)
	older, middle, newest := w.cosign(t, sign(3, Hash{3}), vouchedAt), w.cosign(t, sign(5, Hash{5}), vouchedAt), sign(9, Hash{9})
	v := VerifiedLog{Entries: 9, Size: 9, Root: Hash{9}, whole: true}
	require.NoError(t, p.Confirm(&v, [][]byte{older, middle, newest}, log.Public()))
	require.Equal(t, int64(5), v.Witnessed)
	require.Equal(t, []string{
		"witness W vouched for the first 5 entries until 2026-11-21T12:00:09Z", "nobody vouched for the last 4 entries",
	}, v.Notes)
	v = VerifiedLog{Entries: 9, Size: 9, Root: Hash{9}, SignedAt: At(vouchedAt.Add(WitnessedWithin)), whole: true}
	require.NoError(t, p.Confirm(&v, [][]byte{older, middle, newest}, log.Public()))
	v = VerifiedLog{Entries: 9, Size: 9, Root: Hash{9}, SignedAt: At(vouchedAt.Add(WitnessedWithin + time.Second)), whole: true}
	require.EqualError(t, p.Confirm(&v, [][]byte{older, middle, newest}, log.Public()), "BAD seq=5 nobody vouched for the last 4 entries: the witnesses vouched until "+
		"2026-11-21T12:00:09Z, and the newest checkpoint is of 2026-11-21T13:00:10.000000Z")
	p.Within = 2 * time.Hour
	require.NoError(t, p.Confirm(&v, [][]byte{older, middle, newest}, log.Public()))
	v = VerifiedLog{Entries: 1, Size: 9, Root: Hash{9}}
	require.Error(t, p.Confirm(&v, [][]byte{older, middle, newest}, log.Public()), "a single entry is proven by its own checkpoint")
	v = VerifiedLog{Entries: 9, Size: 9, Root: Hash{9}, whole: true, losses: []Loss{{Kept: Tree{Size: 3}, Lost: []Checkpoint{{Size: 6, At: At(vouchedAt)}}}}}
	require.NoError(t, p.Confirm(&v, [][]byte{older, middle, newest}, log.Public()))
	require.Equal(t, int64(3), v.Witnessed, "a checkpoint of the lost part vouches for nothing that is here")
}
