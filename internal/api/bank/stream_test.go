package bank

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
)

// feed is a stream as its client holds it, on a TCP connection of its own.
type feed struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
	body *bufio.Reader
	head *http.Response
}

// open begins a stream and reads the head of its answer, before a single line is sent.
func (w *world) open(headers ...string) *feed {
	w.t.Helper()
	conn, err := w.dial()
	require.NoError(w.t, err)
	w.t.Cleanup(func() { conn.Close() })
	require.NoError(w.t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	f := &feed{t: w.t, conn: conn, in: bufio.NewReader(conn)}
	extra := ""
	for _, h := range headers {
		extra += h + "\r\n"
	}
	f.write("POST /internal/v1/changes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ingest\r\nContent-Type: application/x-ndjson\r\n" +
		"Transfer-Encoding: chunked\r\n" + extra + "\r\n")
	f.head, err = http.ReadResponse(f.in, nil)
	require.NoError(w.t, err)
	if f.head.StatusCode == http.StatusContinue {
		f.head, err = http.ReadResponse(f.in, nil)
		require.NoError(w.t, err)
	}
	f.body = bufio.NewReader(f.head.Body)
	return f
}

func (f *feed) write(s string) {
	f.t.Helper()
	_, err := io.WriteString(f.conn, s)
	require.NoError(f.t, err)
}

// send sends text as one chunk.
func (f *feed) send(s string) { f.write(fmt.Sprintf("%x\r\n%s\r\n", len(s), s)) }

// finish ends the request.
func (f *feed) finish() { f.write("0\r\n\r\n") }

// next reads one answer.
func (f *feed) next() map[string]any {
	f.t.Helper()
	text, err := f.body.ReadBytes('\n')
	require.NoError(f.t, err, "%s", text)
	var out map[string]any
	require.NoError(f.t, json.Unmarshal(text, &out), "%s", text)
	return out
}

// ends checks that the answer is complete.
func (f *feed) ends() {
	f.t.Helper()
	rest, err := io.ReadAll(f.body)
	require.NoError(f.t, err)
	require.Empty(f.t, string(rest))
}

func TestAStreamIsAnsweredLineByLineWhileItGoesOn(t *testing.T) {
	w := newWorld(t)
	f := w.open()
	require.Equal(t, 200, f.head.StatusCode, "the answer begins before the request ends")
	require.Equal(t, "application/x-ndjson", f.head.Header.Get("Content-Type"))
	for n := 1; n <= 3; n++ {
		f.send(payment(fmt.Sprint("p", n), 1, "ACSC") + "\n")
		got := f.next() // before the next line is sent
		require.Len(t, got, 5, "%v", got)
		require.EqualValues(t, n, got["line"])
		require.EqualValues(t, 200, got["status"])
		require.Equal(t, "applied", got["outcome"])
		require.Len(t, got["notifications"], 1)
	}
	f.send(payment("p4", 1, "RCVD")) // the last line needs no line break
	f.finish()
	got := f.next()
	require.Equal(t, "not-a-trigger", got["reason"])
	f.ends()

	require.True(t, f.head.Close)
	_, err := f.in.ReadByte()
	require.ErrorIs(t, err, io.EOF, "the connection ends with the stream")
	<-w.watcher.told
	require.Equal(t, map[int]int{200: 4}, w.watcher.lines)
	require.Zero(t, w.watcher.streams)
}

func TestAClientThatWaitsForContinueIsServed(t *testing.T) {
	w := newWorld(t)
	f := w.open("Expect: 100-continue")
	require.Equal(t, 200, f.head.StatusCode)
	f.send(payment("p1", 1, "ACSC") + "\n")
	require.EqualValues(t, 1, f.next()["line"])
	f.finish()
	f.ends()
}

func TestMixedLinesAreAnsweredInOrderAndNoneStopsTheStream(t *testing.T) {
	w := newWorld(t)
	f := w.open("Accept-Language: pt")
	long := strings.Repeat("x", 200<<10)
	exact := payment("p6", 1, "ACSC")
	exact += strings.Repeat(" ", 64<<10-len(exact))
	f.send(strings.Join([]string{
		payment("p1", 1, "ACSC"),
		payment("p1", 1, "RJCT"),
		"",
		payment("p2", 1, "ACSC", `,"bad":true`),
		"  \t\r",
		long,
		"{not json",
		payment("p1", 1, "ACSC"),
		exact + "\r",
		exact + " ",
		payment("p7", 1, "ACSC"),
	}, "\n"))
	f.finish()
	for _, want := range []struct {
		line, status int
		word         string
	}{{1, 200, "applied"}, {2, 409, "conflict"}, {4, 422, "invalid_change"}, {6, 413, "too_large"}, {7, 400, "invalid_request"}, {8, 200, "duplicate"}, {9, 200, "applied"}, {10, 413, "too_large"}, {11, 200, "applied"}} {
		got := f.next()
		require.EqualValues(t, want.line, got["line"], "%v", got)
		require.EqualValues(t, want.status, got["status"], "%v", got)
		if want.status == 200 {
			require.Equal(t, want.word, got["outcome"])
			continue
		}
		require.Equal(t, want.word, got["error"])
		require.NotEmpty(t, got["error_description"])
		_, there := got["errors"]
		require.Equal(t, want.status == 400 || want.status == 422, there)
		if want.status == 422 {
			require.NoError(t, validID(got["quarantineId"]))
			require.Contains(t, fmt.Sprint(got["errors"]), "não é um membro")
		}
	}
	f.ends()
	require.Equal(t, 3, w.memory.stored())
}

func TestALineThatIsTooLongIsRefusedBeforeItEnds(t *testing.T) {
	w := newWorld(t)
	f := w.open()
	f.send(strings.Repeat("a", 100<<10))
	got := f.next()
	require.EqualValues(t, 413, got["status"])
	for range 20 {
		f.send(strings.Repeat("b", 64<<10))
	}
	f.send("\n" + payment("p1", 1, "ACSC") + "\n")
	got = f.next()
	require.EqualValues(t, 2, got["line"])
	require.EqualValues(t, 200, got["status"])
	f.finish()
	f.ends()
}

func TestAfterALineThatCannotBeStoredEveryLaterOneIs503(t *testing.T) {
	w := newWorld(t)
	away := true
	w.memory.fail = func(*notice.Change) error {
		if away {
			return passing{io.ErrUnexpectedEOF}
		}
		return nil
	}
	f := w.open()
	f.send(payment("p1", 1, "ACSC") + "\n")
	got := f.next()
	require.EqualValues(t, 503, got["status"])
	require.Equal(t, "unavailable", got["error"])
	w.memory.mu.Lock()
	away = false
	w.memory.mu.Unlock()
	f.send(payment("p2", 1, "ACSC") + "\n" + "{broken\n" + payment("p3", 1, "ACSC") + "\n")
	for n := 2; n <= 4; n++ {
		got = f.next()
		require.EqualValues(t, n, got["line"])
		require.EqualValues(t, 503, got["status"])
	}
	f.finish()
	f.ends()
	require.Zero(t, w.memory.stored())
}

func TestARefusalDoesNotWaitForTheBody(t *testing.T) {
	w := newWorld(t)
	began := time.Now()
	f := w.open("Content-Encoding: gzip") // and never a byte of it
	require.Equal(t, 415, f.head.StatusCode)
	require.Less(t, time.Since(began), 5*time.Second)
}

func TestAStreamThatStandsStillEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle = 4 * time.Second
		w := newPipedWorld(t, func(c *InternalConfig) { c.Idle = idle })
		f := w.open()
		for n := range 5 { // each line moves the deadline on: together they last longer than it
			f.send(payment("p1", n+1, "ACSC") + "\n")
			f.next()
			<-time.After(idle - time.Nanosecond) // virtual
		}
		f.send("\n" + payment("p1", 9, "ACSC")[:40]) // half a line
		began := time.Now()
		f.ends()
		require.Equal(t, idle, time.Since(began))
		<-w.watcher.told
		require.Contains(t, w.journal.String(), `"ended":"idle"`)
		require.Contains(t, w.journal.String(), `"lines":5`)
	})
}

func TestDrainingAnswersWhatWasReadAndEndsTheStream(t *testing.T) {
	w := newWorld(t)
	gate := make(chan struct{})
	w.memory.gate = gate
	f := w.open()
	f.send(payment("p1", 1, "ACSC") + "\n" + payment("p2", 1, "ACSC") + "\n")
	require.Eventually(t, w.memory.came(2), 10*time.Second, time.Millisecond)
	idle := w.open()
	w.api.Drain()
	_, err := fmt.Fprintf(f.conn, "%x\r\n%s\n\r\n", len(payment("p3", 1, "ACSC"))+1, payment("p3", 1, "ACSC"))
	require.NoError(t, err)
	idle.ends()
	close(gate)
	require.EqualValues(t, 1, f.next()["line"])
	require.EqualValues(t, 2, f.next()["line"])
	f.ends()
	require.Equal(t, 2, w.memory.stored(), "what came after the signal was not read")

	late := w.open()
	require.Equal(t, 503, late.head.StatusCode)
	require.Equal(t, 200, w.ask("GET", "/internal/v1/quarantine", "auditor", "").status, "other requests are served until the listener closes")
}

func TestADrainedClientThatKeepsSendingStillReadsItsAnswers(t *testing.T) {
	w := newWorld(t)
	f := w.open()
	f.send(payment("p1", 1, "ACSC") + "\n")
	f.next()
	var sending sync.WaitGroup
	sending.Go(func() { // until the server closes
		for n := 2; ; n++ {
			line := payment("p1", n, "ACSC") + "\n"
			if _, err := fmt.Fprintf(f.conn, "%x\r\n%s\r\n", len(line), line); err != nil {
				return
			}
		}
	})
	for range 100 {
		require.EqualValues(t, 200, f.next()["status"])
	}
	w.api.Drain()
	var last map[string]any
	for {
		text, err := f.body.ReadBytes('\n')
		if err != nil {
			require.ErrorIs(t, err, io.EOF, "the answer ends as a whole one")
			break
		}
		require.NoError(t, json.Unmarshal(text, &last))
	}
	require.EqualValues(t, w.memory.stored(), last["line"], "every line that was stored was answered")
	f.conn.Close()
	sending.Wait()
}

func TestAClientThatGoesAwayLeavesNothingBehind(t *testing.T) {
	w := newWorld(t)
	f := w.open()
	f.send(payment("p1", 1, "ACSC") + "\n" + payment("p2", 1, "ACSC")[:30])
	f.next()
	f.conn.Close()
	<-w.watcher.told
	require.Equal(t, 1, w.memory.stored(), "half a line is none")
	require.Contains(t, w.journal.String(), `"ended":"broken"`)
	require.Zero(t, w.watcher.streams)
}

func TestAClientThatClosesItsSideStillGetsItsAnswers(t *testing.T) {
	w := newWorld(t)
	gate := make(chan struct{})
	w.memory.gate = gate
	f := w.open()
	f.send(payment("p1", 1, "ACSC") + "\n")
	f.finish()
	require.NoError(t, f.conn.(*net.TCPConn).CloseWrite())
	require.Eventually(t, w.memory.came(1), 10*time.Second, time.Millisecond)
	close(gate)
	require.EqualValues(t, 200, f.next()["status"])
	f.ends()
}

func TestAClientThatDoesNotReadIsCutOff(t *testing.T) {
	w := newWorld(t, func(c *InternalConfig) { c.Idle = 300 * time.Millisecond })
	f := w.open()
	require.NoError(t, f.conn.(*net.TCPConn).SetReadBuffer(4<<10))
	block := strings.Repeat("x\n", 10000)
	for { // until nobody takes any more, or the server closes
		if err := f.conn.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
			break
		}
		if _, err := fmt.Fprintf(f.conn, "%x\r\n%s\r\n", len(block), block); err != nil {
			break
		}
	}
	<-w.watcher.told
	require.Zero(t, w.watcher.streams)
}

func TestAPanicInAStreamEndsThatStreamAlone(t *testing.T) {
	w := newWorld(t, func(c *InternalConfig) { c.Changes = explosive{c.Changes} })
	f := w.open()
	f.send("boom\n")
	_, err := io.ReadAll(f.body)
	require.Error(t, err, "half an answer must not look like a whole one")
	<-w.watcher.told
	require.Equal(t, 1, w.watcher.panics)
	require.Equal(t, 200, w.ask("GET", "/internal/v1/quarantine", "auditor", "").status)
}

// explosive panics at the first line of a stream.
type explosive struct{ Changes }

func (explosive) Enqueue(context.Context, []byte, intake.Origin) (*intake.Pending, error) {
	panic("boom")
}
