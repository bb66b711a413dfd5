package trust

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/mtls"
)

// door stands before the public listener's handler. It judges the certificate of an open connection again when authorities or lists
// change, and every judgeEvery. If these or our certificate changed since its handshake began, it ends after its current request. A request
// through the bank's proxy gets the initiator's certificate (security §4.6).
type door struct {
	next    http.Handler
	callers *mtls.Callers
	own     []*mtls.Identity // of every brand
	log     *slog.Logger
	refused func() // counts
}

// judgeEvery is how long a connection is used before its certificate is judged again (cases H5: within 60 s).
const judgeEvery = 30 * time.Second

// stay is the state of one connection.
type stay struct {
	generation uint64       // under which its handshake began
	judged     atomic.Int64 // when, in nanoseconds since 1970
}

type stayKey struct{}

// ServerConfig is that of the public listener. With several brands the name in the handshake (SNI) decides which one answers.
func (t *Trust) ServerConfig() *tls.Config {
	if len(t.cfg.Brands) == 0 {
		return t.Callers.ServerConfig(t.Brands[0].Server)
	}
	configs := map[string]*tls.Config{}
	for _, b := range t.Brands {
		config := t.Callers.ServerConfig(b.Server)
		for _, name := range b.ServerNames() {
			configs[name] = config
		}
	}
	return mtls.ByServerName(configs)
}

// Guard puts the judgement of open connections before the handler of the public listener. bounds are those of its ShakeHands.
func (t *Trust) Guard(server *http.Server, bounds *mtls.Handshakes) {
	d := &door{next: server.Handler, callers: t.Callers, log: t.log, refused: t.observer.Refused}
	for _, b := range t.Brands {
		d.own = append(d.own, b.Server)
	}
	bounds.State = d.generation
	counted := server.ConnContext
	server.Handler = d
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		secured, ok := conn.(*tls.Conn)
		if ok && !d.callers.IsProxy(secured.ConnectionState()) {
			ctx = counted(ctx, conn) // a connection of the proxy carries many clients
		}
		return context.WithValue(ctx, stayKey{}, &stay{generation: bounds.Under(conn)})
	}
}

// ShakeHands makes a listener whose connections have finished their handshakes, within bounds. It logs each refused handshake with
// peer and reason (cases H2).
func (t *Trust) ShakeHands(bounds *mtls.Handshakes, inner net.Listener, tlsConfig *tls.Config) net.Listener {
	if balancers, _ := t.cfg.Public.Balancers(); len(balancers) > 0 { // judged by Check
		inner = mtls.BehindBalancers(inner, balancers)
	}
	return bounds.Listen(inner, tlsConfig, func(r mtls.HandshakeRefusal) {
		t.observer.Refused()
		t.log.Info("handshake refused", "peer", r.Peer.String(), "reason", r.Reason, "subject", r.Subject, "serial", r.Serial, "fingerprint", r.Fingerprint)
	})
}

// ServeHTTP lets a request through or ends its connection without an answer, as a refused handshake does.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, _ := r.Context().Value(stayKey{}).(*stay)
	if s == nil || r.TLS == nil {
		panic(http.ErrAbortHandler) // not a connection of this listener
	}
	moved, err := d.look(s, r.TLS, time.Now())
	if err != nil {
		d.refused()
		d.log.LogAttrs(r.Context(), slog.LevelInfo, "connection ended: its certificate is no longer accepted", slog.String("peer", r.RemoteAddr),
			slog.String("reason", err.Error()), slog.String("fingerprint", mtls.Fingerprint(r.TLS.PeerCertificates[0])))
		panic(http.ErrAbortHandler)
	}
	if moved {
		w.Header().Set("Connection", "close") // the next request needs a handshake under the state in force
	}
	state, err := d.callers.Unwrap(*r.TLS, r.Header)
	if err != nil {
		d.log.LogAttrs(r.Context(), slog.LevelInfo, "certificate from the proxy refused", slog.String("peer", r.RemoteAddr), slog.String("reason", err.Error()))
	}
	r.TLS = &state
	d.next.ServeHTTP(w, r)
}

// generation grows when anything changes that a handshake rests on.
func (d *door) generation() uint64 {
	generation := d.callers.Generation()
	for _, id := range d.own {
		generation += id.Generation()
	}
	return generation
}

// look judges a connection at its first request, since the state may have changed since its handshake began, and again when the state
// changes or judgeEvery has passed. moved: the connection was made under an older state.
func (d *door) look(s *stay, cs *tls.ConnectionState, now time.Time) (moved bool, err error) {
	moved = s.generation != d.generation()
	if !moved && now.UnixNano()-s.judged.Load() < int64(judgeEvery) {
		return false, nil
	}
	if err := d.callers.Judge(*cs); err != nil {
		return false, err
	}
	s.judged.Store(now.UnixNano())
	return moved, nil
}
