package watch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/arauto/arauto/internal/notice"
)

// A failure usually belongs to the world. When the origin is lost the session ends, and the same is told again. When our
// own database cannot store, the session holds what it was told (see hold). A record may also fail by itself: a panic
// while it is mapped, or a value that no database stores, while others are stored. Then its failures are counted, and
// after three of them it is put aside like any record that cannot be mapped. Only what is proven to be the record's own
// counts: the Sink says so with ErrAlone.

// ErrAlone is the error of a Sink or a Pending when one record fails while others are stored.
var ErrAlone = errors.New("the record fails by itself")

// mostTries is how often a record may fail before it is put aside. When it cannot be put aside either, as often again, it
// is put aside without its values.
const mostTries = 3

// mostFaults bounds what is remembered; beyond it, it is not single records that fail.
const mostFaults = 1000

// recordFault names a record by what it says and not by where it stood, which a queue does not tell alike twice.
type recordFault [sha256.Size]byte

// failing is how often a record failed, and what was done with it then.
type failing struct {
	times int
	doing string
}

// What is done with a record when it fails.
const (
	mapping = "mapping"
	storing = "storing"
)

func (e *Envelope) fault() recordFault {
	bare := *e
	bare.Record.Position, bare.Cut = "", false
	return sha256.Sum256(bare.Encode())
}

// failures of a record so far. Almost always there are none of any, and nothing is computed.
func (s *Source) failures(e *Envelope) failing {
	if s.faultless() {
		return failing{}
	}
	name := e.fault()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults[name]
}

func (s *Source) faultless() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.faults) == 0
}

// fails counts a failure of a record.
func (s *Source) fails(e *Envelope, doing string) {
	name := e.fault()
	s.mu.Lock()
	if s.faults == nil || len(s.faults) >= mostFaults {
		s.faults = map[recordFault]failing{}
	}
	s.faults[name] = failing{s.faults[name].times + 1, doing}
	s.mu.Unlock()
	s.observer.Failed(s.mapping.Source, e.Record.Table)
}

// forgive forgets the failures of a record that was taken, or put aside.
func (s *Source) forgive(e *Envelope) {
	if s.faultless() {
		return
	}
	name := e.fault()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.faults, name)
}

// problem is why a record is put aside that failed so often; nil: it may be tried.
func (f failing) problem() []notice.Problem {
	if f.times < mostTries {
		return nil
	}
	pt := map[string]string{mapping: "mapeá-lo", storing: "gravá-lo"}[f.doing]
	return []notice.Problem{problem("", codeFailed, fmt.Sprintf("%s it failed %d times, while others were taken; the log says why, at this key", f.doing, f.times),
		fmt.Sprintf("%s falhou %d vezes, enquanto outros foram aceitos; o log diz por quê, nesta chave", pt, f.times))}
}

// errPanic is a panic over a record.
var errPanic = errors.New("panic")

// guarded does something with a record. A panic is that record's failure.
func (x *session) guarded(ctx context.Context, doing string, record func() *Envelope, step func() error) (err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		err = fmt.Errorf("%w while %s: %v", errPanic, doing, p)
		key := ""
		if e := record(); e != nil {
			x.fails(e, doing)
			key = e.Record.Key
		}
		x.log.ErrorContext(ctx, "panic over a record", "doing", doing, "key", key, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}()
	return step()
}
