package audit_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/lab/verifiers"
)

// counted is a log of 70 entries, one every ten minutes, in which windows of twenty were counted: the entries about it
// stand at 25, 45 and 65. Checkpoints were signed over each of 20, 40, 60 and 70 entries.
type counted struct {
	*log
	entries []audit.Entry
	windows []audit.CountedWindow
	early   audit.CountedWindow // an untrue one at 67, from 60 on, which counts what is not there yet
}

var countedFrom = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// minute is an instant of the counted log as a filter has it.
func minute(n int) string {
	return countedFrom.Add(time.Duration(n) * time.Minute).Format("2006-01-02T15:04:05.000000Z")
}

func makeCounted(t *testing.T) *counted {
	t.Helper()
	c := &counted{log: &log{t: t, signer: audit.NewSigner(key())}}
	var tree audit.Range
	for i := range 70 {
		e := audit.Entry{ID: numbered(byte(i)), At: audit.At(countedFrom.Add(time.Duration(i) * 10 * time.Minute)), XID: int64(700 + i), Kind: []string{"attempt", "result"}[i%2], Outcome: ptr("x"), Facts: fmt.Sprintf(`{"n":%d}`, i)}
		switch {
		case i%20 == 5 && i > 20:
			first := i/20*20 - 20
			w := audit.CountedWindow{Seq: int64(i), Counts: c.count(first, first+20)}
			facts, err := json.Marshal(map[string]any{"scope": "since", "counts": audit.Commitment{From: int64(first), To: int64(first + 20), Clients: int64(len(w.Counts)), Root: w.Counts.Root().String()}})
			require.NoError(t, err)
			e.Kind, e.Outcome, e.Facts = "verification", ptr("ok"), string(facts)
			c.windows = append(c.windows, w)
		case i == 67:
			c.early = audit.CountedWindow{Seq: 67, Counts: c.count(60, 67)}
			facts, err := json.Marshal(map[string]any{"scope": "since", "counts": audit.Commitment{From: 60, To: 1000, Clients: int64(len(c.early.Counts)), Root: c.early.Counts.Root().String()}})
			require.NoError(t, err)
			e.Kind, e.Outcome, e.Facts = "verification", ptr("ok"), string(facts)
		case i%3 == 0:
			e.ClientID = ptr("alfa")
		case i%3 == 1:
			e.ClientID, e.Facts = ptr(fmt.Sprint("client-", i%5)), `{"late":true}`
		}
		record := e.AppendRecord(nil, int64(i))
		c.kept.add(&tree, audit.Leaf(record))
		c.entries, c.records, c.lines = append(c.entries, e), append(c.records, record), append(c.lines, audit.AppendLine(nil, record, audit.Leaf(record)))
		if n := i + 1; n%20 == 0 || n == 70 {
			head := audit.Checkpoint{Size: tree.Size(), Root: tree.Root(), At: audit.At(countedFrom.Add(time.Duration(n) * 10 * time.Minute))}
			signed, err := c.signer.Sign(head)
			require.NoError(t, err)
			c.notes, c.heads = append(c.notes, signed), append(c.heads, head)
		}
	}
	for i := range len(c.windows) + 1 {
		w := &c.early
		if i < len(c.windows) {
			w = &c.windows[i]
		}
		w.Record = c.records[w.Seq]
		var err error
		w.Path, err = audit.ProveInclusion(c.kept, w.Seq, 70)
		require.NoError(t, err)
	}
	return c
}

func (c *counted) count(from, to int) audit.ClientCounts {
	var counter audit.Counter
	for i := from; i < to; i++ {
		if client := c.entries[i].ClientID; client != nil {
			counter.Add(*client, audit.Leaf(c.records[i]))
		}
	}
	return counter.Counts()
}

// files are the members of a bundle.
type members map[string][]byte

// bundle makes the one of a filter about clients, with windows from one to another. wanted tells what the filter finds.
func (c *counted) bundle(filter map[string]string, clients []string, from, to int, wanted func(*audit.Entry) bool) members {
	c.t.Helper()
	var out bytes.Buffer
	b := audit.NewBundle(&out, c.signer.Public(), c.heads[3], filter, "test")
	ours := func(i int) bool {
		return c.entries[i].ClientID != nil && slices.Contains(clients, *c.entries[i].ClientID)
	}
	var found []int
	for i := range c.entries {
		if ours(i) && wanted(&c.entries[i]) {
			found = append(found, i)
			require.NoError(c.t, b.Entry(c.lines[i]))
		}
	}
	for _, i := range found {
		path, err := audit.ProveInclusion(c.kept, int64(i), 70)
		require.NoError(c.t, err)
		require.NoError(c.t, b.Proof(int64(i), path))
	}
	b.Counted(clients)
	for i := from * 20; i < min(to*20, 69); i++ { // 69 is what an untrue window leaves out
		if ours(i) && !wanted(&c.entries[i]) {
			require.NoError(c.t, b.Context(c.lines[i]))
		}
	}
	for i := from; i < to; i++ {
		require.NoError(c.t, b.Window(&c.windows[i]))
	}
	notes := [][]byte{c.notes[3]}
	if from > 0 {
		notes = [][]byte{c.notes[from-1], c.notes[3]}
	}
	require.NoError(c.t, b.Close(notes))
	return c.unzip(out.Bytes())
}

// of is the bundle of one client in a period in minutes; none: without an end.
func (c *counted) of(client string, begins, ends, from, to int) members {
	filter := map[string]string{"clientId": client, "from": minute(begins), "to": minute(ends)}
	return c.bundle(filter, []string{client}, from, to, func(e *audit.Entry) bool {
		at := e.At.String()
		return at >= filter["from"] && at < filter["to"]
	})
}

func (l *log) unzip(file []byte) members {
	l.t.Helper()
	from, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	require.NoError(l.t, err)
	out := members{}
	for _, f := range from.File {
		r, err := f.Open()
		require.NoError(l.t, err)
		out[f.Name], err = io.ReadAll(r)
		require.NoError(l.t, err)
	}
	return out
}

// zip makes a bundle of members, with a manifest that fits: what somebody can do who alters a bundle.
func (m members) zip(t *testing.T) []byte {
	t.Helper()
	var manifest map[string]any
	require.NoError(t, json.Unmarshal(m["manifest.json"], &manifest))
	lines := func(name string) int { return bytes.Count(m[name], []byte("\n")) }
	manifest["entries"], manifest["context"], manifest["windows"] = lines("entries.jsonl"), lines("context.jsonl"), lines("counts.jsonl")
	files := []map[string]any{}
	var out bytes.Buffer
	to := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(m)) {
		text := m[name]
		if name == "manifest.json" {
			continue
		}
		sum := sha256.Sum256(text)
		files = append(files, map[string]any{"name": name, "bytes": len(text), "sha256": hex.EncodeToString(sum[:])})
		w, err := to.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		require.NoError(t, err)
		_, err = w.Write(text)
		require.NoError(t, err)
	}
	manifest["files"] = files
	text, err := json.Marshal(manifest)
	require.NoError(t, err)
	w, err := to.Create("manifest.json")
	require.NoError(t, err)
	_, err = w.Write(text)
	require.NoError(t, err)
	require.NoError(t, to.Close())
	return out.Bytes()
}

// drop takes one line out of a member and returns it.
func (m members) drop(name string, n int) []byte {
	lines := bytes.SplitAfter(m[name], []byte("\n"))
	out := lines[n]
	m[name] = slices.Concat(slices.Delete(slices.Clone(lines), n, n+1)...)
	return out
}

// edit changes one window.
func (m members) edit(n int, change func(w map[string]any)) {
	lines := bytes.SplitAfter(m["counts.jsonl"], []byte("\n"))
	var w map[string]any
	if err := json.Unmarshal(lines[n], &w); err != nil {
		panic(err)
	}
	change(w)
	text, err := json.Marshal(w)
	if err != nil {
		panic(err)
	}
	lines[n] = append(text, '\n')
	m["counts.jsonl"] = slices.Concat(lines...)
}

// completenessCases are bundles, and what must be said of each, by either verifier.
func completenessCases() []struct {
	name string
	make func(c *counted) members
	want string
} {
	const complete, open = "ok # ; complete", "genuine # of 70 ; completeness not shown"
	usual := func(c *counted) members { return c.of("alfa", 210, 380, 1, 3) }
	kinds := func(c *counted) members {
		filter := map[string]string{"clientId": "alfa", "from": minute(210), "to": minute(380), "entry": "result,poll", "outcome": "x"}
		return c.bundle(filter, []string{"alfa"}, 1, 3, func(e *audit.Entry) bool {
			return e.Kind == "result" && e.At.String() >= minute(210) && e.At.String() < minute(380)
		})
	}
	change := func(of func(*counted) members, how func(c *counted, m members)) func(*counted) members {
		return func(c *counted) members { m := of(c); how(c, m); return m }
	}
	edited := func(how func(w map[string]any)) func(*counted) members {
		return change(usual, func(_ *counted, m members) { m.edit(0, how) })
	}
	client := func(w map[string]any) map[string]any { return w["clients"].([]any)[0].(map[string]any) }
	filter := func(change func(filter map[string]any, manifest map[string]any)) func(*counted, members) {
		return func(c *counted, m members) {
			var manifest map[string]any
			require.NoError(c.t, json.Unmarshal(m["manifest.json"], &manifest))
			change(manifest["filter"].(map[string]any), manifest)
			var err error
			m["manifest.json"], err = json.Marshal(manifest)
			require.NoError(c.t, err)
		}
	}
	since := func(c *counted, from string) members {
		f := map[string]string{"clientId": "alfa", "from": from, "to": minute(380)}
		return c.bundle(f, []string{"alfa"}, 0, 3, func(e *audit.Entry) bool { return e.At.String() < f["to"] })
	}
	nothing := func(c *counted) members { // that a filter found of alfa, so that all of it is context
		f := map[string]string{"clientId": "alfa", "from": minute(210), "to": minute(380)}
		return c.bundle(f, []string{"alfa"}, 1, 3, func(*audit.Entry) bool { return false })
	}
	return []struct {
		name string
		make func(c *counted) members
		want string
	}{
		{"everything of a client in a period", usual, complete},
		{"everything since the beginning of the log", func(c *counted) members { return c.of("alfa", 0, 380, 0, 3) }, complete},
		{"with filters that leave entries to the context", kinds, complete},
		{"late attempts", func(c *counted) members {
			f := map[string]string{"clientId": "client-2", "from": minute(210), "to": minute(380), "late": "true"}
			return c.bundle(f, []string{"client-2"}, 1, 3, func(e *audit.Entry) bool {
				return e.Kind == "attempt" && strings.Contains(e.Facts, "late") && e.At.String() >= minute(210) && e.At.String() < minute(380)
			})
		}, complete},
		{"two clients of an organisation", func(c *counted) members {
			f := map[string]string{"organisationId": "org", "from": minute(210), "to": minute(380)}
			return c.bundle(f, []string{"alfa", "client-1"}, 1, 3, func(e *audit.Entry) bool { return e.At.String() >= minute(210) && e.At.String() < minute(380) })
		}, complete},
		{"a client without an entry, between others", func(c *counted) members { return c.of("nobody", 210, 380, 1, 3) }, complete},
		{"a client without an entry, at an end of the list", func(c *counted) members { return c.of(outermost(c, true), 210, 380, 1, 3) }, complete},
		{"a client without an entry, at the other end", func(c *counted) members { return c.of(outermost(c, false), 210, 380, 1, 3) }, complete},

		{"the period begins before the windows", func(c *counted) members { return c.of("alfa", 190, 380, 1, 3) }, open},
		{"the period ends too late for what was counted", func(c *counted) members { return c.of("alfa", 210, 550, 1, 3) }, open},
		{"the last window is not there", func(c *counted) members { return c.of("alfa", 210, 380, 1, 2) }, open},
		{"the period has no end", func(c *counted) members {
			f := map[string]string{"clientId": "alfa", "from": minute(210)}
			return c.bundle(f, []string{"alfa"}, 1, 3, func(e *audit.Entry) bool { return e.At.String() >= minute(210) })
		}, open},
		{"the end is taken out of the filter", change(usual, filter(func(f, _ map[string]any) { delete(f, "to") })), "BAD seq="},
		{"the checkpoint at the beginning is not there", change(usual, func(c *counted, m members) { m["checkpoints.txt"] = append(bytes.Clone(c.notes[3]), '\n') }), open},
		{"a filter nobody can judge", change(usual, filter(func(f, _ map[string]any) { f["changeId"] = "x" })), open},
		{"the windows are taken out", change(usual, func(_ *counted, m members) { delete(m, "counts.jsonl") }), open},

		{"a record is taken out", change(usual, func(_ *counted, m members) { m.drop("entries.jsonl", 3); m.drop("proofs.jsonl", 3) }), "BAD seq="},
		{"all records are taken out", change(usual, func(_ *counted, m members) { delete(m, "entries.jsonl"); delete(m, "proofs.jsonl") }), "BAD seq="},
		{"a record of the context is taken out", change(kinds, func(_ *counted, m members) { m.drop("context.jsonl", 0) }), "BAD seq="},
		{"a record is hidden in the context", change(kinds, func(_ *counted, m members) {
			line := m.drop("entries.jsonl", 0)
			m.drop("proofs.jsonl", 0)
			m["context.jsonl"] = sortedLines(append(bytes.Clone(m["context.jsonl"]), line...))
		}), "BAD seq="},
		{"a record of the context is altered", change(kinds, func(_ *counted, m members) {
			m["context.jsonl"] = bytes.Replace(m["context.jsonl"], []byte(`"outcome":"x"`), []byte(`"outcome":"y"`), 1)
		}), "BAD seq="},
		{"an entry of another client among the context", change(usual, func(c *counted, m members) {
			m["context.jsonl"] = sortedLines(slices.Concat(m["context.jsonl"], c.lines[31], []byte("\n")))
		}), "BAD seq="},
		{"a count is altered", edited(func(w map[string]any) { client(w)["count"] = 2. }), "BAD seq=45 "},
		{"a root is altered", edited(func(w map[string]any) { client(w)["root"] = audit.EmptyRoot().String() }), "BAD seq=45 "},
		{"a client is said to have no entry", edited(func(w map[string]any) { w["clients"] = []any{map[string]any{"count": 0, "index": 0}} }), "BAD seq=45 "},
		{"the place of another client is shown", change(usual, func(c *counted, m members) {
			foreign := c.of("client-1", 210, 380, 1, 3)
			m["counts.jsonl"] = foreign["counts.jsonl"]
		}), "BAD seq=45 "},
		{"neighbours that are none", change(func(c *counted) members { return c.of("nobody", 210, 380, 1, 3) }, func(_ *counted, m members) {
			m.edit(0, func(w map[string]any) { beside := client(w)["beside"].([]any); client(w)["beside"] = beside[:1] })
		}), "BAD seq=45 "},
		{"a window is left out", change(func(c *counted) members { return c.of("alfa", 0, 380, 0, 3) }, func(_ *counted, m members) { m.drop("counts.jsonl", 1) }), "BAD seq=20 "},
		{"a window is shown twice", change(usual, func(_ *counted, m members) { m["counts.jsonl"] = append(m["counts.jsonl"], m["counts.jsonl"]...) }), "BAD seq="},
		{"the entry about a window is altered", edited(func(w map[string]any) { w["seq"] = 26. }), "BAD seq=26 "},
		{"the entry is not about a verification", change(usual, func(c *counted, m members) {
			m.edit(0, func(w map[string]any) {
				path, err := audit.ProveInclusion(c.kept, 30, 70)
				require.NoError(c.t, err)
				texts := make([]string, len(path))
				for i := range path {
					texts[i] = path[i].String()
				}
				w["seq"], w["record"], w["path"] = 30, c.records[30], texts
			})
		}), "BAD seq=30 "},
		{"the counts were written before what they count", func(c *counted) members {
			c.windows = append(c.windows, c.early)
			return c.of("alfa", 210, 550, 1, 4)
		}, "BAD seq=67 "},
		{"a time in other digits, so that no entry stands after it", change(usual, func(c *counted, m members) {
			m["context.jsonl"] = sortedLines(slices.Concat(m["entries.jsonl"], m["context.jsonl"]))
			delete(m, "entries.jsonl")
			delete(m, "proofs.jsonl")
			filter(func(f, _ map[string]any) { f["from"] = strings.Replace(f["from"].(string), "2", "２", 1) })(c, m)
		}), open},
		{"a day that no month has", change(usual, filter(func(f, _ map[string]any) { f["from"] = "2026-02-30T00:00:00.000000Z" })), open},
		{"an hour of one digit", change(usual, filter(func(f, _ map[string]any) { f["to"] = "2026-11-01T6:20:00.000000Z" })), open},
		{"a decimal comma", change(usual, filter(func(f, _ map[string]any) { f["to"] = strings.Replace(f["to"].(string), ".", ",", 1) })), open},
		{"a period from the year 0 on", func(c *counted) members { return since(c, "0000-01-01T00:00:00.000000Z") }, complete},
		{"a period that ends with the calendar", change(usual, filter(func(f, _ map[string]any) { f["to"] = "9999-12-31T23:59:59.999999Z" })), "BAD seq="},
		{"a kind that there is not", change(nothing, filter(func(f, _ map[string]any) { f["kind"] = "pix‑payment" })), open},
		{"an entry with a letter of another alphabet", change(nothing, filter(func(f, _ map[string]any) { f["entry"] = "r\u0435sult" })), open},
		{"an entry that is none beside one that is", change(nothing, filter(func(f, _ map[string]any) { f["entry"] = "result, attempt" })), open},
		{"an outcome with a space behind it", change(nothing, filter(func(f, _ map[string]any) { f["outcome"] = "timeout " })), open},
		{"no outcome", change(nothing, filter(func(f, _ map[string]any) { f["outcome"] = "" })), open},
		{"late, but not true", change(nothing, filter(func(f, _ map[string]any) { f["late"] = "false" })), open},
		{"no client in the filter", change(usual, filter(func(f, _ map[string]any) { delete(f, "clientId") })), open},
		{"the manifest names another client", change(usual, filter(func(_, m map[string]any) { m["clients"] = []string{"alfa", "client-1"} })), "BAD seq="},
	}
}

// outermost is a client without entries whose key lies before or behind all others of the second window.
func outermost(c *counted, first bool) string {
	for n := 0; ; n++ {
		name := fmt.Sprint("outer-", n)
		if i, _ := c.windows[1].Counts.Find(audit.ClientKey(name)); first && i == 0 || !first && i == len(c.windows[1].Counts) {
			return name
		}
	}
}

// sortedLines puts lines into the order of their positions.
func sortedLines(text []byte) []byte {
	lines := slices.DeleteFunc(bytes.SplitAfter(text, []byte("\n")), func(l []byte) bool { return len(l) == 0 })
	slices.SortFunc(lines, func(a, b []byte) int {
		x, errX := audit.Seq(a)
		y, errY := audit.Seq(b)
		if errX != nil || errY != nil {
			panic("not a line")
		}
		return int(x - y)
	})
	return slices.Concat(lines...)
}

// told compares what a verifier says with what it must say: # is a number, a root follows it.
func told(t *testing.T, want, line string) {
	t.Helper()
	if strings.HasPrefix(want, "BAD") {
		require.True(t, strings.HasPrefix(line, want), line)
		return
	}
	pattern := strings.Replace(strings.ReplaceAll(want, "#", `\d+`), " ;", ` [A-Za-z0-9+/]{43}=;`, 1)
	require.Regexp(t, "^"+pattern+"$", line)
}

// TestCompletenessIsShownOrNotClaimed is found F25, for both verifiers.
func TestCompletenessIsShownOrNotClaimed(t *testing.T) {
	_, err := exec.LookPath("python3")
	require.NoError(t, err)
	script := verifiers.Script(t)
	dir := t.TempDir()
	public, err := audit.MarshalPublic(audit.NewSigner(key()).Public())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key.pem"), public, 0o600))
	for _, c := range completenessCases() {
		t.Run(c.name, func(t *testing.T) {
			l := makeCounted(t)
			file := c.make(l).zip(t)
			verdict, err := audit.VerifyBundle(bytes.NewReader(file), int64(len(file)), l.signer.Public(), nil)
			line := verdict.String()
			if err != nil {
				line = err.Error()
			}
			told(t, c.want, line)
			require.True(t, err != nil || len(verdict.Notes) > 0, "a verdict about a part is explained")

			name := filepath.Join(t.TempDir(), "file")
			require.NoError(t, os.WriteFile(name, file, 0o600))
			for _, strict := range []bool{false, true} {
				if strict && !strings.HasPrefix(c.want, "genuine") {
					continue
				}
				args := []string{"--key", filepath.Join(dir, "key.pem"), name}
				if strict {
					args = append(args, "--require-complete")
				}
				ran := script(t, args...)
				told(t, c.want, strings.TrimSuffix(string(ran.Out), "\n"))
				require.Equal(t, strings.HasPrefix(c.want, "ok") || strings.HasPrefix(c.want, "genuine") && !strict, ran.Code == 0)
			}
		})
	}
}

// TestCountsAreStoredAndProvenForAnyNumberOfClients reads back what was written, and finds each client or its absence.
func TestCountsAreStoredAndProvenForAnyNumberOfClients(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "clients")
		var counter audit.Counter
		for i := range n {
			for range i%3 + 1 {
				counter.Add(fmt.Sprint(i), audit.Leaf(fmt.Append(nil, i)))
			}
		}
		counts := counter.Counts()
		require.Len(t, counts, n)
		again, err := audit.ParseCounts(counts.Marshal())
		require.NoError(t, err)
		require.Equal(t, counts, again)
		for i := range n {
			at, found := counts.Find(audit.ClientKey(fmt.Sprint(i)))
			require.True(t, found)
			require.EqualValues(t, i%3+1, counts[at].Count)
		}
		if n > 0 {
			_, err = audit.ParseCounts(counts.Marshal()[1:])
			require.Error(t, err)
		}
		if n > 1 {
			swapped := append(counts[1:2:2], counts[0])
			_, err = audit.ParseCounts(swapped.Marshal())
			require.Error(t, err)
		}
	})
}

// BenchmarkCounting is what one entry costs that is counted, among a hundred clients.
func BenchmarkCounting(b *testing.B) {
	var counter audit.Counter
	clients := make([]string, 100)
	for i := range clients {
		clients[i] = fmt.Sprint("client-", i)
	}
	leaf := audit.Leaf([]byte("x"))
	i := 0
	for b.Loop() {
		counter.Add(clients[i%100], leaf)
		i++
	}
}
