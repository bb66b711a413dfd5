package logging

import (
	"io"
	"log/slog"
	"sync"
	"time"
)

// logRoom limits, in bytes, how much of the log waits for its reader: some ten thousand lines.
const logRoom = 4 << 20

// LogWriter is where the log leaves the process. Nobody who logs waits for the reader: lines go into a bounded buffer, and
// what does not fit, or cannot be written, is lost and counted (cases S7). Once lines go through again, one says how many
// were lost. The history is not written here, and loses nothing.
type LogWriter struct {
	to   io.Writer
	room int
	more chan struct{} // there is something to write, or Close was called
	done chan struct{}

	mu     sync.Mutex
	text   []byte // whole lines
	lines  int    // in it
	lost   int    // since the last line that told
	total  int    // lost in all
	closed bool
}

// NewLogWriter writes to where the log goes until Close.
func NewLogWriter(to io.Writer) *LogWriter { return newLogWriter(to, logRoom) }

func newLogWriter(to io.Writer, room int) *LogWriter {
	o := &LogWriter{to: to, room: room, more: make(chan struct{}, 1), done: make(chan struct{})}
	go o.run()
	return o
}

// Write takes one line, or loses it. It never waits and never fails.
func (o *LogWriter) Write(line []byte) (int, error) {
	o.mu.Lock()
	if o.closed || len(o.text)+len(line) > o.room {
		o.lost, o.total = o.lost+1, o.total+1
	} else {
		o.text = append(o.text, line...)
		o.lines++
	}
	o.mu.Unlock()
	o.stir()
	return len(line), nil
}

func (o *LogWriter) stir() {
	select {
	case o.more <- struct{}{}:
	default:
	}
}

// Lost is how many lines were lost so far.
func (o *LogWriter) Lost() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total
}

// Close writes what waits, for as long as patience allows, and takes no more.
func (o *LogWriter) Close(patience time.Duration) {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.stir()
	select {
	case <-o.done:
	case <-time.After(patience):
	}
}

// run is the only one that waits for the reader.
func (o *LogWriter) run() {
	defer close(o.done)
	news := slog.New(slog.NewJSONHandler(o.to, nil))
	var text []byte
	torn := false // a failed write may have ended within a line
	for range o.more {
		o.mu.Lock()
		text, o.text = o.text, text[:0]
		lines, lost, closed := o.lines, o.lost, o.closed
		o.lines, o.lost = 0, 0
		o.mu.Unlock()
		if torn && lines > 0 {
			text = append([]byte("\n"), text...)
		}
		if _, err := o.to.Write(text); err != nil { // nobody can be told by a log
			torn = true
			o.mu.Lock()
			o.lost, o.total = o.lost+lost+lines, o.total+lines
			o.mu.Unlock()
		} else if lines > 0 {
			torn = false
			if lost > 0 {
				news.Warn("log lines lost: the reader of this log was too slow, or refused them", "lost", lost)
			}
		}
		if closed {
			return
		}
	}
}
