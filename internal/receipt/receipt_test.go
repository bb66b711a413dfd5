package receipt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// taker takes traces, or does not.
type taker struct {
	mu    sync.Mutex
	away  bool
	taken struct {
		refusals []history.ChangeRefusal
		unheard  []history.Unheard
	}
	calls  int
	before func()
}

func (h *taker) RecordRefusals(_ context.Context, refusals []history.ChangeRefusal, unheard []history.Unheard) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls++
	if h.before != nil {
		h.before()
	}
	if h.away {
		return errors.New("the database is away")
	}
	h.taken.refusals, h.taken.unheard = append(h.taken.refusals, refusals...), append(h.taken.unheard, unheard...)
	return nil
}

func (h *taker) back() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away = false
}

// meanwhile lets something happen during the next call, which is the first that succeeds.
func (h *taker) meanwhile(do func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before = func() { h.before, h.away = nil, false; do() }
}

// desk is a book under test; its methods are called within a bubble of virtual time.
type desk struct {
	*taker
	*Book
	t     *testing.T
	dir   string
	cfg   Config
	stop  context.CancelFunc
	ended chan struct{}
}

func openDesk(t *testing.T, dir string, c Config) *desk {
	t.Helper()
	d := &desk{taker: &taker{away: true}, t: t, dir: dir, cfg: c}
	d.open()
	return d
}

func (d *desk) open() {
	d.t.Helper()
	var ids atomic.Uint32
	c := d.cfg
	c.Store, c.Dir = d.taker, d.dir
	c.NewID = func() notice.ID { n := ids.Add(1); return notice.ID{byte(n), byte(n >> 8)} }
	var err error
	d.Book, err = Open(c)
	require.NoError(d.t, err)
	ctx, stop := context.WithCancel(d.t.Context())
	d.stop, d.ended = stop, make(chan struct{})
	go func() { defer close(d.ended); d.Run(ctx) }()
}

// end ends the process in order.
func (d *desk) end() {
	d.t.Helper()
	d.stop()
	<-d.ended
	require.NoError(d.t, d.Close())
}

// kill ends it as a power cut does: nothing is written any more.
func (d *desk) kill() {
	d.t.Helper()
	d.stop()
	<-d.ended
	require.NoError(d.t, d.file.out.Close())
	require.NoError(d.t, d.file.owner.Close())
}

func changed(id string, at time.Time) *notice.Change {
	return &notice.Change{
		Kind: ofb.PixPayment, ResourceID: id, Client: "itp", APIVersion: "v5", Revision: 7, OccurredAt: at, Cause: ofb.Holder, Source: "api", Actor: "core", ReceivedAt: time.Now(),
	}
}

func TestWhatWasRefusedIsRecordedOnceWithItsFirstReceiptWhenTheDatabaseIsBack(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := openDesk(t, dir, Config{})
		began := time.Now()
		for n := range 3 {
			again := changed("a", began)
			again.NotBefore = time.Now().Add(time.Second) // which a core reckons anew
			d.Refused(again, history.RefusedUnavailable)
			if n == 0 {
				d.Refused(changed("b", began), history.RefusedBusy)
			}
			<-time.After(10 * time.Second)
		}
		require.Equal(t, 2, d.Waiting())
		d.back()
		<-time.After(storeEvery + spoolEvery)
		require.Zero(t, d.Waiting())
		require.Len(t, d.taken.refusals, 2)
		require.Equal(t, began, d.taken.refusals[0].First)
		require.EqualValues(t, 3, d.taken.refusals[0].Facts.Refusals)
		require.Equal(t, history.RefusedBusy, d.taken.refusals[1].Facts.RefusedFor)
		require.False(t, d.taken.refusals[0].Facts.WallClock)
		require.Empty(t, d.taken.unheard)
		calls := d.calls
		<-time.After(time.Minute)
		require.Equal(t, calls, d.calls, "while nothing is outstanding the database is left alone")
		d.end()
		require.Zero(t, size0(t, dir), "what is recorded is not kept on the disk")
	})
}

func size0(t *testing.T, dir string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, name))
	require.NoError(t, err)
	return info.Size()
}

func TestAChangeThatIsRefusedWhileItIsRecordedLosesNoCount(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := openDesk(t, dir, Config{})
		began := time.Now()
		d.Refused(changed("a", began), history.RefusedBusy)
		d.meanwhile(func() { d.Refused(changed("a", began), history.RefusedBusy); d.Unread("draining") })
		<-time.After(5 * time.Second)
		d.end()
		require.Len(t, d.taken.refusals, 2)
		require.NotEqual(t, d.taken.refusals[0].ID, d.taken.refusals[1].ID)
		require.EqualValues(t, 2, d.taken.refusals[0].Facts.Refusals+d.taken.refusals[1].Facts.Refusals)
		require.Equal(t, began, d.taken.refusals[1].First)
		require.Len(t, d.taken.unheard, 1)
	})
}

func TestARestartForgetsNothingThatWasRefused(t *testing.T) {
	for name, end := range map[string]func(*desk){"in order": (*desk).end, "as in a power cut": (*desk).kill} {
		dir := t.TempDir()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := openDesk(t, dir, Config{})
				began := time.Now()
				for n := range 100 {
					d.Refused(changed(fmt.Sprint(n%50), began), history.RefusedUnavailable)
				}
				d.Unread("connections")
				<-time.After(time.Second)
				end(d)
				d.open()
				require.Equal(t, 50, d.Waiting())
				d.Refused(changed("0", began), history.RefusedUnavailable)
				d.back()
				<-time.After(2 * storeEvery)
				d.end()
				require.Len(t, d.taken.refusals, 50)
				for _, r := range d.taken.refusals {
					require.WithinDuration(t, began, r.First, 0)
					require.True(t, r.Facts.WallClock, "a monotonic clock does not outlive its process")
				}
				require.EqualValues(t, 3, d.taken.refusals[0].Facts.Refusals)
				whys := map[string]history.Unheard{}
				for _, u := range d.taken.unheard {
					whys[u.Why] = u
				}
				require.Contains(t, whys, "connections")
				if name == "in order" {
					require.NotContains(t, whys, whyRestart)
					return
				}
				restart := whys[whyRestart]
				require.True(t, restart.Wall)
				require.False(t, restart.From.After(began), "what it held when it died is unknown")
				require.True(t, restart.To.After(began))
			})
		})
	}
}

func TestAProcessThatDiesWithNothingOutstandingLeavesAShortDoubt(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := openDesk(t, dir, Config{})
		<-time.After(time.Hour)
		died := time.Now()
		d.kill()
		<-time.After(time.Hour)
		d.open()
		d.back()
		<-time.After(2 * storeEvery)
		d.end()
		require.Len(t, d.taken.unheard, 1)
		require.WithinRange(t, died, d.taken.unheard[0].From, d.taken.unheard[0].To)
		require.LessOrEqual(t, d.taken.unheard[0].To.Sub(d.taken.unheard[0].From), 15*time.Second)
	})
}

func TestWhatIsTooMuchIsSaidToBeUnknown(t *testing.T) {
	for name, c := range map[string]Config{"by number": {Most: 10}, "by size": {MaxBytes: 10 * 520}} {
		dir := t.TempDir()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := openDesk(t, dir, c)
				began := time.Now()
				for n := range 30 {
					d.Refused(changed(fmt.Sprint(n), began), history.RefusedUnavailable)
					<-time.After(time.Second)
				}
				require.LessOrEqual(t, d.Waiting(), 10)
				kept := d.Waiting()
				d.back()
				<-time.After(2 * storeEvery)
				d.end()
				require.Len(t, d.taken.refusals, kept)
				require.Len(t, d.taken.unheard, 1)
				require.Equal(t, whyFull, d.taken.unheard[0].Why)
				require.EqualValues(t, 30-kept, d.taken.unheard[0].Requests)
				require.Equal(t, began.Add(time.Duration(kept)*time.Second), d.taken.unheard[0].From)
				require.Equal(t, began.Add(29*time.Second), d.taken.unheard[0].To)
			})
		})
	}
}

func TestADamagedFileLosesNoOtherLineAndIsSaidToBeDamaged(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := openDesk(t, dir, Config{})
		d.Refused(changed("a", time.Now()), history.RefusedUnavailable)
		d.end()
		out, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_APPEND, 0)
		require.NoError(t, err)
		_, err = out.WriteString("{\"refusal\":{\"Kind\":\"nonsense\"}}\n{\"refu")
		require.NoError(t, err)
		require.NoError(t, out.Close())
		d.open()
		d.Refused(changed("b", time.Now()), history.RefusedUnavailable)
		d.end()
		d.open()
		require.Equal(t, 2, d.Waiting())
		d.back()
		d.end()
		require.Len(t, d.taken.unheard, 1)
		require.Equal(t, whyRestart, d.taken.unheard[0].Why)
	})
}

func TestAFolderHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	one, err := Open(Config{Dir: dir})
	require.NoError(t, err)
	_, err = Open(Config{Dir: dir})
	require.ErrorIs(t, err, syscall.EWOULDBLOCK)
	require.NoError(t, one.Close())
}
