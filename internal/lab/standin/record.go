package standin

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Field is one header line as it arrived.
type Field struct{ Name, Value string }

// Request is one request as it arrived.
type Request struct {
	Head        []byte  // request line and headers with their line ends, byte for byte
	Line        string  // the request line
	Method      string  // of the request line
	Target      string  // of the request line, not decoded
	Header      []Field // in the order of arrival
	Body        []byte
	Interaction string // x-webhook-interaction-id
	Given       Answer // what it is answered

	At          time.Time // when its first byte was there; monotonic
	Connection  int       // number of the connection, from 1
	Remote      string
	TLS         *tls.ConnectionState // nil without TLS
	PeerSubject string               // of the client certificate
}

// Get returns the value of the first header of that name, in any case of letters.
func (r *Request) Get(name string) string {
	for _, f := range r.Header {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Handshake is one TLS handshake that ended, well or not.
type Handshake struct {
	Connection int
	Err        error
	Subject    string // of the client certificate, if one was seen
	At         time.Time
}

// Requests are all requests so far, in the order of arrival.
func (i *Initiator) Requests() []Request {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.requests)
}

// Handshakes are all handshakes so far.
func (i *Initiator) Handshakes() []Handshake {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.handshakes)
}

// Connections is how many connections were accepted so far.
func (i *Initiator) Connections() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.connections
}

// Wait waits until n requests that match have arrived since the beginning, and returns them all.
// A nil match takes every request.
func (i *Initiator) Wait(ctx context.Context, n int, match func(*Request) bool) ([]Request, error) {
	var found []Request
	seen := 0
	err := i.until(ctx, fmt.Sprintf("%d requests", n), func() bool {
		for ; seen < len(i.requests); seen++ {
			if r := &i.requests[seen]; match == nil || match(r) {
				found = append(found, *r)
			}
		}
		return len(found) >= n
	})
	if err != nil {
		err = fmt.Errorf("%w (%d came)", err, len(found))
	}
	return found, err
}

// WaitHandshake waits until n handshakes have ended.
func (i *Initiator) WaitHandshake(ctx context.Context, n int) ([]Handshake, error) {
	err := i.until(ctx, fmt.Sprintf("%d handshakes", n), func() bool { return len(i.handshakes) >= n })
	return i.Handshakes(), err
}

// For matches requests whose target contains the text.
func For(text string) func(*Request) bool {
	return func(r *Request) bool { return strings.Contains(r.Target, text) }
}

func (i *Initiator) record(r Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.requests = append(i.requests, r)
	i.announce()
}

func (i *Initiator) recordHandshake(h Handshake) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.handshakes = append(i.handshakes, h)
	i.announce()
}

func subject(state *tls.ConnectionState) string {
	if state == nil || len(state.PeerCertificates) == 0 {
		return ""
	}
	return state.PeerCertificates[0].Subject.String()
}

// maxRequest is more than any request of the product; who sends more is not talking to us.
const maxRequest = 1 << 20

var errTooLong = errors.New("the request is too long")

// readRequest reads one request, byte for byte. It knows Content-Length only, which is all the contract allows.
func readRequest(r *bufio.Reader) (Request, error) {
	if _, err := r.Peek(1); err != nil {
		return Request{}, err
	}
	request := Request{At: time.Now()}
	for !bytes.HasSuffix(request.Head, []byte("\r\n\r\n")) {
		line, err := r.ReadSlice('\n')
		request.Head = append(request.Head, line...)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return request, err
		}
		if len(request.Head) > maxRequest {
			return request, errTooLong
		}
	}
	lines := strings.Split(strings.TrimSuffix(string(request.Head), "\r\n\r\n"), "\r\n")
	request.Line = lines[0]
	if parts := strings.SplitN(request.Line, " ", 3); len(parts) == 3 {
		request.Method, request.Target = parts[0], parts[1]
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		request.Header = append(request.Header, Field{name, strings.TrimSpace(value)})
	}
	request.Interaction = request.Get("x-webhook-interaction-id")
	length, err := strconv.Atoi(request.Get("Content-Length"))
	if err != nil || length < 0 || length > maxRequest {
		return request, fmt.Errorf("content-length: %w", errTooLong)
	}
	request.Body = make([]byte, length)
	_, err = io.ReadFull(r, request.Body)
	return request, err
}
