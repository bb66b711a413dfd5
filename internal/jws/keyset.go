package jws

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/mtls"
)

// Defaults and bounds of reading a key set.
const (
	FileEvery  = 5 * time.Second // how often a file is looked at
	FetchEvery = 5 * time.Minute // how often an address is asked
	KeepFor    = 24 * time.Hour  // how long keys serve that could not be confirmed
	fetchTime  = 5 * time.Second // one fetch, body included (case J6)
	askedEvery = time.Minute     // between fetches because of an unknown kid
	firstRetry = 1 * time.Second // after a failed fetch; doubled each time, up to the regular period
	maxName    = 256             // of a source, where it is shown
	mediaTypes = "application/jwk-set+json, application/json;q=0.9"
)

// KeySetConfig holds a key set's location and how often it is read.
type KeySetConfig struct {
	// Location is an address if it begins with https://, otherwise a file (contract, "File formats").
	Location string
	// Client fetches addresses. Its transport decides what may be dialled; redirects are refused whatever it says.
	Client *http.Client
	// Every is the distance between two readings; 0: FileEvery or FetchEvery.
	Every time.Duration
	// Keep is how long the keys of an address that cannot be read any more go on serving; 0: KeepFor. Keys of a file
	// serve without limit.
	Keep time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Observe is told, by the goroutine that reads, when new keys take effect, when a reading is refused (once per
	// reason) and when a refusal ends. It must be quick. nil: nobody.
	Observe func(KeySetEvent)
}

// KeySetEvent is one reload of a key set, or its refusal.
type KeySetEvent struct {
	Source string   // its Name
	Keys   int      // usable keys in force now
	Faulty []string // why keys of the set in force are left out that its publisher should mend
	Err    error    // why the last reading was refused; nil: what was read is in force
}

// KeySet holds the keys last read in good order from one place, and reads them again in the background. It is safe for
// concurrent use. Looking a key up costs one atomic load and never waits.
type KeySet struct {
	cfg    KeySetConfig
	remote bool
	fixed  bool
	name   string
	ask    chan struct{} // capacity 1: somebody met a kid that is not in the set

	current atomic.Pointer[keySetState]
	mu      sync.Mutex // one reading at a time
	refused string     // last reason told; guarded by mu
}

// keySetState is one state of a KeySet.
type keySetState struct {
	keys   *Keys
	digest [sha256.Size]byte
	at     time.Time // last confirmed
}

// FixedKeySet is a set that never changes, from keys at hand.
func FixedKeySet(keys *Keys) *KeySet {
	s := &KeySet{fixed: true, name: "fixed key set", ask: make(chan struct{}, 1)}
	s.current.Store(&keySetState{keys: keys})
	return s
}

// OpenKeySet prepares a key set. A file is read at once and must be in order. An address is not asked yet, so that
// we start while its server is down: Run or Reload does it, and until then Usable says why nothing can be verified.
func OpenKeySet(c KeySetConfig) (*KeySet, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Keep <= 0 {
		c.Keep = KeepFor
	}
	s := &KeySet{cfg: c, name: c.Location, ask: make(chan struct{}, 1)}
	if strings.HasPrefix(c.Location, "https://") {
		if err := s.openAddress(); err != nil {
			return nil, err
		}
		return s, nil
	}
	switch {
	case c.Location == "":
		return nil, errors.New("no key set named; give a file or an https address")
	case strings.HasPrefix(c.Location, "http://"):
		return nil, errors.New("a key set is read from a file or over https, never over http")
	}
	if c.Every <= 0 {
		s.cfg.Every = FileEvery
	}
	if err := s.Reload(context.Background()); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *KeySet) openAddress() error {
	at, err := url.Parse(s.cfg.Location)
	if err != nil || at.Host == "" || at.User != nil || at.Fragment != "" {
		return errors.New("the address of a key set must be https://host[:port]/path, without user or fragment")
	}
	s.name = "https://" + at.Host + at.EscapedPath() // a query could hold a secret
	if s.cfg.Client == nil {
		return fmt.Errorf("%s: no client to fetch key sets with", s.name)
	}
	client := *s.cfg.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar = nil
	s.cfg.Client = &client
	s.remote = true
	if s.cfg.Every <= 0 {
		s.cfg.Every = FetchEvery
	}
	return nil
}

// Name returns the set's location, safe to show.
func (s *KeySet) Name() string { return s.name[:min(len(s.name), maxName)] }

// Digests returns the SHA-256 of the set in force, in hexadecimal, by its Name; nothing before the first reading.
func (s *KeySet) Digests() map[string]string {
	r := s.current.Load()
	if r == nil || s.fixed {
		return nil
	}
	return map[string]string{s.Name(): hex.EncodeToString(r.digest[:])}
}

// Usable returns nil when tokens can be verified now, else an error that wraps ErrUnavailable.
func (s *KeySet) Usable() error {
	_, err := s.Keys()
	return err
}

// Keys returns the keys in force. The error wraps ErrUnavailable.
func (s *KeySet) Keys() (*Keys, error) {
	r := s.current.Load()
	if r == nil {
		return nil, fmt.Errorf("key set %s has not been read yet: %w", s.Name(), ErrUnavailable)
	}
	if s.remote && s.cfg.Now().Sub(r.at) > s.cfg.Keep {
		return nil, fmt.Errorf("key set %s could not be confirmed for %s: %w", s.Name(), s.cfg.Keep, ErrUnavailable)
	}
	return r.keys, nil
}

// Faulty returns why keys of the set in force are left out that its publisher should mend, each with the set's name.
func (s *KeySet) Faulty() []string {
	r := s.current.Load()
	if r == nil {
		return nil
	}
	out := r.keys.Faulty()
	for i, why := range out {
		out[i] = "key set " + s.Name() + ": " + why
	}
	return out
}

// lookup finds the key of a kid for an algorithm. A kid that is not there asks for a reading in the background, since
// keys change, and is refused at once: no request waits for a fetch (case J6).
func (s *KeySet) lookup(kid, alg string) (*rsa.PublicKey, error) {
	keys, err := s.Keys()
	if err != nil {
		return nil, err
	}
	key, known := keys.byKID[kid]
	switch {
	case !known:
		select {
		case s.ask <- struct{}{}:
		default:
		}
		return nil, refuse(UnknownKey, "kid", "no key of the configured set has it")
	case key.alg != "" && key.alg != alg:
		return nil, refuse(Algorithm, "alg", "the key of this kid is for another one")
	}
	return key.public, nil
}

// Run reads the set repeatedly until ctx ends: at its interval, after failures at growing distances, and soon after
// an unknown kid, but for those at most once a minute.
func (s *KeySet) Run(ctx context.Context) {
	if s.fixed {
		return
	}
	wait, retry := s.cfg.Every, firstRetry
	if s.current.Load() == nil {
		wait = 0
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var asked time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.ask:
			now := s.cfg.Now()
			if !asked.IsZero() && now.Sub(asked) < askedEvery {
				continue
			}
			asked = now
		}
		wait = s.cfg.Every
		if s.Reload(ctx) == nil {
			retry = firstRetry
		} else {
			wait = min(wait, retry)
			retry = min(2*retry, s.cfg.Every)
		}
		timer.Reset(wait)
	}
}

// Reload reads the set once, now. After an error the previous keys stay in force.
func (s *KeySet) Reload(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fixed {
		return nil
	}
	changed, err := s.read(ctx)
	if ctx.Err() != nil && err != nil {
		return err // we are ending; nothing is wrong with the source
	}
	reason := ""
	if err != nil {
		if _, named := errors.AsType[*mtls.FileError](err); named {
			err = fmt.Errorf("key set %w", err)
		} else {
			err = fmt.Errorf("key set %s: %w", s.Name(), err)
		}
		reason = err.Error()
	}
	if (changed || reason != s.refused) && s.cfg.Observe != nil {
		event := KeySetEvent{Source: s.Name(), Err: err}
		if r := s.current.Load(); r != nil {
			event.Keys, event.Faulty = len(r.keys.byKID), r.keys.Faulty()
		}
		s.cfg.Observe(event)
	}
	s.refused = reason
	return err
}

func (s *KeySet) read(ctx context.Context) (changed bool, err error) {
	content, err := s.content(ctx)
	if err != nil {
		return false, err
	}
	old, fresh := s.current.Load(), &keySetState{digest: sha256.Sum256(content), at: s.cfg.Now()}
	if old != nil && old.digest == fresh.digest {
		fresh.keys = old.keys
		s.current.Store(fresh)
		return false, nil
	}
	if fresh.keys, err = ParseKeySet(content); err != nil {
		return false, err
	}
	s.current.Store(fresh)
	return true, nil
}

func (s *KeySet) content(ctx context.Context) ([]byte, error) {
	if s.remote {
		return s.fetch(ctx)
	}
	return mtls.ReadFile(s.cfg.Location, maxSetBytes, nil)
}

func (s *KeySet) fetch(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.Location, nil)
	if err != nil {
		return nil, errors.New("the address cannot be requested")
	}
	request.Header.Set("Accept", mediaTypes)
	answer, err := s.cfg.Client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", unwrapURL(err))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch: answered with status %d instead of 200", answer.StatusCode)
	}
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxSetBytes+1))
	if err != nil {
		return nil, fmt.Errorf("fetch: read the answer: %w", err)
	}
	return content, nil // one byte too many is for ParseKeySet to refuse
}

// unwrapURL leaves out the address, which the caller names in its short form.
func unwrapURL(err error) error {
	if at, ok := errors.AsType[*url.Error](err); ok {
		return at.Err
	}
	return err
}
