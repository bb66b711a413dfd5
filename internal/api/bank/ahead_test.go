package bank

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestStreamsThatNobodyReadsLeaveRoomForOthers: many streams read on as long as they may, and none of their answers is taken.
func TestStreamsThatNobodyReadsLeaveRoomForOthers(t *testing.T) {
	const all, each, line, stalled = 100_000, 30_000, 700, 50
	synctest.Test(t, func(t *testing.T) {
		a := newReadAhead(all)
		used := func() int {
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.used
		}
		var reading sync.WaitGroup
		var streams []*budget
		for range stalled {
			b := a.budget(each)
			streams = append(streams, b)
			reading.Go(func() {
				for !b.ended() {
					b.take(line)
				}
			})
		}
		synctest.Wait()
		require.LessOrEqual(t, used(), all+stalled*line)
		for _, b := range streams {
			require.LessOrEqual(t, b.used, each)
		}

		quiet := a.budget(each)
		for range 1000 { // each line is answered before the next, as by a client that reads
			quiet.take(line)
			quiet.give(line)
		}
		streams[0].end()
		synctest.Wait()
		for _, b := range streams {
			b.end()
		}
		reading.Wait()
		require.Zero(t, used())
	})
}

// ended tells that the stream is over.
func (b *budget) ended() bool {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	return b.over
}

// TestAnswersThatNobodyReadsStopTheirStreams: what is read and not answered stays below its bound, and is given back.
func TestAnswersThatNobodyReadsStopTheirStreams(t *testing.T) {
	const streams = 4
	w := newWorld(t, func(c *InternalConfig) { c.Idle = 2 * time.Second })
	// The kernel holds little of what the clients do not read, or it takes thousands of answers before a stream waits.
	raw, err := w.socket.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 16<<10)
	}))
	require.NoError(t, err)
	most := 0
	var mu sync.Mutex
	var writing sync.WaitGroup
	for n := range streams {
		f := w.open()
		require.NoError(t, f.conn.(*net.TCPConn).SetReadBuffer(4<<10))
		writing.Go(func() {
			for number := 0; ; number++ { // until nothing more is taken
				text := payment(fmt.Sprint("p", n, "-", number), 1, "ACSC", `,"bad":"`, strings.Repeat("x", 4<<10), `"`) + "\n"
				_ = f.conn.SetWriteDeadline(time.Now().Add(time.Second))
				if _, err := fmt.Fprintf(f.conn, "%x\r\n%s\r\n", len(text), text); err != nil {
					return
				}
				mu.Lock()
				w.api.ahead.mu.Lock()
				most = max(most, w.api.ahead.used)
				w.api.ahead.mu.Unlock()
				mu.Unlock()
			}
		})
	}
	writing.Wait()
	require.Positive(t, most)
	require.LessOrEqual(t, most, streams*(aheadMax+64<<10))
	require.Eventually(t, func() bool {
		w.api.ahead.mu.Lock()
		defer w.api.ahead.mu.Unlock()
		return w.api.ahead.used == 0
	}, 30*time.Second, 10*time.Millisecond)
}
