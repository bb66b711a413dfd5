package seal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/audit"
	told "github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// publisher knows the newest checkpoints of this log at one place outside the database. published returns them with errForeign
// if the place also holds something else. With another error, the place did not answer and the checkpoints are those known
// before.
type publisher interface {
	published(ctx context.Context, key *audit.Signer) ([]auditlog.PublishedHead, error)
}

// errForeign means that an anchor holds something that is no checkpoint of this log.
var errForeign = errors.New("an anchor holds what is no checkpoint of this log; it is ignored")

// errUnread means that the log could not be compared with an anchor.
var errUnread = errors.New("the log is not compared with an anchor, it will be tried again")

// published returns the newest checkpoints of every place. A place that does not answer, or that holds something else as well, is
// logged and does not stop sealing.
func (w *Sealer) published(ctx context.Context) []auditlog.PublishedHead {
	var all []auditlog.PublishedHead
	if h := w.remembered.Load(); h != nil {
		all = append(all, auditlog.PublishedHead{Checkpoint: *h, Where: "this process"})
	}
	for _, p := range w.places {
		heads, err := p.published(ctx, w.key)
		if err != nil {
			if errors.Is(err, errForeign) {
				w.observer.AnchorFailed(p.name)
			}
			w.complain(err)
		}
		all = append(all, heads...)
	}
	return append(all, w.witnesses.published()...)
}

// namedPublisher is a publisher and its name, a label of metrics.
type namedPublisher struct {
	name string
	publisher
}

// remember keeps the newest checkpoint that any replica signed. Its transaction compared the log with the one before; it is smaller
// only after a stated loss.
func (w *Sealer) remember(note []byte) {
	c, err := audit.OpenCheckpoint(note, w.key.Public())
	if err != nil {
		w.complain(fmt.Errorf("%w: %w", store.ErrTampered, err))
		return
	}
	w.remembered.Store(&c)
}

// extendsAnchor returns an error if the log does not extend what one anchor has. It is called before a delivery.
func (w *Sealer) extendsAnchor(ctx context.Context, name string) error {
	for _, p := range w.places {
		if p.name != name {
			continue
		}
		heads, err := p.published(ctx, w.key)
		if err != nil && !errors.Is(err, errForeign) {
			return err
		}
		return w.store.Extends(ctx, w.key.Public(), heads...)
	}
	return nil
}

// haltReason is why sealing is stopped, in both languages.
type haltReason struct{ en, pt string }

// haltOf puts an error into words. What is behind its kind, such as a position, is the same in both languages.
func haltOf(err error) haltReason {
	out := haltReason{err.Error(), told.Portuguese(err)}
	for _, kind := range []error{store.ErrTampered, store.ErrWrongKey, store.ErrSetBack} {
		if _, more, behind := strings.Cut(out.en, kind.Error()+": "); behind {
			out.pt += " (" + technical + more + ")"
		}
	}
	return out
}

// technical is before the part of a Portuguese text that has no Portuguese.
const technical = "texto técnico: "

// Notes returns what operators are told about sealing, in Portuguese or, as /readyz does, in English.
func (w *Sealer) Notes(portuguese bool) []string {
	why := w.halted.Load()
	switch {
	case why == nil:
		return nil
	case portuguese:
		return []string{"o histórico não é selado: " + why.pt}
	}
	return []string{"the history is not sealed: " + why.en}
}

// published reads the checkpoints at the end of the file.
func (f fileAnchor) published(_ context.Context, key *audit.Signer) ([]auditlog.PublishedHead, error) {
	all, rest, err := f.tail(key.Public())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnread, err)
	}
	var out []auditlog.PublishedHead
	if n := len(all); n > 0 { // the last, and the largest: replicas may share the file
		out = append(out, auditlog.PublishedHead{Checkpoint: all[n-1], Where: "the anchor file"})
		largest := all[n-1]
		for _, c := range all {
			if c.Size > largest.Size {
				largest = c
			}
		}
		if largest != all[n-1] {
			out = append(out, auditlog.PublishedHead{Checkpoint: largest, Where: "the anchor file"})
		}
	}
	if rest > 0 {
		return out, fmt.Errorf("%w: the anchor file ends with %d bytes of it", errForeign, rest)
	}
	return out, nil
}

// objectPlace knows the newest checkpoint of this log in the object store. It searches once in repeatAfter, since sealing waits
// for the search.
type objectPlace struct {
	mu     sync.Mutex // the sealer and the carrier ask
	anchor *objectAnchor
	asked  time.Time
	known  *audit.Checkpoint
}

func (o *objectPlace) published(ctx context.Context, key *audit.Signer) (heads []auditlog.PublishedHead, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.asked.IsZero() || time.Since(o.asked) >= repeatAfter {
		o.asked = time.Now()
		var newest *audit.Checkpoint
		newest, err = o.anchor.last(ctx, key.Public())
		if newest != nil {
			o.known = newest
		}
		if err != nil && !errors.Is(err, errForeign) {
			err = fmt.Errorf("%w: %w", errUnseen, err)
		}
	}
	if o.known != nil {
		heads = []auditlog.PublishedHead{{Checkpoint: *o.known, Where: "the object store"}}
	}
	return heads, err
}
