package postgres

import (
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/watch"
)

// road is a network between a reader and the database, that can stand still or break.
type road struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	moves    *sync.Cond
	still    bool
	open     map[net.Conn]bool
}

func newRoad(t testing.TB, target string) *road {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &road{listener: listener, target: target, open: map[net.Conn]bool{}}
	r.moves = sync.NewCond(&r.mu)
	t.Cleanup(func() { _ = listener.Close(); r.stand(false); r.cut() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", target)
			if err != nil {
				_ = conn.Close()
				continue
			}
			r.mu.Lock()
			r.open[conn], r.open[up] = true, true
			r.mu.Unlock()
			go r.carry(conn, up)
			go r.carry(up, conn)
		}
	}()
	return r
}

// carry copies, and holds what it has while the road stands still: the connections stay open, as those of a process
// that is stopped.
func (r *road) carry(to, from net.Conn) {
	defer func() { _ = to.Close(); _ = from.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		r.mu.Lock()
		for r.still {
			r.moves.Wait()
		}
		r.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (r *road) stand(still bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.still = still
	r.moves.Broadcast()
}

func (r *road) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.open {
		_ = c.Close()
	}
	clear(r.open)
}

// over is the configuration that takes the road.
func (c *core) over(r *road) func(*Config, *Options) {
	return func(config *Config, _ *Options) {
		u, err := url.Parse(c.url)
		require.NoError(c.t, err)
		u.Host = r.listener.Addr().String()
		config.URL = u.String()
	}
}

func (c *core) address() string {
	u, err := url.Parse(c.url)
	require.NoError(c.t, err)
	return u.Host
}

// source calls Read again and again, as package watch does.
func source(t testing.TB, r *Reader, h watch.Hand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-t.Context().Done():
			return
		default:
		}
		ended := make(chan struct{})
		run := read(t, r, h)
		go func() {
			select {
			case <-stop:
				run.stop()
			case <-ended:
			}
		}()
		<-run.done
		close(ended)
		_ = pause(t.Context(), 100*time.Millisecond)
	}
}

func TestAReaderThatHangsIsReplacedWithinFiveSeconds(t *testing.T) {
	for _, how := range []string{"stands still", "breaks"} {
		t.Run(how, func(t *testing.T) {
			c := newCore(t, nil)
			road := newRoad(t, c.address())
			first, second := newHand(), newHand()
			run := read(t, c.reader(c.over(road)), first)
			c.reading()
			c.exec("INSERT INTO payments VALUES (1, 'A', '')")
			first.take(t, 1)
			stop, ended := make(chan struct{}), make(chan struct{})
			go func() { source(t, c.reader(nil), second, stop); close(ended) }()
			_ = pause(t.Context(), time.Duration(rand.IntN(1000))*time.Millisecond)
			since := time.Now()
			if how == "breaks" {
				road.cut()
				_ = road.listener.Close()
			} else {
				road.stand(true)
			}
			c.exec("INSERT INTO payments VALUES (2, 'B', '')")
			second.await(t, "the row", func(h *hand) bool {
				return len(h.records) > 0 && brief(h.records[len(h.records)-1]) == "insert payments id=2 note= status=B"
			})
			require.Less(t, time.Since(since), 5*time.Second)
			road.stand(false)
			require.Error(t, run.wait(), "the first learns that it was replaced")
			close(stop)
			<-ended
		})
	}
}

func TestAReaderThatHangsInItsSnapshotIsReplaced(t *testing.T) {
	c := newCore(t, nil, "INSERT INTO payments SELECT i, 'A', repeat('x', 1000) FROM generate_series(1, 1000) i")
	road := newRoad(t, c.address())
	first, second := newHand(), newHand()
	first.hold()
	run := read(t, c.reader(c.over(road)), first)
	first.await(t, "the snapshot", func(h *hand) bool { return len(h.records) == 1000 })
	road.stand(true)
	since := time.Now()
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { source(t, c.reader(nil), second, stop); close(ended) }()
	second.await(t, "the snapshot", func(h *hand) bool { return len(h.records) == 1000 })
	require.Less(t, time.Since(since), 6*time.Second)
	road.stand(false)
	require.Error(t, run.wait())
	close(stop)
	<-ended
}

func TestUnderLoadNothingIsLostOrReorderedWhateverBreaks(t *testing.T) {
	t.Parallel()
	own := ownServer(t)
	c := counted(t, own, 50)
	road := newRoad(t, c.address())
	l, h := newLedger(), newHand()
	h.each = l.see
	m := &memory{}
	stopWriting := writers(c, 4, 50, 2*time.Millisecond)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		source(t, c.reader(func(config *Config, o *Options) { c.over(road)(config, o); o.Memory = m }), h, stop)
		close(ended)
	}()
	seen := func() int { h.mu.Lock(); defer h.mu.Unlock(); return len(h.records) }
	breaks := []func(){
		road.cut,
		func() { // the server's side of the stream
			c.exec("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active", c.slot)
		},
		func() {
			c.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'arauto %'")
		},
		func() { // a crash of the database
			require.NoError(t, own.Kill())
			require.NoError(t, own.Restart(t.Context()))
			c.conn = c.connect()
		},
		func() { // the process that reads stops for a while
			road.stand(true)
			_ = pause(t.Context(), patience+500*time.Millisecond)
			road.stand(false)
		},
	}
	for i := range 10 {
		before := seen()
		h.await(t, "progress", func(h *hand) bool { return len(h.records) > before+20 })
		_ = pause(t.Context(), time.Duration(rand.IntN(300))*time.Millisecond)
		breaks[i%len(breaks)]()
	}
	commits := stopWriting()
	c.caughtUp()
	close(stop)
	<-ended
	l.check(c)
	require.Greater(t, commits, 200)
	t.Logf("%d commits, %d records, %d told again", commits, seen(), l.again)
}
