package bank

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/intake"
)

// stream is one request of many lines (contract, "NDJSON"). Three goroutines share it: one reads lines and submits them,
// one waits for their commits in order and encodes the answers, and one writes. While a write is under way the answers
// that are ready gather, so that an idle stream is answered line by line and a busy one in few writes. What was read and is
// not answered yet is bounded, for each stream and for all together.
//
// The connection ends with the stream: an answer that may end before its request leaves bytes on it that are no request.
//
// Line numbers count every line of the request, blank ones too, as an editor does. A blank line keeps an idle stream
// alive.
type stream struct {
	in     *Internal
	x      *api.Exchange
	rc     *http.ResponseController
	ctx    context.Context // ends when nobody is left to answer
	cancel context.CancelFunc
	from   intake.Origin
	source *source
	lines  chan line
	ahead  *budget
	out    *outbox

	refusing   atomic.Bool // a line was answered 503: so are all later ones
	gone       atomic.Bool // nobody is left to answer
	portuguese bool
	answered   int
}

// line is one line on its way to its answer.
type line struct {
	number  int
	size    int // what it takes in bytes of memory
	pending *intake.Pending
	err     error // instead of pending
}

// readers are as large as the longest line with its line break.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, intake.MaxLine+2) }}

// stream answers line by line while the request goes on. There is no limit of lines or time.
func (in *Internal) stream(x *api.Exchange) error {
	if in.draining.Err() != nil {
		return errUnavailable
	}
	x.Heard = true
	rc := http.NewResponseController(x.W)
	if err := rc.EnableFullDuplex(); err != nil {
		return err
	}
	// The request's own context ends when the peer closes its sending side, although it still reads.
	ctx, cancel := context.WithCancel(context.WithoutCancel(x.R.Context()))
	defer cancel()
	s := &stream{
		in: in, x: x, rc: rc, ctx: ctx, cancel: cancel, from: intake.Origin{Source: "api", Actor: x.Who.Subject, Address: x.R.RemoteAddr},
		source: &source{body: x.R.Body, rc: rc, idle: in.cfg.Idle}, lines: make(chan line, in.cfg.ReadAhead), ahead: in.ahead.budget(aheadMax), out: newOutbox(),
		portuguese: wantsPortuguese(x.R),
	}
	defer s.ahead.end()
	defer context.AfterFunc(in.draining, s.source.stop)()
	in.face.Observer.Streaming(1)
	defer in.face.Observer.Streaming(-1)

	if err := s.open(); err != nil {
		s.abandon()
		s.close()
		return nil // the peer is gone, and nobody is left to tell
	}
	var both sync.WaitGroup
	both.Go(s.read)
	both.Go(s.encode)
	s.write()
	both.Wait()
	s.close()
	return nil
}

// open begins the answer before the request has ended.
func (s *stream) open() error {
	s.touchWrites()
	if s.x.R.Header.Get("Expect") == "100-continue" {
		s.x.W.WriteHeader(http.StatusContinue) // after the header below it would be too late for it
	}
	s.x.W.Header().Set("Content-Type", typeNDJSON)
	s.x.W.Header().Set("Connection", "close")
	s.x.W.WriteHeader(http.StatusOK)
	return s.rc.Flush()
}

// close leaves the connection fit for the end of the answer.
func (s *stream) close() {
	s.touchWrites()
	ended := s.source.ended()
	switch {
	case s.gone.Load():
		_ = s.rc.SetReadDeadline(time.Unix(1, 0))
		s.x.Cut()
	case ended != "end":
		_ = s.rc.SetReadDeadline(time.Now().Add(api.Lingering))
	}
	s.x.Notes = append(s.x.Notes, slog.Int("lines", s.answered), slog.String("ended", ended))
}

// touchWrites grants the next write its time.
func (s *stream) touchWrites() { _ = s.rc.SetWriteDeadline(time.Now().Add(s.in.cfg.Idle)) }

// survive turns a panic in one of the goroutines into the end of this stream.
func (s *stream) survive() {
	if v := recover(); v != nil { //nolint:revive // this function is what is deferred
		s.x.Panicked(v)
		s.abandon()
	}
}

// abandon ends everything: nobody is left to answer.
func (s *stream) abandon() {
	s.gone.Store(true)
	s.cancel()
	s.source.stop()
	s.ahead.end()
	s.out.abandon()
}

// read submits line after line until the request ends, stands still or is told to stop.
func (s *stream) read() {
	defer close(s.lines)
	defer s.survive()
	r, _ := readers.Get().(*bufio.Reader)
	r.Reset(s.source)
	defer func() {
		r.Reset(nil)
		readers.Put(r)
	}()
	skipping := false // until the end of a line that was too long
	for number := 0; ; {
		text, err := r.ReadSlice('\n')
		over := errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !over && !errors.Is(err, io.EOF) {
			return // what is there of a line is not all of it
		}
		if s.in.draining.Err() != nil { // the signal to stop may still be on its way to the source
			s.source.stop()
		}
		if s.source.stopped() {
			return
		}
		if !skipping && len(text) > 0 {
			number++
			if !s.submit(number, text, over) {
				return
			}
		}
		if err != nil && !over {
			return
		}
		skipping = over
	}
}

// submit hands a line on; it answers false when nobody is left to answer.
func (s *stream) submit(number int, text []byte, over bool) bool {
	l := line{number: number}
	text = bytes.TrimRight(text, "\r\n")
	if !over && len(bytes.TrimLeft(text, " \t\r")) == 0 {
		return true
	}
	l.size = aheadLine + len(text)
	s.ahead.take(l.size)
	switch {
	case over:
		l.err = errTooLarge
	case s.refusing.Load():
		l.err = errUnavailable
		s.in.cfg.Changes.Unstored(bytes.Clone(text), s.from)
	default:
		l.pending, l.err = s.in.cfg.Changes.Enqueue(s.ctx, bytes.Clone(text), s.from)
		if s.ctx.Err() != nil {
			return false
		}
		if l.pending != nil {
			more := l.pending.Bytes()
			s.ahead.add(more)
			l.size += more
		}
	}
	select {
	case s.lines <- l:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// encode waits for each line's commit, in order, and puts its answer into the outbox.
func (s *stream) encode() {
	defer s.out.end()
	defer s.survive()
	var buf []byte
	for l := range s.lines {
		var a intake.Answer
		err := l.err
		if s.refusing.Load() {
			err = errUnavailable
		} else if err == nil {
			a, err = l.pending.Wait(s.ctx)
		}
		if s.ctx.Err() != nil {
			return
		}
		status := http.StatusOK
		if f := s.faultIn(a, err); f != nil {
			status = f.Status
			buf = appendFault(buf[:0], f, l.number, s.portuguese)
		} else {
			buf = appendAnswer(buf[:0], a, l.number, s.portuguese)
		}
		if status == http.StatusServiceUnavailable {
			s.refusing.Store(true)
		}
		s.answered++
		s.in.face.Observer.Line(status)
		s.out.add(append(buf, '\n'), l.size)
	}
}

// faultIn is what is wrong with a line, nil when it was stored. A line whose failure nobody foresaw is answered 503: it
// may be stored, and sending it again is safe.
func (s *stream) faultIn(a intake.Answer, err error) *api.APIError {
	if err == nil {
		return refusalOf(a, s.from)
	}
	f := faultOf(err)
	if f == api.ErrInternal {
		s.x.Log.Error("line of a stream failed", "error", err)
		return errUnavailable
	}
	return f
}

// write sends what the outbox holds until it has ended or the peer no longer takes it.
func (s *stream) write() {
	defer s.survive()
	var spare []byte
	for {
		ready, size, ok := s.out.take(spare)
		if !ok {
			return
		}
		s.touchWrites()
		_, err := s.x.W.Write(ready)
		if err == nil {
			err = s.rc.Flush()
		}
		if err != nil {
			s.abandon()
			return
		}
		s.ahead.give(size)
		spare = ready
	}
}

// source is the request's body with a deadline that moves on with each read.
type source struct {
	body io.Reader
	rc   *http.ResponseController
	idle time.Duration

	mu   sync.Mutex
	halt bool
	why  string
}

// Read reads what has arrived, waiting at most the idle time for it.
func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	if s.halt {
		s.mu.Unlock()
		return 0, context.Canceled
	}
	err := s.rc.SetReadDeadline(time.Now().Add(s.idle))
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := s.body.Read(p)
	if err == nil {
		return n, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var timed interface{ Timeout() bool }
	switch {
	case s.halt:
	case errors.Is(err, io.EOF):
		s.why = "end"
		// From here on the server listens for the next request; an old deadline would look like a peer that left.
		_ = s.rc.SetReadDeadline(time.Time{})
	case errors.As(err, &timed) && timed.Timeout():
		s.why = "idle"
	default:
		s.why = "broken"
	}
	return n, err
}

// stop ends reading at once, also the read that is waiting.
func (s *source) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.halt || s.why != "" {
		s.halt = true
		return
	}
	s.halt, s.why = true, "stopped"
	_ = s.rc.SetReadDeadline(time.Unix(1, 0))
}

func (s *source) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.halt
}

// ended says why nothing more is read: "end" of the request, "idle", "broken" or "stopped".
func (s *source) ended() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

// outbox holds encoded answers between the goroutine that makes them and the one that writes.
type outbox struct {
	mu      sync.Mutex
	changed *sync.Cond
	ready   []byte
	size    int  // what the lines took whose answers these are
	over    bool // nothing more comes
	dropped bool // nothing more is taken
}

// outboxMax bounds what waits for a peer that does not read.
const outboxMax = 256 << 10

func newOutbox() *outbox {
	o := &outbox{}
	o.changed = sync.NewCond(&o.mu)
	return o
}

// add waits for room and adds the answer to a line that took so many bytes.
func (o *outbox) add(answer []byte, size int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.ready) > outboxMax && !o.dropped {
		o.changed.Wait()
	}
	o.ready = append(o.ready, answer...)
	o.size += size
	o.changed.Broadcast()
}

// take waits for answers and takes them all with what their lines took, leaving spare to gather the next; false when nothing
// more comes.
func (o *outbox) take(spare []byte) (ready []byte, size int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.ready) == 0 && !o.over && !o.dropped {
		o.changed.Wait()
	}
	if o.dropped || len(o.ready) == 0 {
		return nil, 0, false
	}
	ready, size = o.ready, o.size
	o.ready, o.size = spare[:0], 0
	o.changed.Broadcast()
	return ready, size, true
}

// end says that nothing more comes.
func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
	o.changed.Broadcast()
}

// abandon says that nothing more is taken.
func (o *outbox) abandon() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dropped = true
	o.changed.Broadcast()
}
