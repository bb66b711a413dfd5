package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/lab/verifiers"
)

// judged is a file with what is given beside it, and what must be said of it.
type judged struct {
	verifiers.Original

	name string
	want func(t *testing.T, line string)
}

// tampered are all files that the other tests hold the product and docs/verify.py to.
func tampered(t *testing.T) (out []judged) {
	t.Helper()
	for _, f := range stranger() {
		l := makeLog(t, 100, 16)
		one := judged{name: f.name, Original: verifiers.Original{Bytes: f.make(l)}, want: func(t *testing.T, line string) {
			t.Helper()
			require.True(t, strings.HasPrefix(line, f.want), line)
		}}
		if bytes.HasPrefix(one.Bytes, []byte(`{`)) {
			one.Anchors = l.anchorFile()
		}
		out = append(out, one)
	}
	for _, c := range completenessCases() {
		out = append(out, judged{name: c.name, Original: verifiers.Original{Bytes: c.make(makeCounted(t)).zip(t)}, want: func(t *testing.T, line string) {
			t.Helper()
			told(t, c.want, line)
		}})
	}
	for _, says := range []bool{true, false} {
		l, _, notes := fallen(t, says)
		one := judged{name: fmt.Sprintf("a log that was set back, stated: %t", says), Original: verifiers.Original{Bytes: l.text(), Anchors: slices.Concat(slices.Concat(notes...), l.anchorFile())}}
		one.want = func(t *testing.T, line string) {
			t.Helper()
			require.Equal(t, says, strings.HasPrefix(line, "ok "), line)
		}
		out = append(out, one)
	}
	return out
}

// anchorFile is a file as anchors keep it.
func (l *log) anchorFile() (out []byte) {
	for _, note := range l.notes {
		out = append(append(out, note...), '\n')
	}
	return out
}

// publicPEM is the key of these logs.
func publicPEM(t *testing.T) []byte {
	t.Helper()
	public, err := audit.MarshalPublic(audit.NewSigner(key()).Public())
	require.NoError(t, err)
	return public
}

// TestTheVerifierInABrowserAgrees: docs/verifier/verify.html, written in a third language from docs/audit-format.md alone, tells the same of
// every file and of every vector.
func TestTheVerifierInABrowserAgrees(t *testing.T) {
	browser := verifiers.Browser(t)
	all := tampered(t)
	var v vectors
	text, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &v))
	all = append(all, judged{name: "the vector of a proof", Original: verifiers.Original{Bytes: []byte(v.Proof)}, want: func(t *testing.T, line string) {
		t.Helper()
		require.True(t, strings.HasPrefix(line, "ok 1 "), line)
	}})
	all = append(all, judged{name: "the vector of a proof of consistency", Original: verifiers.Original{Bytes: []byte(v.Consistency)}, want: func(t *testing.T, line string) {
		t.Helper()
		require.True(t, strings.HasPrefix(line, "ok 5 "), line)
	}})
	originals, files := []verifiers.Original{}, []verifiers.File{}
	for i := range all {
		originals, files = append(originals, all[i].Original), append(files, verifiers.File{Of: i})
	}
	for i, line := range browser(t, publicPEM(t), originals, files) {
		t.Run(all[i].name, func(t *testing.T) { all[i].want(t, line) })
	}
}

// mutants makes changed files out of right ones.
type mutants struct {
	*rand.Rand

	t         *testing.T
	originals []verifiers.Original
}

// bytesOf are random bytes.
func (m *mutants) bytesOf(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(m.Uint32())
	}
	return out
}

// edit is one random change of a text.
func (m *mutants) edit(text []byte) verifiers.Edit {
	at := m.IntN(len(text))
	few := min(1+m.IntN(20), len(text)-at)
	switch m.IntN(7) {
	case 0: // a bit falls over
		return verifiers.Edit{At: at, Gone: 1, New: []byte{text[at] ^ 1<<m.IntN(8)}}
	case 1: // another byte
		return verifiers.Edit{At: at, Gone: 1, New: m.bytesOf(1)}
	case 2: // something is missing
		return verifiers.Edit{At: at, Gone: few}
	case 3: // something is put in
		return verifiers.Edit{At: at, New: m.bytesOf(few)}
	case 4: // something stands there twice
		return verifiers.Edit{At: at, New: bytes.Clone(text[at : at+few])}
	case 5: // another letter or digit
		const letters = "ABCZabcz0189+/=\n \",:{}"
		return verifiers.Edit{At: at, Gone: 1, New: []byte{letters[m.IntN(len(letters))]}}
	}
	return verifiers.Edit{At: at, Gone: len(text) - at} // it breaks off
}

// repacked changes one member of a bundle, or its lines, and makes the manifest fit: what somebody can do who alters a bundle.
func (m *mutants) repacked(bundle []byte) []byte {
	all := (&log{t: m.t}).unzip(bundle)
	names := []string{}
	for name := range all {
		if len(all[name]) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	name := names[m.IntN(len(names))]
	lines := bytes.SplitAfter(all[name], []byte("\n"))
	switch i := m.IntN(len(lines)); m.IntN(4) {
	case 0:
		lines = slices.Delete(lines, i, i+1)
	case 1:
		lines = slices.Insert(lines, i, lines[m.IntN(len(lines))])
	case 2:
		j := m.IntN(len(lines))
		lines[i], lines[j] = lines[j], lines[i]
	default:
		lines = [][]byte{verifiers.Apply(all[name], []verifiers.Edit{m.edit(all[name])})}
	}
	all[name] = bytes.Join(lines, nil)
	if name != "manifest.json" {
		return all.zip(m.t)
	}
	packs := unpack(m.t, bundle)
	for i := range packs {
		if packs[i].name == name {
			packs[i].text = all[name]
		}
	}
	return pack(m.t, packs)
}

func (m *mutants) file() verifiers.File {
	of := m.IntN(len(m.originals))
	original := m.originals[of].Bytes
	if bytes.HasPrefix(original, []byte("PK")) && m.IntN(2) == 0 {
		return verifiers.File{Of: of, Edits: []verifiers.Edit{{Gone: len(original), New: m.repacked(original)}}}
	}
	return verifiers.File{Of: of, Edits: []verifiers.Edit{m.edit(original)}}
}

// verdictOf is what the product says of a file.
func verdictOf(t *testing.T, o verifiers.Original, file []byte) string {
	t.Helper()
	public := audit.NewSigner(key()).Public()
	var anchored []audit.Checkpoint
	var notes [][]byte
	if o.Anchors != nil {
		kept := audit.ReadAnchorFile(o.Anchors, public)
		anchored, notes = kept.Checkpoints, kept.Cosigned
	}
	var v audit.VerifiedLog
	var err error
	switch {
	case bytes.HasPrefix(file, []byte("PK")):
		v, err = audit.VerifyBundle(bytes.NewReader(file), int64(len(file)), public, anchored)
	case audit.IsProof(file):
		if v, err = audit.VerifyProof(file, public); err == nil {
			p, errParse := audit.ParseProof(file)
			require.NoError(t, errParse)
			notes = append(notes, p.Checkpoint)
		}
	case audit.IsConsistency(file):
		v, err = audit.VerifyConsistency(file, public)
	case anchored == nil, audit.FilteredRecords(bytes.NewReader(file)):
		return ""
	default:
		v, err = audit.VerifyRecords(bytes.NewReader(file), public, anchored)
	}
	if err == nil && o.Policy != "" {
		p, errParse := audit.ParsePolicy([]byte(o.Policy))
		require.NoError(t, errParse)
		if err = p.Confirm(&v, notes, public); err == nil {
			err = v.AsOf(time.Now())
		}
	}
	if err != nil {
		return err.Error()
	}
	return v.String()
}

// vouchedFile is a file as anchors keep it, in which a witness vouched for some of the checkpoints.
func (l *log) vouchedFile(t *testing.T, w audit.WitnessKey, private ed25519.PrivateKey, at map[int]time.Time) (out []byte) {
	t.Helper()
	for i, note := range l.notes {
		out = append(out, note...)
		if when, said := at[i]; said {
			line, err := w.Cosign(note, private, when)
			require.NoError(t, err)
			out = append(out, line...)
		}
		out = append(out, '\n')
	}
	return out
}

// TestThreeVerifiersJudgeWitnessesAlike: a tail for which nobody vouched, a witness whose clock is ahead, and a quorum that is not reached are
// refused by all three with the same words.
func TestThreeVerifiersJudgeWitnessesAlike(t *testing.T) {
	python, browser := verifiers.Python(t), verifiers.Browser(t)
	l := makeLog(t, 12, 5)
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	w, err := audit.NewWitnessKey("w.example", private.Public())
	require.NoError(t, err)
	_, other, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	silent, err := audit.NewWitnessKey("silent.example", other.Public())
	require.NoError(t, err)
	policy := fmt.Sprintf("witness w %s\nwitness silent %s\nquorum w\n", w, silent)
	newest := l.heads[2].At.Time()
	proof := l.proof(7)
	line, err := w.Cosign(proof.Checkpoint, private, time.Now().Add(time.Hour))
	require.NoError(t, err)
	ahead := proof
	ahead.Checkpoint = append(bytes.Clone(proof.Checkpoint), line...)
	kept := func(at map[int]time.Time) []byte { return l.vouchedFile(t, w, private, at) }
	cases := []struct {
		name string
		verifiers.Original

		want string
	}{
		{"a tail of an hour", verifiers.Original{Bytes: l.text(), Anchors: kept(map[int]time.Time{1: newest.Add(-time.Hour)})}, "ok 12 "},
		{"a tail of more than an hour", verifiers.Original{Bytes: l.text(), Anchors: kept(map[int]time.Time{1: newest.Add(-time.Hour - time.Second)})}, "BAD seq=10 nobody vouched for the last 2 entries: the witnesses vouched until "},
		{"no tail, however old", verifiers.Original{Bytes: l.text(), Anchors: kept(map[int]time.Time{2: newest.Add(-9 * time.Hour)})}, "ok 12 "},
		{"a whole bundle with a long tail", verifiers.Original{Bytes: l.bundle(), Anchors: kept(map[int]time.Time{0: newest.Add(-2 * time.Hour)})}, "BAD seq=5 nobody vouched for the last 7 entries"},
		{"a clock that is a little ahead", verifiers.Original{Bytes: l.text(), Anchors: kept(map[int]time.Time{2: time.Now().Add(4 * time.Minute)})}, "ok 12 "},
		{"a clock that is ahead", verifiers.Original{Bytes: l.text(), Anchors: kept(map[int]time.Time{2: time.Now().Add(6 * time.Minute)})}, "BAD seq=0 the witnesses vouched until "},
		{"a clock that is ahead, in a proof", verifiers.Original{Bytes: ahead.Marshal()}, "BAD seq=0 the witnesses vouched until "},
		{"nobody vouched", verifiers.Original{Bytes: l.text(), Anchors: kept(nil)}, "BAD seq=0 no checkpoint of it has the cosignatures that the policy demands"},
	}
	originals, files := []verifiers.Original{}, []verifiers.File{}
	for i := range cases {
		cases[i].Policy = policy
		originals, files = append(originals, cases[i].Original), append(files, verifiers.File{Of: i})
	}
	byPython, byBrowser := python(t, publicPEM(t), originals, files), browser(t, publicPEM(t), originals, files)
	for i := range cases {
		t.Run(cases[i].name, func(t *testing.T) {
			ours := verdictOf(t, cases[i].Original, cases[i].Bytes)
			require.True(t, strings.HasPrefix(ours, cases[i].want), ours)
			require.Equal(t, ours, byPython[i], "python")
			require.Equal(t, ours, byBrowser[i], "browser")
		})
	}
}

// TestNoVerifierAccusesAFilteredExport: its lines have gaps, which are nobody's fault, and no proof. Those of a whole export must have none.
func TestNoVerifierAccusesAFilteredExport(t *testing.T) {
	python, browser := verifiers.Python(t), verifiers.Browser(t)
	l := makeLog(t, 12, 5)
	var anchors, chosen, taken []byte
	for _, note := range l.notes {
		anchors = append(append(anchors, note...), '\n')
	}
	for _, i := range []int{4, 5, 11} {
		taken = append(append(taken, l.lines[i]...), '\n')
		chosen = append(append(chosen, audit.AppendFiltered(bytes.Clone(l.lines[i]))...), '\n')
	}
	for name, file := range map[string][]byte{"chosen": chosen, "nothing": {}, "lines taken out": taken} {
		want := ""
		if name == "lines taken out" {
			want = "BAD seq=0 missing or out of order"
		}
		one := verifiers.Original{Bytes: file, Anchors: anchors}
		all := []verifiers.Original{one}
		for by, told := range map[string]string{
			"product": verdictOf(t, one, file), "python": python(t, publicPEM(t), all, []verifiers.File{{}})[0], "browser": browser(t, publicPEM(t), all, []verifiers.File{{}})[0],
		} {
			require.True(t, strings.HasPrefix(told, want) && (told == "") == (want == ""), "%s of %s: %q", by, name, told)
		}
	}
}

// TestAReceiptIsComparedWithTheEntryThatItProves: the verifier in a browser refuses a receipt that says another thing than its proofs.
func TestAReceiptIsComparedWithTheEntryThatItProves(t *testing.T) {
	browser := verifiers.Browser(t)
	l := &log{t: t, signer: audit.NewSigner(key())}
	attempt, result := samples()[1], samples()[1]
	attempt.Kind, attempt.ID, attempt.Outcome, attempt.Closes, attempt.Private, attempt.Facts = "attempt", numbered(20), nil, nil, nil, `{"base":"https://itp.example","scheduledAt":"2026-11-21T12:00:00Z"}`
	result.Kind, result.ID, result.InteractionID, result.Private = "result", numbered(21), nil, nil
	result.Facts = `{"number":3,"attempt":"` + numbered(20).String() + `","url":"https://itp.example/w","httpStatus":500,"echo":"match","tls":{"version":"TLS 1.3","cipher":"C","peerFingerprint":"ab"}}`
	var tree audit.Range
	records := [][]byte{attempt.AppendRecord(nil, 0), result.AppendRecord(nil, 1)}
	for _, record := range records {
		l.kept.add(&tree, audit.Leaf(record))
		l.records = append(l.records, record)
	}
	head := audit.Checkpoint{Size: 2, Root: tree.Root(), At: audit.At(time.Date(2026, 11, 21, 12, 0, 9, 0, time.UTC))}
	note, err := l.signer.Sign(head)
	require.NoError(t, err)
	l.notes, l.heads = [][]byte{note}, []audit.Checkpoint{head}
	genuine := func() map[string]map[string]any {
		return map[string]map[string]any{
			"notification": {"id": result.NotificationID.String(), "kind": "pix-payment", "resourceId": *result.ResourceID},
			"attempt": {
				"number": 3, "interactionId": attempt.InteractionID.String(), "outcome": *result.Outcome, "httpStatus": 500, "url": "https://itp.example/w", "echo": "match",
				"tls": map[string]any{"version": "TLS 1.3", "cipher": "C", "receiverFingerprint": "ab"},
			},
			"proofs": {"attempt": string(l.proof(0).Marshal()), "result": string(l.proof(1).Marshal())},
		}
	}
	cases := map[string]struct {
		change func(r map[string]map[string]any)
		want   string
	}{
		"genuine":              {func(map[string]map[string]any) {}, "ok 2 "},
		"the result alone":     {func(r map[string]map[string]any) { r["proofs"]["attempt"] = nil }, "ok 1 "},
		"another notification": {func(r map[string]map[string]any) { r["notification"]["id"] = "forged" }, "BAD seq=0 the receipt says in notification.id "},
		"another resource":     {func(r map[string]map[string]any) { r["notification"]["resourceId"] = "p-2" }, "BAD seq=0 the receipt says in notification.resourceId "},
		"another kind":         {func(r map[string]map[string]any) { r["notification"]["kind"] = "enrollment" }, "BAD seq=0 the receipt says in notification.kind "},
		"another number":       {func(r map[string]map[string]any) { r["attempt"]["number"] = 2 }, "BAD seq=0 the receipt says in attempt.number "},
		"another interaction":  {func(r map[string]map[string]any) { r["attempt"]["interactionId"] = numbered(9).String() }, "BAD seq=0 the receipt says in attempt.interactionId "},
		"another outcome":      {func(r map[string]map[string]any) { r["attempt"]["outcome"] = "delivered" }, "BAD seq=1 the receipt says in attempt.outcome "},
		"another address":      {func(r map[string]map[string]any) { r["attempt"]["url"] = "https://evil.example" }, "BAD seq=1 the receipt says in attempt.url "},
		"another status":       {func(r map[string]map[string]any) { r["attempt"]["httpStatus"] = 202 }, "BAD seq=1 the receipt says in attempt.httpStatus "},
		"no TLS":               {func(r map[string]map[string]any) { r["attempt"]["tls"] = nil }, "BAD seq=1 the receipt says in attempt.tls.version "},
		"proofs exchanged":     {func(r map[string]map[string]any) { r["proofs"]["result"] = r["proofs"]["attempt"] }, "BAD seq=0 the receipt says in proofs.result "},
		"an outcome unproven":  {func(r map[string]map[string]any) { r["proofs"]["result"] = nil }, ""},
		"no proof":             {func(r map[string]map[string]any) { r["proofs"] = map[string]any{} }, ""},
		"a tampered proof": {func(r map[string]map[string]any) {
			r["proofs"]["result"] = strings.Replace(r["proofs"]["result"].(string), "index 1", "index 0", 1)
		}, "BAD seq=0 "},
	}
	names, originals, files := []string{}, []verifiers.Original{}, []verifiers.File{}
	for name, c := range cases {
		r := genuine()
		c.change(r)
		text, err := json.Marshal(map[string]any{"data": r})
		require.NoError(t, err)
		names, originals, files = append(names, name), append(originals, verifiers.Original{Bytes: text}), append(files, verifiers.File{Of: len(originals)})
	}
	for i, line := range browser(t, publicPEM(t), originals, files) {
		want := cases[names[i]].want
		require.True(t, strings.HasPrefix(line, want) && (want != "" || line == ""), "%s: %s", names[i], line)
	}
}

// accepted is the line of a verifier that accepts a file; empty when it refuses it.
func accepted(line string) string {
	if strings.HasPrefix(line, "ok ") || strings.HasPrefix(line, "genuine ") {
		return line
	}
	return ""
}

// utf16 is a text in ASCII as UTF-16, in which a line ends with a line feed as well.
func utf16(text []byte) (out []byte) {
	for _, c := range text {
		out = append(out, 0, c)
	}
	return out
}

// TestThreeVerifiersReadWhatIsWrittenOtherwiseAlike: JSON and numbers have other forms that some libraries take, and a file that one of the
// three reads in another way than the others could prove two things.
func TestThreeVerifiersReadWhatIsWrittenOtherwiseAlike(t *testing.T) {
	python, browser := verifiers.Python(t), verifiers.Browser(t)
	l := makeLog(t, 12, 5)
	l.secret = true
	c := makeCounted(t)
	whole := func(change func(m members)) []byte {
		m := c.of("alfa", 210, 380, 1, 3)
		change(m)
		return m.zip(t)
	}
	manifest := func(old, now string) []byte {
		packs := unpack(t, l.bundle(1, 3, 9))
		for i := range packs {
			if packs[i].name == "manifest.json" {
				packs[i].text = bytes.Replace(packs[i].text, []byte(old), []byte(now), 1)
			}
		}
		return pack(t, packs)
	}
	const mark = "\xef\xbb\xbf"
	bundle := func(name string, change func(text []byte) []byte) []byte {
		return whole(func(m members) { m[name] = change(m[name]) })
	}
	secret := l.unzip(l.bundle(1, 3, 9))
	secret["private.jsonl"] = append([]byte(mark), secret["private.jsonl"]...)
	single := c.lonely()
	cases := map[string]struct {
		file  []byte
		right bool
	}{
		"the counts, unchanged":                   {whole(func(members) {}), true},
		"the counts behind a byte order mark":     {bundle("counts.jsonl", func(text []byte) []byte { return append([]byte(mark), text...) }), false},
		"the counts in UTF-16":                    {bundle("counts.jsonl", utf16), false},
		"the counts with a position as text":      {bundle("counts.jsonl", func(text []byte) []byte { return bytes.Replace(text, []byte(`"seq":45`), []byte(`"seq":"45"`), 1) }), false},
		"private texts behind a byte order mark":  {secret.zip(t), false},
		"proofs behind a byte order mark":         {bundle("proofs.jsonl", func(text []byte) []byte { return append([]byte(mark), text...) }), false},
		"one entry in a window":                   {single.zip(t), true},
		"true for one entry in a window":          {single.with("counts.jsonl", `"count":1,`, `"count":true,`).zip(t), false},
		"a count with a fraction":                 {single.with("counts.jsonl", `"count":1,`, `"count":1.0,`).zip(t), false},
		"a manifest with context null":            {manifest("{", `{"context":null,`), true},
		"a manifest with a number as verifier":    {manifest(`"verifier": "arauto test"`, `"verifier": 5`), false},
		"the position of a proof":                 {l.proof(10).Marshal(), true},
		"the position of a proof in other digits": {bytes.Replace(l.proof(10).Marshal(), []byte("index 10"), []byte("index 1０"), 1), false},
	}
	names, originals, files := []string{}, []verifiers.Original{}, []verifiers.File{}
	for name, one := range cases {
		names, originals, files = append(names, name), append(originals, verifiers.Original{Bytes: one.file}), append(files, verifiers.File{Of: len(originals)})
	}
	byPython, byBrowser := python(t, publicPEM(t), originals, files), browser(t, publicPEM(t), originals, files)
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			for by, line := range map[string]string{"product": verdictOf(t, originals[i], originals[i].Bytes), "python": byPython[i], "browser": byBrowser[i]} {
				require.Equal(t, cases[name].right, accepted(line) != "", "%s: %s", by, line)
			}
		})
	}
}

// lonely is a bundle of a client of which there is one entry in a window.
func (c *counted) lonely() members {
	c.t.Helper()
	for n := range 5 {
		client := fmt.Sprint("client-", n)
		m := c.of(client, 210, 380, 1, 3)
		if bytes.Contains(m["counts.jsonl"], []byte(`"count":1,`)) {
			return m
		}
	}
	c.t.Fatal("no client has one entry in a window")
	return nil
}

// with is the bundle with another text in a member, once.
func (m members) with(name, old, now string) members {
	out := maps.Clone(m)
	out[name] = bytes.Replace(m[name], []byte(old), []byte(now), 1)
	return out
}

// TestThreeVerifiersAgreeOnMutations: of random changes of right files the product, docs/verify.py and the verifier in a browser accept the
// same ones, with the same words. ARAUTO_LONG=1 makes 10,000.
func TestThreeVerifiersAgreeOnMutations(t *testing.T) {
	python, browser := verifiers.Python(t), verifiers.Browser(t)
	n := 600
	if os.Getenv("ARAUTO_LONG") != "" {
		n = 10_000
	}
	l := makeLog(t, 12, 5)
	l.secret = true
	signed := l.proof(7)
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	w, err := audit.NewWitnessKey("w.example", private.Public())
	require.NoError(t, err)
	cosigned := signed
	line, err := w.Cosign(signed.Checkpoint, private, l.heads[2].At.Time())
	require.NoError(t, err)
	cosigned.Checkpoint = append(bytes.Clone(signed.Checkpoint), line...)
	tall, _, _ := long64(t, l.bundle(1, 3, 9), true)
	m := &mutants{Rand: rand.New(rand.NewPCG(20261129, uint64(n))), t: t, originals: []verifiers.Original{
		{Bytes: l.bundle()},
		{Bytes: l.bundle(1, 3, 9)},
		{Bytes: tall},
		{Bytes: makeCounted(t).of("alfa", 210, 380, 1, 3).zip(t)},
		{Bytes: l.text(), Anchors: l.anchorFile()},
		{Bytes: l.proof(7).Marshal()},
		{Bytes: l.consistency(0, 2).Marshal()},
		{Bytes: cosigned.Marshal(), Policy: fmt.Sprintf("witness w %s\nquorum w\n", w)},
		{Bytes: l.text(), Anchors: l.vouchedFile(t, w, private, map[int]time.Time{1: l.heads[1].At.Time().Add(time.Minute)}), Policy: fmt.Sprintf("witness w %s\nquorum w\n", w)},
	}}
	files := []verifiers.File{}
	for i := range m.originals {
		files = append(files, verifiers.File{Of: i})
	}
	for len(files) < len(m.originals)+n {
		files = append(files, m.file())
	}
	byPython, byBrowser := python(t, publicPEM(t), m.originals, files), browser(t, publicPEM(t), m.originals, files)
	right, differ := 0, 0
	for i, f := range files {
		o := m.originals[f.Of]
		file := verifiers.Apply(o.Bytes, f.Edits)
		ours := accepted(verdictOf(t, o, file))
		if ours != "" {
			right++
		}
		if i < len(m.originals) {
			require.NotEmpty(t, ours, "original %d", i)
		}
		if ours == accepted(byPython[i]) && ours == accepted(byBrowser[i]) {
			continue
		}
		if differ++; differ <= 10 {
			edit, _ := json.Marshal(f.Edits)
			t.Errorf("original %d, changed by %.300s:\n product %s\n python  %s\n browser %s", f.Of, edit, verdictOf(t, o, file), byPython[i], byBrowser[i])
		}
	}
	require.Zero(t, differ, "disagreements")
	t.Logf("%d files, of which %d are accepted by all three and the others by none", len(files), right)
}
