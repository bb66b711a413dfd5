package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/lab/cost"
	"github.com/arauto/arauto/internal/uuid"
)

// key is the same in every run, so that the vectors below are too. It is worth nothing.
func key() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

func ptr[T any](v T) *T { return &v }

func numbered(n byte) uuid.UUID {
	return uuid.UUID{n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
}

// samples has an entry with nothing, one with everything, and what could be spelt in more than one way.
func samples() []audit.Entry {
	at := audit.At(time.Date(2026, 11, 21, 12, 0, 0, 123456000, time.UTC))
	return []audit.Entry{
		{ID: numbered(0), At: at, XID: 741, Kind: "admin", Facts: "{}"},
		{
			ID: numbered(1), At: at + 1, XID: 742, Kind: "result", ClientID: ptr("c3a1"), ResourceKind: ptr(int16(2)), ResourceID: ptr("p-1"), Revision: ptr(int64(7)),
			NotificationID: ptr(numbered(2)), ChangeID: ptr(numbered(3)), InteractionID: ptr(numbered(4)), Number: ptr(int16(3)), Outcome: ptr("refused"), Closes: ptr("exhausted"),
			CreatedAt: ptr(at - 1), Facts: `{"httpStatus" : 503, "note":"\u0041ção"}`,
		},
		{ID: numbered(2), At: audit.Infinity, XID: -1, Kind: "", ClientID: ptr(""), ResourceID: ptr("quote\" back\\slash \t\n\x01\x7f é 日本"), CreatedAt: ptr(audit.MinusInfinity), Facts: "{\n\"a\": 1}"},
		{ID: numbered(3), At: 0, XID: 743, Kind: "change", Facts: `"{}"`},
		{ID: numbered(4), At: -1, XID: 744, Kind: "change", Facts: ` {}`},
	}
}

// branded is an entry of a deployment that serves several brands.
func branded() audit.Entry {
	e := samples()[1]
	e.Brand = ptr("Banco Exemplo")
	return e
}

type vector struct {
	Record string `json:"record"`
	Leaf   string `json:"leafHex"`
	Root   string `json:"rootHexOfTheLogSoFar"`
}

// private is an entry that commits to a text beside its record.
type private struct {
	Record  string `json:"record"`
	Leaf    string `json:"leafHex"`
	Private string `json:"private"`
	Line    string `json:"lineOfPrivateJSONL"`
}

type vectors struct {
	PublicKeyHex string   `json:"publicKeyHex"`
	Origin       string   `json:"origin"`
	Entries      []vector `json:"entries"`
	Checkpoint   string   `json:"checkpoint"`
	Proof        string   `json:"proofOfEntry1"`
	Line         string   `json:"lineOfEntry1InAnExport"`
	Consistency  string   `json:"proofFromCheckpoint3"`

	Branded  vector  `json:"entry1WithABrand"` // as the only entry of a log, at position 5 of it by its record
	Private  private `json:"entryWithAPrivateText"`
	Removed  string  `json:"factsOfAnAnnouncedRemoval"`
	LostNote string  `json:"statementOfLoss"`

	First vector `json:"entryOfAChangeWithItsFirstAttempt"`

	Counts     string `json:"countsOfTheseEntriesHex"`
	CountsRoot string `json:"rootHexOfTheCounts"`
}

// TestTheFormatsAreTheOnesWrittenDown holds what we make against testdata/vectors.json, which a second implementation
// can be held against too. ARAUTO_UPDATE=1 writes it anew; then the version of the format must change as well.
func TestTheFormatsAreTheOnesWrittenDown(t *testing.T) {
	signer := audit.NewSigner(key())
	got := vectors{PublicKeyHex: hex.EncodeToString(signer.Public()), Origin: audit.Origin(signer.Public())}
	var tree audit.Range
	var leaves memory
	for i, e := range samples() {
		record := e.AppendRecord(nil, int64(i))
		leaf := audit.Leaf(record)
		leaves.add(&tree, leaf)
		root := tree.Root()
		got.Entries = append(got.Entries, vector{string(record), hex.EncodeToString(leaf[:]), hex.EncodeToString(root[:])})
	}
	signed, err := signer.Sign(audit.Checkpoint{Size: tree.Size(), Root: tree.Root(), At: audit.At(time.Date(2026, 11, 21, 12, 0, 5, 0, time.UTC)), Skew: -1500 * time.Microsecond})
	require.NoError(t, err)
	got.Checkpoint = string(signed)
	path, err := audit.ProveInclusion(leaves, 1, tree.Size())
	require.NoError(t, err)
	got.Proof = string(audit.Proof{Record: []byte(got.Entries[1].Record), Seq: 1, Path: path, Checkpoint: signed}.Marshal())
	got.Line = string(audit.AppendLine(nil, []byte(got.Entries[1].Record), audit.Leaf([]byte(got.Entries[1].Record))))
	root3, err := hex.DecodeString(got.Entries[2].Root)
	require.NoError(t, err)
	older, err := signer.Sign(audit.Checkpoint{Size: 3, Root: audit.Hash(root3), At: audit.At(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))})
	require.NoError(t, err)
	path, err = audit.ProveConsistency(leaves, 3, tree.Size())
	require.NoError(t, err)
	got.Consistency = string(audit.Consistency{Path: path, Old: older, New: signed}.Marshal())
	brand := branded()
	record := brand.AppendRecord(nil, 5)
	leaf := audit.Leaf(record)
	got.Branded = vector{string(record), hex.EncodeToString(leaf[:]), hex.EncodeToString(leaf[:])}
	got.Private = privateVector(t)
	first := samples()[1]
	first.Kind, first.Outcome, first.Number, first.Closes, first.ChangeID, first.CreatedAt = "change", ptr("applied"), nil, nil, nil, nil
	first.Facts = `{"system":"a 1","source":"api","status":"ACSC","first":{"number":1,"base":"https://itp.example/hook"}}`
	record = first.AppendRecord(nil, 5)
	leaf = audit.Leaf(record)
	got.First = vector{string(record), hex.EncodeToString(leaf[:]), hex.EncodeToString(leaf[:])}
	got.Removed = `{"system":"a 1","partition":"entry_202001","first":0,"last":3,"entries":3,"digest":"` + tree.Root().String() + `"}`
	_, err = audit.ParseRemoval(got.Removed)
	require.NoError(t, err)
	lost, err := signer.SignLoss(statement(audit.Tree{Size: 3, Root: audit.Hash(root3)}, audit.Checkpoint{Size: tree.Size(), Root: tree.Root(), At: audit.At(time.Date(2026, 11, 21, 12, 0, 5, 0, time.UTC))}))
	require.NoError(t, err)
	got.LostNote = string(lost)
	var counter audit.Counter
	for i, e := range samples() {
		if e.ClientID != nil {
			counter.Add(*e.ClientID, audit.Leaf([]byte(got.Entries[i].Record)))
		}
	}
	countsRoot := counter.Counts().Root()
	got.Counts, got.CountsRoot = hex.EncodeToString(counter.Counts().Marshal()), hex.EncodeToString(countsRoot[:])
	text, err := json.MarshalIndent(got, "", "  ")
	require.NoError(t, err)
	if os.Getenv("ARAUTO_UPDATE") == "1" {
		require.NoError(t, os.WriteFile("testdata/vectors.json", append(text, '\n'), 0o600))
	}
	want, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(text))
}

// privateVector is an attempt that failed, at position 5.
func privateVector(t *testing.T) private {
	t.Helper()
	const text = `{"salt":"AAECAwQFBgcICQoLDA0ODw","system":"replica 1.0","local":"10.0.0.9:51234","detail":"dial tcp 10.0.0.9:51234-\u003e203.0.113.9:443: connection refused"}`
	e := samples()[1]
	e.Facts, e.Private = `{"private":"`+audit.Commit(text)+`","number":3}`, ptr(text)
	require.Empty(t, e.PrivateFault())
	record := e.AppendRecord(nil, 5)
	leaf := audit.Leaf(record)
	line, err := json.Marshal(text)
	require.NoError(t, err)
	return private{string(record), hex.EncodeToString(leaf[:]), text, fmt.Sprintf(`{"seq":5,"private":%s}`, line)}
}

// TestTheTreeIsTheOneOfRFC6962 uses the leaves and roots that Certificate Transparency's implementations share.
func TestTheTreeIsTheOneOfRFC6962(t *testing.T) {
	leaves := []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	roots := []string{
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	var tree audit.Range
	require.Equal(t, audit.Hash(sha256.Sum256(nil)), tree.Root())
	for i, leaf := range leaves {
		data, err := hex.DecodeString(leaf)
		require.NoError(t, err)
		tree.Append(audit.Leaf(data), nil)
		root := tree.Root()
		require.Equal(t, roots[i], hex.EncodeToString(root[:]))
	}
}

// memory keeps the stored levels of a tree: every eighth.
type memory map[[2]int64]audit.Hash

func (m *memory) add(tree *audit.Range, leaf audit.Hash) {
	if *m == nil {
		*m = memory{}
	}
	tree.Append(leaf, func(level int, n int64, h audit.Hash) {
		if level%audit.TileLevels == 0 {
			(*m)[[2]int64{int64(level), n}] = h
		}
	})
}

func (m memory) Hashes(level int, from, to int64) ([]audit.Hash, error) {
	var out []audit.Hash
	for n := from; n < to; n++ {
		h, ok := m[[2]int64{int64(level), n}]
		if !ok {
			return nil, fmt.Errorf("level %d has no %d", level, n)
		}
		out = append(out, h)
	}
	return out, nil
}

func TestTreesOfAnySizeAreReadBackProvenAndConsistent(t *testing.T) {
	var tree audit.Range
	var kept memory
	var leaves, roots []audit.Hash
	const most = 1500
	for i := range most {
		leaf := audit.Leaf(fmt.Append(nil, i))
		kept.add(&tree, leaf)
		leaves, roots = append(leaves, leaf), append(roots, tree.Root())
	}
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, most).Draw(t, "size")
		seq := rapid.Int64Range(0, size-1).Draw(t, "seq")
		old := rapid.Int64Range(1, size).Draw(t, "old")
		root := roots[size-1]
		again, err := audit.ReadRange(kept, size)
		require.NoError(t, err)
		require.Equal(t, root, again.Root())
		path, err := audit.ProveInclusion(kept, seq, size)
		require.NoError(t, err)
		require.NoError(t, audit.CheckInclusion(path, seq, leaves[seq], size, root))
		require.Error(t, audit.CheckInclusion(path, seq, audit.Leaf([]byte("other")), size, root))
		require.Error(t, audit.CheckInclusion(path, size, leaves[seq], size, root))
		proof, err := audit.ProveConsistency(kept, old, size)
		require.NoError(t, err)
		require.NoError(t, audit.CheckConsistency(proof, old, roots[old-1], size, root))
		require.Error(t, audit.CheckConsistency(proof, old, audit.Leaf(nil), size, root))
	})
}

// TestNoTwoEntriesHaveOneRecord changes each field of an entry in turn, and where text could run over into the next
// member it tries to make it do so.
func TestNoTwoEntriesHaveOneRecord(t *testing.T) {
	seen := map[string]string{}
	note := func(what string, e audit.Entry, seq int64) {
		record := string(e.AppendRecord(nil, seq))
		require.Empty(t, seen[record], "%s has the record of %s", what, seen[record])
		seen[record] = what
		require.NotContains(t, record, "\n")
		got, err := audit.Seq([]byte(record))
		require.NoError(t, err)
		require.Equal(t, seq, got)
	}
	for i, e := range samples() {
		require.True(t, json.Valid(e.AppendRecord(nil, 5)), "sample %d", i)
		note(fmt.Sprint("sample ", i), e, 4)
	}
	base := branded()
	note("branded", base, 5)
	note("another position", base, 6)
	for i := range reflect.TypeFor[audit.Entry]().NumField() {
		e := base
		field := reflect.ValueOf(&e).Elem().Field(i)
		name := reflect.TypeFor[audit.Entry]().Field(i).Name
		if name == "Private" { // the one column beside the record: TestThePrivateTextIsTheOneThatTheFactsCommitTo
			e.Private = ptr("{}")
			require.Equal(t, base.AppendRecord(nil, 5), e.AppendRecord(nil, 5))
			require.NotEmpty(t, e.PrivateFault())
			continue
		}
		if field.Kind() == reflect.Pointer {
			value := field.Elem()
			field.Set(reflect.Zero(field.Type()))
			note(name+" NULL", e, 5)
			field.Set(reflect.New(field.Type().Elem()))
			note(name+" empty", e, 5)
			field.Elem().Set(value)
			field = field.Elem()
		}
		switch field.Kind() {
		case reflect.String:
			field.SetString(field.String() + " ")
		case reflect.Array:
			field.Index(15).SetUint(99)
		default:
			field.SetInt(field.Int() + 1)
		}
		note(name, e, 5)
	}
	e := base
	e.ClientID, e.ResourceKind = ptr(`c3a1","resourceKind":2`), nil
	note("a member inside of a text", e, 5)
	e = base
	e.Facts = `{}` + e.Facts
	note("facts that are no JSON", e, 5)
}

func TestACheckpointIsBelievedOnlyWithItsSignature(t *testing.T) {
	signer := audit.NewSigner(key())
	c := audit.Checkpoint{Size: 12, Root: audit.Leaf(nil), At: audit.At(time.Now()), Skew: 3 * time.Millisecond}
	signed, err := signer.Sign(c)
	require.NoError(t, err)
	got, err := audit.OpenCheckpoint(signed, signer.Public())
	require.NoError(t, err)
	require.Equal(t, c, got)
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	_, err = audit.OpenCheckpoint(signed, other.Public().(ed25519.PublicKey))
	require.ErrorContains(t, err, "not signed with this key")
	for i := range signed {
		if i == len(signed)-3 {
			continue // the last digit of base64 has two bits that mean nothing
		}
		broken := bytes.Clone(signed)
		broken[i] ^= 1
		_, err := audit.OpenCheckpoint(broken, signer.Public())
		require.Error(t, err, "byte %d", i)
	}
	verifier, err := note.NewEd25519VerifierKey(audit.Origin(signer.Public()), signer.Public())
	require.NoError(t, err)
	v, err := note.NewVerifier(verifier)
	require.NoError(t, err)
	opened, err := note.Open(signed, note.VerifierList(v))
	require.NoError(t, err, "as any reader of signed notes")
	require.Len(t, opened.Sigs, 1)
}

func TestAFileOfCheckpointsIsReadWhole(t *testing.T) {
	signer := audit.NewSigner(key())
	var file []byte
	for i := range int64(5) {
		signed, err := signer.Sign(audit.Checkpoint{Size: i + 1})
		require.NoError(t, err)
		file = append(append(file, signed...), '\n')
	}
	all, err := audit.OpenCheckpoints(file, signer.Public())
	require.NoError(t, err)
	require.Len(t, all, 5)
	require.Equal(t, int64(5), all[4].Size)
	_, err = audit.OpenCheckpoints(file[:len(file)-10], signer.Public())
	require.Error(t, err, "torn")
	_, err = audit.OpenCheckpoints(append(file, "hello\n"...), signer.Public())
	require.Error(t, err)
}

func TestKeysAreReadAsOpenSSLWritesThem(t *testing.T) {
	private, err := audit.MarshalPrivate(key())
	require.NoError(t, err)
	block, rest := pem.Decode(private)
	require.NotNil(t, block)
	require.Equal(t, "PRIVATE KEY", block.Type)
	require.Empty(t, rest)
	require.Equal(t, pem.EncodeToMemory(block), private)
	again, err := audit.ParsePrivate(private)
	require.NoError(t, err)
	require.True(t, again.Equal(key()))
	public, err := audit.MarshalPublic(key().Public().(ed25519.PublicKey))
	require.NoError(t, err)
	read, err := audit.ParsePublic(public)
	require.NoError(t, err)
	require.True(t, read.Equal(key().Public()))
	for _, text := range [][]byte{nil, []byte("x"), private} {
		_, err := audit.ParsePublic(text)
		require.Error(t, err)
	}
	for _, text := range [][]byte{nil, []byte("x"), public} {
		_, err := audit.ParsePrivate(text)
		require.Error(t, err)
	}
}

func first[T any](v T, _ error) T { return v }

// FuzzFiles: whatever a file holds, a verifier neither panics nor believes it.
func FuzzFiles(f *testing.F) {
	signer := audit.NewSigner(key())
	signed, err := signer.Sign(audit.Checkpoint{Size: 1, Root: audit.Leaf([]byte("x"))})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("PK\x03\x04"))
	f.Add(audit.Proof{Record: []byte(`{"v":1,"seq":0,"id":"x"}`), Checkpoint: signed}.Marshal())
	f.Add(audit.Consistency{Old: signed, New: signed}.Marshal())
	f.Add([]byte(`{"v":1,"seq":0,"at":"2026-01-01T00:00:00.000000Z","leaf":"` + base64.StdEncoding.EncodeToString(make([]byte, 32)) + `"}` + "\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		require.Empty(t, cost.Parser.Within(len(file), func() { _, _ = audit.VerifyBundle(bytes.NewReader(file), int64(len(file)), signer.Public(), nil) }))
		require.Empty(t, cost.Parser.Within(len(file), func() { _, _ = audit.VerifyProof(file, signer.Public()) }))
		_, err := audit.VerifyBundle(bytes.NewReader(file), int64(len(file)), signer.Public(), nil)
		require.Error(t, err)
		_, err = audit.VerifyProof(file, signer.Public())
		require.Error(t, err)
		if _, err = audit.VerifyConsistency(file, signer.Public()); err == nil {
			old, later, err := first(audit.ParseConsistency(file)).Check(signer.Public())
			require.NoError(t, err)
			require.LessOrEqual(t, old.Size, later.Size)
		}
		_, err = audit.VerifyRecords(bytes.NewReader(file), signer.Public(), []audit.Checkpoint{{Size: 1, Root: audit.Leaf([]byte("x"))}})
		require.Error(t, err)
	})
}
