package webhook

import (
	"context"
	"crypto/tls"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
)

// endpoint is one client's way to one host:port, with connections of its own: two clients behind one provider never
// share a connection, and what is stuck here is stuck for nobody else. It lives for one generation of our certificate
// and trust anchors; when either changes it is retired, and a new one takes its place.
type endpoint struct {
	sender     *Sender
	holder     *holder // the client's brand
	target     target  // its path is of no interest here
	tls        *tls.Config
	generation uint64
	habits     *peerHabits

	mu       sync.Mutex     // guards what follows
	open     map[*conn]bool // all connections
	idle     []*conn        // those that are bound to no exchange; the one used last at the end
	waiting  []*connRequest // requests without a connection, the oldest first; there are none while one is idle
	dialling int            // connections being made
	shaking  int            // those of them that take turns
	deciding bool           // decide will be called
	gate     gate
	retired  bool

	inFlight int       // guarded by Sender.mu
	lastUsed time.Time // guarded by Sender.mu
}

// endpointKey tells endpoints apart.
type endpointKey struct {
	client    notice.ClientID
	authority string
}

const (
	// perLane is how many connections one client may hold (design, Lanes). As many may stay open while idle: fewer would
	// cost a handshake for most attempts of a burst.
	perLane = 512
	// dropUnused is when an endpoint nobody sent to is forgotten altogether.
	dropUnused = 2 * time.Minute
	// lookEvery is how often idle connections are looked at: a receiver's end of one is noticed, and closed on our side, this
	// much later at most.
	lookEvery = 100 * time.Millisecond
	// sweepEvery is how often replaced certificates and unused endpoints are looked for.
	sweepEvery = 5 * time.Second
)

func (s *Sender) newEndpoint(h *holder, t target, generation uint64) *endpoint {
	return &endpoint{
		sender: s, holder: h, target: t, generation: generation, habits: new(peerHabits), open: map[*conn]bool{},
		tls: mtls.ClientConfig(h.identity, s.cfg.Roots, t.host, s.cfg.Checks...),
	}
}

// endpoint finds or makes the endpoint of a client and target, of the generation in force, and counts a user of it. The error
// is ErrClosed, or the *Refusal of a host that may not be dialled.
func (s *Sender) endpoint(client notice.ClientID, t target, now time.Time) (*endpoint, error) {
	h := s.holders[brand.Of(client)]
	generation := s.generation(h)
	key := endpointKey{client, t.authority}
	s.mu.Lock()
	if s.background.ctx.Err() != nil {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	old := s.endpoints[key]
	e := old
	if e == nil || e.generation != generation {
		if err := s.cfg.Guard.CheckHost(t.host, t.port); err != nil {
			s.mu.Unlock()
			return nil, err
		}
		e = s.newEndpoint(h, t, generation)
		s.endpoints[key] = e
	}
	e.inFlight++
	e.lastUsed = now
	s.mu.Unlock()
	if old != nil && old != e {
		old.retire()
	}
	return e, nil
}

// release ends a use.
func (s *Sender) release(e *endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.inFlight--
}

// retireIf retires the endpoints that the condition, which is asked under the lock, holds for.
func (s *Sender) retireIf(condition func(endpointKey, *endpoint) bool) {
	var gone []*endpoint
	s.mu.Lock()
	for key, e := range s.endpoints {
		if condition(key, e) {
			delete(s.endpoints, key)
			gone = append(gone, e)
		}
	}
	s.mu.Unlock()
	for _, e := range gone {
		e.retire()
	}
}

// sweep retires what stands on a replaced certificate or trust set, and what nobody used for a while.
func (s *Sender) sweep(now time.Time) {
	s.retireIf(func(_ endpointKey, e *endpoint) bool {
		return e.generation != s.generation(e.holder) || e.inFlight == 0 && now.Sub(e.lastUsed) >= dropUnused
	})
}

// look looks at the idle connections of all endpoints.
func (s *Sender) look(now time.Time) {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.endpoints))
	s.mu.Unlock()
	for _, e := range all {
		e.look(now)
	}
}

// makeRoom closes idle connections before another is dialled when there are as many as may be: of the endpoints that
// nobody uses, the longest unused first, and an eighth of all at once, so that this is rarely done.
func (s *Sender) makeRoom() {
	most := s.cfg.Connections
	over := int(s.open.Load()) - most
	if most == 0 || over < 0 {
		return
	}
	var gone []*endpoint
	s.mu.Lock()
	var unused []endpointKey
	for key, e := range s.endpoints {
		if e.inFlight == 0 {
			unused = append(unused, key)
		}
	}
	slices.SortFunc(unused, func(a, b endpointKey) int { return s.endpoints[a].lastUsed.Compare(s.endpoints[b].lastUsed) })
	for need := over + max(1, most/8); need > 0 && len(unused) > 0; unused = unused[1:] {
		e := s.endpoints[unused[0]]
		delete(s.endpoints, unused[0])
		gone = append(gone, e)
		e.mu.Lock()
		need -= len(e.open)
		e.mu.Unlock()
	}
	s.mu.Unlock()
	for _, e := range gone {
		e.retire()
	}
}

// background counts what a Sender has running beside its callers, so that Close can end and await it.
type background struct {
	ctx    context.Context
	cancel context.CancelFunc
	mu     sync.Mutex // cancel is called under it
	wait   sync.WaitGroup
}

func newBackground() *background {
	b := &background{}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// begin counts one more, unless all has ended.
func (b *background) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		return false
	}
	b.wait.Add(1)
	return true
}

func (b *background) end() { b.wait.Done() }

// close ends what runs and awaits it.
func (b *background) close() {
	b.mu.Lock()
	b.cancel()
	b.mu.Unlock()
	b.wait.Wait()
}
