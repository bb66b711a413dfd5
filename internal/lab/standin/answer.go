package standin

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Echo says what an answer does with the interaction id.
type Echo uint8

// The three ways; the zero value is right.
const (
	Echoed Echo = iota
	NotEchoed
	WrongEcho
)

// Point is where an answer stops.
type Point uint8

// The points; the zero value stops nowhere.
const (
	Nowhere      Point = iota
	AtStatusLine       // nothing of the answer is sent
	InStatusLine       // half of the status line
	InHeaders          // the status line and half of the headers
	AtBody             // the whole head, and no body though one is announced
)

// End is what becomes of the connection after an answer.
type End uint8

// The ends; the zero value keeps the connection.
const (
	Keep    End = iota
	Close       // closed, as TLS and TCP want it
	Reset       // reset
	HangUp      // closed without having said a word of the answer
	ResetUp     // reset without having said a word of the answer
)

// Answer is what one request gets. The zero value is a good initiator's: 202, the id echoed, no body, connection kept.
type Answer struct {
	Status int      // default 202
	Reason string   // of the status line; default the usual words
	Echo   Echo     // of the interaction id
	Header []string // further lines, "Name: value", byte for byte
	Body   string   // with its Content-Length

	Raw []byte // the whole answer, byte for byte; the fields above are ignored
	// Flood writes the answer itself, for what is too big to hold; it must return when w fails.
	Flood func(w io.Writer) error
	// Records are written instead, each as a TLS record of its own, and leave in one piece. Not without TLS.
	Records []string

	Delay   time.Duration // before the answer
	Trickle time.Duration // between two bytes of the answer
	// TrickleBody is the pause between two bytes of the body; the head goes out at once.
	TrickleBody time.Duration
	Stall       Point
	End         End
}

// Accept is the good answer, spelled out for scripts.
var Accept = Answer{}

// Refuse is an answer with another status.
func Refuse(status int) Answer { return Answer{Status: status} }

// script is a list of answers for the requests it is meant for.
type script struct {
	match   string
	answers []Answer
}

// Answer sets the answers for requests whose target contains match ("" for all): one each, in order, the last one for
// ever. A later script for the same match replaces the earlier; among several that match, the longest wins. So a test
// scripts one resource by its id, one brand by its path, or everybody.
func (i *Initiator) Answer(match string, answers ...Answer) {
	if len(answers) == 0 {
		answers = []Answer{Accept}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, s := range i.scripts {
		if s.match == match {
			s.answers = answers
			return
		}
	}
	i.scripts = append(i.scripts, &script{match, answers})
}

// AnswerBy has a function give the answers that no script gives; nil: none. It is called from many goroutines.
func (i *Initiator) AnswerBy(decide func(*Request) Answer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.decide = decide
}

// Accepts tells whether this answer, read whole, tells the sender that it was accepted.
func (a Answer) Accepts() bool {
	return a.Raw == nil && a.Flood == nil && a.Records == nil && (a.Status == 0 || a.Status/100 == 2) && (a.Stall == Nowhere || a.Stall == AtBody) && a.End != HangUp && a.End != ResetUp
}

// next takes the answer for a request.
func (i *Initiator) next(r *Request) Answer {
	i.mu.Lock()
	best, decide := i.scripted(r), i.decide
	i.mu.Unlock()
	switch {
	case best != nil:
		return *best
	case decide != nil:
		return decide(r)
	}
	return Accept
}

// scripted takes the answer of the script for a request, if there is one. The caller holds mu.
func (i *Initiator) scripted(r *Request) *Answer {
	var best *script
	for _, s := range i.scripts {
		if strings.Contains(r.Target, s.match) && (best == nil || len(s.match) > len(best.match)) {
			best = s
		}
	}
	if best == nil {
		return nil
	}
	answer := best.answers[0]
	if len(best.answers) > 1 {
		best.answers = best.answers[1:]
	}
	return &answer
}

// write gives the answer and says whether the connection goes on.
func (a Answer) write(i *Initiator, conn, raw net.Conn, r *Request) bool {
	if !i.pause(a.Delay) {
		return false
	}
	switch {
	case a.End == HangUp:
		_ = conn.Close()
		return false
	case a.End == ResetUp:
		reset(raw)
		return false
	case a.Flood != nil:
		_ = a.Flood(conn)
		hold(conn)
		return false
	case a.Records != nil:
		below := conn.(*tls.Conn).NetConn().(*gathering)
		if below.inOnePiece(func() error { return writeEach(conn, a.Records) }) != nil {
			return false
		}
		return a.finish(conn, raw)
	}
	head, body := a.parts(r)
	switch a.Stall {
	case AtStatusLine:
		head, body = "", ""
	case InStatusLine:
		head, body = head[:len("HTTP/1.1 2")], ""
	case InHeaders:
		head, body = head[:len(head)-4], ""
	case AtBody:
		body = ""
	}
	if !i.send(conn, head, body, a) {
		return false
	}
	if a.Stall != Nowhere {
		hold(conn)
		return false
	}
	return a.finish(conn, raw)
}

func writeEach(w io.Writer, pieces []string) error {
	for _, piece := range pieces {
		if _, err := io.WriteString(w, piece); err != nil {
			return err
		}
	}
	return nil
}

func (a Answer) finish(conn, raw net.Conn) bool {
	switch a.End {
	case Close:
		_ = conn.Close()
		return false
	case Reset:
		reset(raw)
		return false
	default:
		return true
	}
}

// parts are the head and the body as they go out.
func (a Answer) parts(r *Request) (head, body string) {
	if a.Raw != nil {
		return string(a.Raw), ""
	}
	status := a.Status
	if status == 0 {
		status = http.StatusAccepted
	}
	reason := a.Reason
	if reason == "" {
		reason = http.StatusText(status)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %03d %s\r\n", status, reason)
	switch a.Echo {
	case Echoed:
		fmt.Fprintf(&b, "x-webhook-interaction-id: %s\r\n", r.Interaction)
	case WrongEcho:
		b.WriteString("x-webhook-interaction-id: 00000000-0000-4000-8000-000000000000\r\n")
	}
	for _, line := range a.Header {
		b.WriteString(line + "\r\n")
	}
	if status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(a.Body))
	}
	b.WriteString("\r\n")
	return b.String(), a.Body
}

// send writes head and body, together when nothing asks for a pause.
func (i *Initiator) send(conn net.Conn, head, body string, a Answer) bool {
	if a.Trickle == 0 && a.TrickleBody == 0 {
		_, err := conn.Write([]byte(head + body))
		return err == nil
	}
	return i.trickle(conn, head, a.Trickle) && i.trickle(conn, body, max(a.Trickle, a.TrickleBody))
}

func (i *Initiator) trickle(conn net.Conn, text string, pause time.Duration) bool {
	if pause == 0 {
		_, err := conn.Write([]byte(text))
		return err == nil
	}
	for n := range len(text) {
		if _, err := conn.Write([]byte{text[n]}); err != nil || !i.pause(pause) {
			return false
		}
	}
	return true
}

// Repeat writes begin once and then line n times, for header bombs.
func Repeat(begin, line string, n int) func(io.Writer) error {
	return func(w io.Writer) error {
		if _, err := io.WriteString(w, begin); err != nil {
			return err
		}
		per := max(1, 32<<10/max(1, len(line)))
		block := bytes.Repeat([]byte(line), per)
		for ; n > 0; n -= per {
			if n < per {
				block = block[:n*len(line)]
			}
			if _, err := w.Write(block); err != nil {
				return err
			}
		}
		return nil
	}
}
