package witness

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/arauto/arauto/internal/audit"
)

// foreignLog is a log that is not ours, made with Go's own packages: its checkpoints have three lines. Its leaves are numbers.
type foreignLog struct {
	t      *testing.T
	signer note.Signer
	key    audit.LogKey
	hashes []tlog.Hash
	size   int64
}

func newForeignLog(t *testing.T, name string) *foreignLog {
	t.Helper()
	private, public, err := note.GenerateKey(nil, name)
	require.NoError(t, err)
	l := &foreignLog{t: t}
	l.signer, err = note.NewSigner(private)
	require.NoError(t, err)
	l.key, err = audit.ParseLogKey(public)
	require.NoError(t, err)
	return l
}

// fork is another history with the same key, from a size on.
func (l *foreignLog) fork(size int64) *foreignLog {
	f := &foreignLog{t: l.t, signer: l.signer, key: l.key}
	for n := range size {
		f.add(fmt.Sprint(n))
	}
	return f
}

func (l *foreignLog) ReadHashes(indexes []int64) (out []tlog.Hash, err error) {
	for _, i := range indexes {
		out = append(out, l.hashes[i])
	}
	return out, nil
}

func (l *foreignLog) add(record string) {
	more, err := tlog.StoredHashes(l.size, []byte(record), l)
	require.NoError(l.t, err)
	l.hashes, l.size = append(l.hashes, more...), l.size+1
}

// grow adds so many entries.
func (l *foreignLog) grow(n int) *foreignLog {
	for range n {
		l.add(fmt.Sprint(l.size))
	}
	return l
}

func (l *foreignLog) checkpoint() []byte {
	root := audit.EmptyRoot()
	if l.size > 0 {
		var err error
		root, err = tlog.TreeHash(l.size, l)
		require.NoError(l.t, err)
	}
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", l.key.Origin(), l.size, root)}, l.signer)
	require.NoError(l.t, err)
	return signed
}

// since is the request of a log that knows what the witness has.
func (l *foreignLog) since(old int64) audit.CosignRequest {
	r := audit.CosignRequest{Old: old, Checkpoint: l.checkpoint()}
	if old > 0 {
		path, err := tlog.ProveTree(l.size, old, l)
		require.NoError(l.t, err)
		r.Path = path
	}
	return r
}

// place is the folder of a witness and what it needs to be opened.
type place struct {
	Options

	lines *bytes.Buffer
}

func newPlace(t *testing.T, logs ...audit.LogKey) *place {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	p := &place{lines: &bytes.Buffer{}}
	p.Options = Options{Name: "audit.example/w1", Key: key, Logs: logs, State: filepath.Join(t.TempDir(), "state"), Log: slog.New(slog.NewTextHandler(p.lines, nil))}
	self, err := audit.NewWitnessKey(p.Name, key.Public())
	require.NoError(t, err)
	require.NoError(t, Init(p.State, self))
	for _, l := range logs {
		require.NoError(t, AddLog(p.State, l))
	}
	return p
}

func (p *place) open(t *testing.T) *Witness {
	t.Helper()
	w, err := Open(p.Options)
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func TestAWitnessVouchesForALogThatOnlyGrows(t *testing.T) {
	log := newForeignLog(t, "log.example")
	p := newPlace(t, log.key)
	w := p.open(t)
	var vouched int64
	for _, n := range []int{3, 0, 1, 4, 250, 2} { // 0: the same checkpoint again
		r := log.grow(n).since(vouched)
		line, err := w.Vouch(r)
		require.NoError(t, err, "%d", n)
		require.True(t, log.key.CosignedBy(append(bytes.Clone(r.Checkpoint), line...), w.Self()))
		vouched = log.size
	}
	newest, there := w.Newest(originHash("log.example"))
	require.True(t, there)
	tree, err := log.key.Open(newest)
	require.NoError(t, err)
	require.Equal(t, log.size, tree.Size)
	require.True(t, log.key.CosignedBy(newest, w.Self()))
	require.Contains(t, p.lines.String(), "checkpoint cosigned")
}

// TestASplitViewIsRefused: two auditors who are shown two histories ask the same witness; it vouches for one of them, at once.
func TestASplitViewIsRefused(t *testing.T) {
	log := newForeignLog(t, "log.example").grow(5)
	p := newPlace(t, log.key)
	w := p.open(t)
	_, err := w.Vouch(log.since(0))
	require.NoError(t, err)
	same, longer := log.fork(4), log.fork(4)
	same.add("another")
	longer.add("another")
	longer.grow(3)
	for _, other := range []*foreignLog{same, longer} {
		request := other.since(5)
		began := time.Now()
		_, err = w.Vouch(request)
		t.Logf("noticed %s after it was asked", time.Since(began))
		require.ErrorIs(t, err, ErrFork)
	}
	_, err = w.Vouch(longer.since(0))
	require.ErrorAs(t, err, new(*SizeError), "from the beginning it is refused as well")
	_, err = w.Vouch(log.grow(1).since(5))
	require.NoError(t, err, "the history that it vouched for goes on")
	require.Contains(t, p.lines.String(), "fork=true")
	require.Contains(t, p.lines.String(), "fork=false")
	kept, err := filepath.Glob(filepath.Join(p.State, forksFolder, "*"))
	require.NoError(t, err)
	require.Len(t, kept, 2)
	text, err := os.ReadFile(kept[0])
	require.NoError(t, err)
	both, err := audit.SplitCheckpoints(text)
	require.NoError(t, err)
	require.Len(t, both, 2, "what it vouched for and what contradicts it")
	for _, one := range both {
		_, err := log.key.Open(one)
		require.NoError(t, err)
	}
}

// TestEvidenceCannotBeCrowdedOut: a caller without the log's key adds signatures and wrong proofs to what the log signed.
func TestEvidenceCannotBeCrowdedOut(t *testing.T) {
	log := newForeignLog(t, "log.example").grow(5)
	p := newPlace(t, log.key)
	w := p.open(t)
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	w.now = func() time.Time { return now }
	_, err := w.Vouch(log.since(0))
	require.NoError(t, err)
	refused := func(r audit.CosignRequest) {
		t.Helper()
		_, err := w.Vouch(r)
		require.ErrorIs(t, err, ErrFork)
	}
	kept := func() []string {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(p.State, forksFolder, "*"))
		require.NoError(t, err)
		return all
	}
	lines := func() int { return strings.Count(p.lines.String(), "history refused") }

	wrong := log.since(5)
	wrong.Path = []audit.Hash{{1}}
	refused(wrong)
	require.Empty(t, kept(), "the tree that it vouched for is no other history")
	require.Contains(t, p.lines.String(), `kept=""`)

	longer := log.fork(4)
	longer.add("another")
	longer.grow(3)
	r := longer.since(5)
	own := r.Checkpoint
	for n := range 20 {
		r.Checkpoint = append(bytes.Clone(own), fmt.Sprintf("— other.example %s\n", base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "key:%d", n)))...)
		refused(r)
	}
	require.Len(t, kept(), 1)
	text, err := os.ReadFile(kept()[0])
	require.NoError(t, err)
	require.NotContains(t, string(text), "other.example")
	require.Equal(t, 2, lines(), "what is kept already is not logged each time")
	now = now.Add(linesEvery)
	refused(r)
	require.Equal(t, 3, lines())
	require.Contains(t, p.lines.String(), "kept="+kept()[0])

	for n := range keptMost - 1 {
		require.NoError(t, os.WriteFile(filepath.Join(p.State, forksFolder, fmt.Sprintf("%s.%d", originHash("log.example"), n)), nil, 0o600))
	}
	p.lines.Reset()
	now = now.Add(linesEvery)
	refused(longer.grow(1).since(5))
	require.Len(t, kept(), keptMost)
	require.Contains(t, p.lines.String(), `kept=""`, "the line does not name a file that is not there")
	same := log.fork(4)
	same.add("another")
	p.lines.Reset()
	refused(same.since(5))
	require.Len(t, kept(), keptMost+1, "what proves a fork is kept")
	_, path, found := strings.Cut(p.lines.String(), "kept=")
	require.True(t, found)
	text, err = os.ReadFile(strings.Fields(path)[0])
	require.NoError(t, err)
	both, err := audit.SplitCheckpoints(text)
	require.NoError(t, err)
	require.Len(t, both, 2)
	require.Contains(t, p.lines.String(), "fork=true")
}

func TestAWitnessRemembersAfterARestartAndForgetsNothing(t *testing.T) {
	log := newForeignLog(t, "log.example").grow(5)
	p := newPlace(t, log.key)
	w := p.open(t)
	_, err := w.Vouch(log.since(0))
	require.NoError(t, err)
	_, err = Open(p.Options)
	require.ErrorContains(t, err, "another process has the folder")
	require.NoError(t, w.Close())
	again, err := Open(p.Options)
	require.NoError(t, err)
	_, err = again.Vouch(log.since(0))
	require.ErrorAs(t, err, new(*SizeError))
	require.NoError(t, again.Close())

	state := stateFile(p.State, "log.example")
	text, err := os.ReadFile(state)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(state, log.fork(4).checkpoint(), 0o600))
	_, err = Open(p.Options)
	require.ErrorContains(t, err, "no cosignature of this witness", "a checkpoint that it never vouched for")
	require.NoError(t, os.WriteFile(state, text[:len(text)-9], 0o600))
	_, err = Open(p.Options)
	require.Error(t, err, "a torn file")
	require.NoError(t, os.Remove(state))
	_, err = Open(p.Options)
	require.ErrorContains(t, err, "--add-log", "a lost file is not an empty one")
	require.NoError(t, os.WriteFile(state, text, 0o600))
	other := p.Options
	other.Name = "audit.example/w2"
	_, err = Open(other)
	require.ErrorContains(t, err, "folder of another witness")
	other.State = t.TempDir()
	_, err = Open(other)
	require.ErrorContains(t, err, "--init")
	self, err := audit.NewWitnessKey(p.Name, p.Key.Public())
	require.NoError(t, err)
	require.ErrorContains(t, Init(p.State, self), "is not empty")
}

// TestNothingIsCosignedThatIsNotOnTheDisk: with a folder that takes no file the witness stays where it was.
func TestNothingIsCosignedThatIsNotOnTheDisk(t *testing.T) {
	log := newForeignLog(t, "log.example").grow(5)
	p := newPlace(t, log.key)
	w := p.open(t)
	w.dir = filepath.Join(p.State, "absent")
	_, err := w.Vouch(log.since(0))
	require.Error(t, err)
	w.dir = p.State
	_, err = w.Vouch(log.since(0))
	require.NoError(t, err)
}

// TestRequestsAtTheSameTimeVouchForOneHistory: of two forks that are asked for at once, one is cosigned.
func TestRequestsAtTheSameTimeVouchForOneHistory(t *testing.T) {
	log := newForeignLog(t, "log.example").grow(5)
	p := newPlace(t, log.key)
	w := p.open(t)
	_, err := w.Vouch(log.since(0))
	require.NoError(t, err)
	var all sync.WaitGroup
	vouched := make(chan int64, 40)
	for n := range 40 {
		f := log.fork(5)
		f.add(fmt.Sprint("fork ", n))
		r := f.since(5)
		all.Go(func() {
			if _, err := w.Vouch(r); err == nil {
				vouched <- 6
			}
		})
	}
	all.Wait()
	require.Len(t, vouched, 1)
}

func TestTheProtocolIsAnsweredAsC2SPPrescribes(t *testing.T) {
	log := newForeignLog(t, "log.example").grow(5)
	w := newPlace(t, log.key).open(t)
	server := httptest.NewServer(w.Handler())
	defer server.Close()
	post := func(body []byte) (int, string, string) {
		resp, err := server.Client().Post(server.URL+"/add-checkpoint", "", bytes.NewReader(body))
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(text), resp.Header.Get("Content-Type")
	}
	monitor := func(name string) (int, string) {
		resp, err := server.Client().Get(server.URL + "/" + originHash(name) + "/checkpoint")
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(text)
	}
	status, _ := monitor("log.example")
	require.Equal(t, http.StatusNotFound, status)

	first := log.since(0)
	unsigned := first
	unsigned.Checkpoint = []byte(strings.Replace(string(first.Checkpoint), "\n5\n", "\n6\n", 1))
	unproven := log.since(0)
	unproven.Path = []audit.Hash{{1}}
	ahead := log.since(0)
	ahead.Old = 6
	for name, one := range map[string]struct {
		body []byte
		want int
	}{
		"no request":          {[]byte("hello"), http.StatusBadRequest},
		"a huge request":      {append(first.Marshal(), make([]byte, maxRequest)...), http.StatusBadRequest},
		"an unknown log":      {newForeignLog(t, "other.example").grow(1).since(0).Marshal(), http.StatusNotFound},
		"another key":         {newForeignLog(t, "log.example").grow(1).since(0).Marshal(), http.StatusForbidden},
		"a changed one":       {unsigned.Marshal(), http.StatusForbidden},
		"a path from nothing": {unproven.Marshal(), http.StatusUnprocessableEntity},
		"an old size beyond":  {ahead.Marshal(), http.StatusBadRequest},
	} {
		status, _, _ := post(one.body)
		require.Equal(t, one.want, status, name)
	}
	status, line, _ := post(first.Marshal())
	require.Equal(t, http.StatusOK, status)
	require.True(t, strings.HasPrefix(line, "— audit.example/w1 ") && strings.HasSuffix(line, "\n"))
	status, size, form := post(log.grow(2).since(0).Marshal())
	require.Equal(t, []any{http.StatusConflict, "5\n", "text/x.tlog.size"}, []any{status, size, form})
	wrong := log.since(5)
	wrong.Path[0][0] ^= 1
	status, _, _ = post(wrong.Marshal())
	require.Equal(t, http.StatusUnprocessableEntity, status)
	status, _, _ = post(log.since(5).Marshal())
	require.Equal(t, http.StatusOK, status)
	status, text := monitor("log.example")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, text, "log.example\n7\n")
	require.True(t, log.key.CosignedBy([]byte(text), w.Self()))
}

func TestTheTimeOfACosignatureIsThatOfTheRequest(t *testing.T) {
	log := newForeignLog(t, "log.example").grow(1)
	w := newPlace(t, log.key).open(t)
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	w.now = func() time.Time { return at }
	first, err := w.Vouch(log.since(0))
	require.NoError(t, err)
	at = at.Add(time.Minute)
	second, err := w.Vouch(log.since(1))
	require.NoError(t, err)
	require.NotEqual(t, first, second, "the same checkpoint is vouched for anew")
}
