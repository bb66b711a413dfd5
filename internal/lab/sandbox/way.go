package sandbox

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/ofb"
)

// client is an initiator of the sandbox.
type client struct {
	ID           string
	Registration stage.Registration // as it is when nothing is lost

	mu     sync.Mutex
	losing int // stories that lose something now
}

// way passes notifications on to their receivers and loses what stories say. It shows receivers the certificate of the holder, as the
// gateway does.
type way struct {
	clients  map[string]*client
	register func(ctx context.Context, client string, r stage.Registration) error
	say      func(Event)

	server   *http.Server
	base     string // https://localhost:PORT
	outgoing *http.Client

	mu     sync.Mutex
	losses map[string]*loss // by the path of a notification, behind the registered base
}

// loss says what of the attempts of one resource is lost.
type loss struct {
	r                 *resource
	requests, answers int // still to lose
}

// passWithin is less than the gateway waits for an answer.
const passWithin = 14 * time.Second

// openWay starts the way with the certificates of a development PKI.
func openWay(ctx context.Context, pki string, say func(Event)) (*way, error) {
	at := func(name string) string { return filepath.Join(pki, filepath.FromSlash(name)) }
	me := "initiators/" + certs.DefaultAlfa.Name + "/server"
	server, err := mtls.LoadIdentity(at(me+".pem"), at(me+".key"), mtls.AsServer)
	if err != nil {
		return nil, err
	}
	holder, err := mtls.LoadIdentity(at("holder/brcac.pem"), at("holder/brcac.key"), mtls.AsClient)
	if err != nil {
		return nil, err
	}
	issuers, err := mtls.LoadAnchors(at("trust/clients.pem"))
	if err != nil {
		return nil, err
	}
	roots, err := mtls.LoadAnchors(at("trust/roots.pem"))
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &way{say: say, clients: map[string]*client{}, losses: map[string]*loss{}, base: fmt.Sprintf("https://localhost:%d", listener.Addr().(*net.TCPAddr).Port)}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return (&tls.Dialer{Config: mtls.ClientConfig(holder, roots, host)}).DialContext(ctx, network, address)
	}
	w.outgoing = &http.Client{
		Timeout: passWithin, Transport: &http.Transport{DialTLSContext: dial, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	w.server = &http.Server{Handler: w, ReadHeaderTimeout: 10 * time.Second}
	go func() { // until close
		_ = w.server.Serve(mtls.Listen(listener, mtls.ServerConfig(server, issuers), tellRefusals(w.say)))
	}()
	return w, nil
}

// tellRefusals tells handshakes that failed, but for connections on which none began. A caller that ends one without an alert may have
// gone away, or not trust our certificate: that is Refused, and no failure of a story.
func tellRefusals(say func(Event)) func(mtls.HandshakeRefusal) {
	return func(r mtls.HandshakeRefusal) {
		e := Event{At: time.Now().UTC(), What: Failed, Reason: r.Err.Error()}
		if errors.Is(r.Err, io.EOF) {
			if !r.Hello {
				return
			}
			e.What, e.Reason = Refused, "the caller ended the TLS handshake without an alert"
		}
		say(e)
	}
}

func (w *way) close() {
	_ = w.server.Close()
	w.outgoing.CloseIdleConnections()
}

// lose registers the owner of a resource at the way until release is called, and loses the next requests and answers of its
// notifications.
func (w *way) lose(ctx context.Context, r *resource, requests, answers int) (release func(), err error) {
	c := w.clients[r.client]
	if c == nil || len(c.Registration.WebhookURIs) == 0 {
		return nil, wrong("client %s has no receiver: there is nothing to lose", "o cliente %s não tem receptor: não há o que perder", r.client)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.losing == 0 {
		registration := c.Registration
		registration.WebhookURIs = []string{w.base + "/" + url.PathEscape(c.ID)}
		if err := w.register(ctx, c.ID, registration); err != nil {
			return nil, fmt.Errorf("register %s at the sandbox: %w", c.ID, err)
		}
	}
	c.losing++
	path := ofb.Path(r.kind, r.version, r.id)
	w.mu.Lock()
	w.losses[path] = &loss{r, requests, answers}
	w.mu.Unlock()
	return func() {
		w.mu.Lock()
		delete(w.losses, path)
		w.mu.Unlock()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.losing--; c.losing == 0 {
			if err := w.register(context.WithoutCancel(ctx), c.ID, c.Registration); err != nil && ctx.Err() == nil {
				w.say(Event{At: time.Now().UTC(), What: Failed, Client: c.ID, Reason: err.Error()})
			}
		}
	}, nil
}

// due says what is lost of this attempt.
func (w *way) due(path string) (of *resource, request, answer bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.losses[path]
	switch {
	case l == nil:
		return nil, false, false
	case l.requests > 0:
		l.requests--
		return l.r, true, false
	case l.answers > 0:
		l.answers--
		return l.r, false, true
	}
	return l.r, false, false
}

// ServeHTTP passes one attempt on, or loses it.
func (w *way) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	segment, path, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	name, _ := url.PathUnescape(segment)
	c := w.clients[name]
	if c == nil {
		http.NotFound(rw, r)
		return
	}
	path = "/" + path
	of, loseRequest, loseAnswer := w.due(path)
	interaction := r.Header.Get(ofb.HeaderInteractionID)
	tell := func(what What, reason string) {
		e := Event{At: time.Now().UTC(), What: what, Client: c.ID, Interaction: interaction, Reason: reason}
		if of != nil {
			e.Kind, e.ID = of.kind.String(), of.id
		}
		w.say(e)
	}
	if loseRequest {
		tell(RequestLost, "")
		panic(http.ErrAbortHandler) // the connection ends without an answer
	}
	status, echo, err := w.pass(r, c.Registration.WebhookURIs[0]+path)
	if err != nil {
		tell(NotDelivered, err.Error())
		panic(http.ErrAbortHandler)
	}
	if loseAnswer {
		tell(AnswerLost, "")
		panic(http.ErrAbortHandler)
	}
	if echo != "" {
		rw.Header().Set(ofb.HeaderInteractionID, echo)
	}
	rw.WriteHeader(status)
}

// pass sends an attempt to its receiver as it came, and returns the status and the interaction id of the answer.
func (w *way) pass(r *http.Request, target string) (status int, echo string, err error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return 0, "", err
	}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, target, bytes.NewReader(body)) //nolint:gosec // likewise
	if err != nil {
		return 0, "", err
	}
	for name, values := range r.Header {
		out.Header[name] = values
	}
	res, err := w.outgoing.Do(out) //nolint:gosec // the target is what the developer registered at the own sandbox
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return 0, "", err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 16<<10))
	return res.StatusCode, res.Header.Get(ofb.HeaderInteractionID), nil
}
