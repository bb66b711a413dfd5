package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/temppostgres"
)

// hurried are settings that development permits: with them a chain in which every attempt hangs ends within 90 s, and a
// lost attempt is found within 12 s.
var hurried = []string{"ARAUTO_WEBHOOK_TIMEOUT=5s", "ARAUTO_DISPATCH_LEASE=10s"}

// replicaCount is how many replicas there are at any time.
const replicaCount = 3

// world is all that can be broken.
type world struct {
	*account
	dir        string
	stage      *stage.Stage
	ouro       *stage.Brand // the original brand, of the first load
	prata      *stage.Brand
	data       *volume // nil: the disk cannot be filled on this machine, and full says why
	wal        *volume
	full       error
	clock      *clock // nil: the clock cannot be moved on this machine, and still says why
	still      error
	bank       *bank // nil: there is no second PostgreSQL on this machine, and unfollowed says why
	unfollowed error
	replicas   [replicaCount]*replica
	pki        sync.Mutex // the files of the PKI are being changed
}

// openWorld sets everything up. What this machine cannot do is said, and left out.
func openWorld(ctx context.Context, a *account, o options) (w *world, err error) {
	w = &world{account: a}
	if w.dir, err = os.MkdirTemp("", "arauto-nemesis-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close(true))
		}
	}()
	if err := os.Chmod(w.dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's account enters it
		return w, err
	}
	a.say("nemesis", "everything is written below %s", w.dir)
	server := temppostgres.Options{Private: true, Durable: true, Dir: w.dir, Settings: []string{"max_wal_size=256MB", "min_wal_size=32MB", "wal_keep_size=0", "log_min_messages=warning"}}
	w.openVolumes(o, &server)
	w.openClock()
	binary, err := filepath.Abs(o.arauto)
	if err != nil {
		return w, err
	}
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		b, err := openBank(ctx, w.dir)
		if w.unfollowed = err; err == nil {
			w.bank = b
		}
	}()
	w.stage, err = stage.Open(ctx, stage.Options{
		Dir: w.dir, Keep: true, Server: server, // close removes the folder
		Command: func(args ...string) *exec.Cmd { return exec.Command(binary, args...) }, //nolint:gosec,noctx // the product; the stage ends it
		Settings: append(hurried, "ARAUTO_PUBLIC_CRL="+filepath.Join(w.dir, "pki", "crl", "clients.crl"),
			"ARAUTO_WEBHOOK_CRL="+filepath.Join(w.dir, "pki", "crl", "servers.crl")),
	})
	<-opened
	if err != nil {
		return w, err
	}
	if w.ouro, w.prata, err = w.stage.TwoBrands(); err != nil {
		return w, err
	}
	if w.unfollowed != nil {
		w.say("nemesis", "NOT POSSIBLE HERE: a core that is followed, since %v", w.unfollowed)
	}
	if err := w.openLogin(ctx); err != nil {
		return w, err
	}
	for i := range w.replicas {
		if w.replicas[i], err = w.openReplica(ctx, i); err != nil {
			return w, err
		}
	}
	return w, nil
}

// close ends everything. The folder stays when it is wanted.
func (w *world) close(keep bool) error {
	var errs []error
	for _, r := range w.replicas {
		if r != nil {
			r.leaving.Store(true)
		}
	}
	if w.stage != nil {
		errs = append(errs, w.stage.Close())
	}
	if w.bank != nil {
		errs = append(errs, w.bank.server.Stop())
	}
	for _, r := range w.replicas {
		if r != nil && r.way != nil {
			r.way.Stop()
		}
	}
	for _, v := range []*volume{w.data, w.wal} {
		if v != nil {
			errs = append(errs, v.unmount())
		}
	}
	if !keep {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

// volume is a small file system in memory whose size can be taken away.
type volume struct{ path string }

func (w *world) openVolumes(o options, server *temppostgres.Options) {
	for _, v := range []struct {
		name string
		to   **volume
		dir  *string
	}{{"data", &w.data, &server.DataDir}, {"wal", &w.wal, &server.WALDir}} {
		volume, err := mount(filepath.Join(w.dir, v.name), fmt.Sprintf("%dm", volumeMiB(o)))
		if err != nil {
			w.full = err
			w.say("nemesis", "NOT POSSIBLE HERE: a full disk, since %v", err)
			return
		}
		*v.to, *v.dir = volume, volume.path
	}
}

// volumeMiB is more than a run fills: memory is taken only as it is used.
func volumeMiB(o options) int { return 1024 + int(o.minutes*o.rate*3) }

func mount(path, size string) (*volume, error) {
	if err := os.Mkdir(path, 0o755); err != nil { //nolint:gosec // PostgreSQL's account enters it
		return nil, err
	}
	if err := syscall.Mount("nemesis", path, "tmpfs", 0, "size="+size); err != nil {
		return nil, fmt.Errorf("a tmpfs cannot be mounted: %w", err)
	}
	return &volume{path}, nil
}

func (v *volume) unmount() error {
	err := syscall.Unmount(v.path, 0)
	if err != nil {
		err = syscall.Unmount(v.path, syscall.MNT_DETACH)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", v.path, err)
	}
	return nil
}

// fill takes away all room but a few blocks, and returns how to give it back.
func (v *volume) fill() (restore func() error, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(v.path, &s); err != nil {
		return nil, err
	}
	used := (s.Blocks - s.Bfree) * uint64(s.Bsize)
	restore = func() error {
		return syscall.Mount("nemesis", v.path, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", s.Blocks*uint64(s.Bsize)))
	}
	for room := uint64(64 << 10); ; room *= 2 { // what is written meanwhile may be in the way
		err := syscall.Mount("nemesis", v.path, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", used+room))
		if err == nil || room > 64<<20 {
			return restore, err
		}
	}
}

// clock moves PostgreSQL's idea of the time, by libfaketime. Ours and the replicas' stay as they are: what counts between
// two machines is how far their clocks are apart. A new clock needs a new start of PostgreSQL, as if another machine had
// taken over; libfaketime can change it while a process runs, too, but then reads a file even in signal handlers, and
// sessions die of it.
type clock struct {
	library string

	mu    sync.Mutex
	moves []move
}

type move struct {
	at     time.Time
	offset time.Duration
}

func (w *world) openClock() {
	var found []string
	for _, pattern := range []string{"/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1", "/usr/lib64/faketime/libfaketime.so.1"} {
		some, _ := filepath.Glob(pattern) // the patterns are good
		found = append(found, some...)
	}
	if len(found) == 0 {
		w.still = errors.New("libfaketime is not installed (Debian: apt-get install faketime)")
		w.say("nemesis", "NOT POSSIBLE HERE: a moved clock, since %v", w.still)
		return
	}
	w.clock = &clock{library: found[0]}
}

// environ has PostgreSQL see the time as it is said in libfaketime's words, such as "+4.5" or "+0 x1.1".
func (c *clock) environ(time string) []string {
	return []string{"LD_PRELOAD=" + c.library, "FAKETIME=" + time, "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1"}
}

// moved notes that the clock is so much ahead of ours now.
func (c *clock) moved(offset time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moves = append(c.moves, move{time.Now(), offset})
}

// ahead is by how much the clock gained on ours between two instants, at most.
func (c *clock) ahead(from, to time.Time) time.Duration {
	if c == nil {
		return 0
	}
	const margin = 2 * time.Second // a move is noted when PostgreSQL answers again, which some session may have seen before
	from, to = from.Add(-margin), to.Add(margin)
	c.mu.Lock()
	defer c.mu.Unlock()
	var low, most time.Duration // it begins even with ours
	for _, m := range c.moves {
		switch {
		case m.at.After(to):
			return most
		case m.at.Before(from):
			low, most = m.offset, 0
		default:
			low = min(low, m.offset)
			most = max(most, m.offset-low)
		}
	}
	return most
}

// replica is one of the places a replica stands in; the process in it comes and goes.
type replica struct {
	*world
	index    int
	way      *way
	settings []string
	leaving  atomic.Bool

	process  atomic.Pointer[stage.Replica]
	core     atomic.Pointer[stage.Core]
	coreMade atomic.Int64 // unix seconds
	expected sync.Map     // processes whose end is ours: *stage.Replica
	first    figures      // after its start
}

func (w *world) openReplica(ctx context.Context, index int) (*replica, error) {
	database, err := url.Parse(w.stage.Database)
	if err != nil {
		return nil, err
	}
	r := &replica{world: w, index: index}
	if r.way, err = openWay(fmt.Sprintf("replica %d", index+1), database.Host); err != nil {
		return nil, err
	}
	r.settings = w.login(database, r.way.Listen)
	if w.bank != nil {
		r.settings = append(r.settings, "ARAUTO_WATCH_SOURCES="+w.bank.mapping)
	}
	return r, r.start(ctx)
}

// start runs a process in the place and waits until it is ready, for as long as the database may be away.
func (r *replica) start(ctx context.Context) error {
	process, err := r.stage.Launch(ctx, r.settings...)
	if err != nil {
		return err
	}
	r.process.Store(process)
	go r.watch(process)
	if err := r.talk(); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if err = process.WaitReady(ctx); err == nil || n == 3 || ctx.Err() != nil {
			return err
		}
	}
}

// talk makes a new token for the core.
func (r *replica) talk() error {
	core, err := r.stage.Core(r.process.Load())
	if err != nil {
		return err
	}
	r.core.Store(core)
	r.coreMade.Store(time.Now().Unix())
	return nil
}

// watch finds a process that ends by itself.
func (r *replica) watch(process *stage.Replica) {
	<-process.Exited()
	if _, ours := r.expected.Load(process); ours || r.leaving.Load() {
		return
	}
	said, _ := os.ReadFile(filepath.Join(r.dir, process.Name+".err"))
	r.fail("%s ended by itself: %v: %.2000s", process.Name, process.Err(), said)
}

// replace ends the process by the way given and starts another one after a pause.
func (r *replica) replace(ctx context.Context, end func(*stage.Replica) error, pause time.Duration) (ready time.Duration, err error) {
	process := r.process.Load()
	r.expected.Store(process, true)
	if err := end(process); err != nil {
		return 0, err
	}
	rest(ctx, pause)
	began := time.Now()
	err = r.start(ctx)
	return time.Since(began), err
}

// rest waits, unless the run ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// figures are what a process weighs.
type figures struct {
	goroutines, descriptors int
	resident                int // MiB
	panics                  int
}

func (r *replica) weigh(ctx context.Context) (f figures, err error) {
	page, err := r.process.Load().Metrics(ctx)
	if err != nil {
		return f, err
	}
	for line := range strings.Lines(page) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		switch name {
		case "go_goroutines":
			f.goroutines = int(n)
		case "process_open_fds":
			f.descriptors = int(n)
		case "process_resident_memory_bytes":
			f.resident = int(n / (1 << 20))
		case "arauto_panics_total":
			f.panics = int(n)
		}
	}
	return f, nil
}

func (f figures) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d MiB", f.goroutines, f.descriptors, f.resident)
}

// initiators are whose certificates the clients use.
var initiators = []certs.Participant{certs.DefaultAlfa, certs.DefaultBeta}
