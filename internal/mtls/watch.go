package mtls

import (
	"context"
	"time"
)

// WatchEvery is how often files are looked at unless somebody says otherwise. A rotated certificate must be in use
// within 60 s (cases H5, I3).
const WatchEvery = 5 * time.Second

// Reloadable is something read from files that can be read again: *Identity, *Anchors, or the lists of a *Revocation.
type Reloadable interface {
	Name() string
	Generation() uint64
	Reload() (changed bool, err error)

	// Digests returns the SHA-256 of what is in force, in hexadecimal, by file or address; of private keys nothing.
	Digests() map[string]string
}

// Configured is a Reloadable with the setting that names its files.
type Configured struct {
	Reloadable
	Setting string
}

// ReloadEvent is one reload of a Reloadable, or its refusal.
type ReloadEvent struct {
	Source     string // its Name
	Setting    string // of a Configured; "" of others
	Generation uint64 // in force now
	Err        error  // why what is on disk was refused; nil: what is on disk is in force (again)

	Digests map[string]string // of what is in force now, as Reloadable has them
}

// Watch reloads the sources every so often (0: WatchEvery) until ctx ends. It reads contents rather than trusting
// notifications of the file system, since mounted secrets swap links. It reports to observer, from its own
// goroutine, whenever new content takes effect, when content is refused (once per reason, not once per look), and
// when a refusal ends.
func Watch(ctx context.Context, every time.Duration, observer func(ReloadEvent), sources ...Reloadable) {
	if every <= 0 {
		every = WatchEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	refused := make([]string, len(sources))
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for i, s := range sources {
			changed, err := s.Reload()
			reason := ""
			if err != nil {
				reason = err.Error()
			}
			if changed || reason != refused[i] {
				from, _ := s.(Configured)
				observer(ReloadEvent{Source: s.Name(), Setting: from.Setting, Generation: s.Generation(), Err: err, Digests: s.Digests()})
			}
			refused[i] = reason
		}
	}
}
