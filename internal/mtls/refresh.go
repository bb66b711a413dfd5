package mtls

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// crlFetchLimit bounds the fetch of one list.
const crlFetchLimit = 30 * time.Second

// refreshRetry is how soon a list is asked for again after a failure.
const refreshRetry = time.Minute

// Run keeps the lists of CRLURLs fresh until ctx ends: they are fetched at once and then every Refresh, or a minute after
// a failure. News go to Events: what took effect, what was refused, and that it ended. Lists in files are a Source, which
// Watch reads again.
func (r *Revocation) Run(ctx context.Context) {
	refused := map[string]string{}
	for len(r.opts.CRLURLs) > 0 && ctx.Err() == nil {
		wait := r.opts.Refresh
		for _, url := range r.opts.CRLURLs {
			changed, err := r.fetchList(ctx, url)
			if ctx.Err() != nil {
				return
			}
			reason := ""
			if err != nil {
				reason, wait = err.Error(), min(wait, refreshRetry)
			}
			if changed || reason != refused[url] {
				r.tell(ReloadEvent{Source: r.shown[url], Generation: r.Generation(), Err: err, Digests: r.Digests()})
			}
			refused[url] = reason
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	<-ctx.Done()
}

func (r *Revocation) tell(e ReloadEvent) {
	if r.opts.Events != nil {
		r.opts.Events(e)
	}
}

// Refresh fetches every list of CRLURLs once, and says which could not be had. It serves a start that wants evidence
// before it listens, and arauto check.
func (r *Revocation) Refresh(ctx context.Context) error {
	var errs []error
	for _, url := range r.opts.CRLURLs {
		_, err := r.fetchList(ctx, url)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (r *Revocation) fetchList(ctx context.Context, url string) (changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, crlFetchLimit)
	defer cancel()
	source := r.shown[url]
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, fmt.Errorf("fetch the revocation list %s: %w", source, withoutAddress(err))
	}
	content, err := fetchBody(r.opts.HTTP, request, maxCRL)
	if err != nil {
		return false, fmt.Errorf("fetch the revocation list %s: %w", source, err)
	}
	changed, err = r.take(source, content, r.now())
	if err != nil {
		return false, fmt.Errorf("revocation list %s: %w", source, err)
	}
	return changed, r.keep(url, content, changed)
}

// take puts what a source held at an instant into force, unless that is in force already.
func (r *Revocation) take(source string, content []byte, at time.Time) (changed bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	hash := sha256.Sum256(content)
	if old, ok := r.taken[source]; ok && old == hash {
		r.lists.offered(source, at)
		return false, nil
	}
	lists, err := parseCRLs(source, content, at)
	if err != nil {
		return false, err
	}
	if err := r.lists.replace(lists); err != nil {
		return false, err
	}
	r.taken[source] = hash
	r.generation.Add(1)
	return true, nil
}

// Name returns the files of lists, for alarms.
func (r *Revocation) Name() string { return strings.Join(r.opts.CRLFiles, ", ") }

// Generation grows whenever a list is taken into force.
func (r *Revocation) Generation() uint64 { return r.generation.Load() }

// Digests implements Reloadable, of files and of URLs as they are shown.
func (r *Revocation) Digests() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]string{}
	for source, sum := range r.taken {
		out[source] = hex.EncodeToString(sum[:])
	}
	return out
}

// Reload reads the files of lists again and says whether other content took effect; see Source. A file that cannot be
// read or is no list leaves what was in force, and does not keep the other files from being taken.
func (r *Revocation) Reload() (changed bool, err error) {
	var errs []error
	for _, name := range r.opts.CRLFiles {
		content, err := ReadFile(name, maxCRL, nil)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		took, err := r.take(name, content, r.now())
		if err != nil {
			errs = append(errs, &FileError{
				File: name, Reason: "cannot be used as a revocation list", Err: err,
				Cure: "install the authority's current complete list, PEM or DER",
			})
		}
		changed = changed || took
	}
	return changed, errors.Join(errs...)
}

// Sources are all lists that were named, files before URLs: what Lists should show, and does not of those that were never
// there.
func (r *Revocation) Sources() []string {
	out := slices.Clone(r.opts.CRLFiles)
	for _, url := range r.opts.CRLURLs {
		out = append(out, r.shown[url])
	}
	return out
}

// ListStatus is one revocation list in force, for the operators' page and for alarms.
type ListStatus struct {
	Source                 string // its file, or its URL as it is shown
	Issuer                 string // printed for people, see Subject
	ThisUpdate, NextUpdate time.Time
	ValidUntil             time.Time // NextUpdate, or earlier by CRLTTL
	SoftFailUntil          time.Time // how long it serves beyond that when there is nothing newer
	Entries                int
	Proven                 bool // its signature was verified with its issuer's key, at a first handshake that needed it
}

// Lists returns the lists in force, ordered by source.
func (r *Revocation) Lists() []ListStatus {
	out := []ListStatus{}
	for _, l := range r.lists.all() {
		out = append(out, ListStatus{
			Source: l.source, Issuer: nameText(l.list.Issuer.Names), ThisUpdate: l.thisUpdate, NextUpdate: l.nextUpdate,
			ValidUntil: l.end(r.opts.CRLTTL), SoftFailUntil: l.end(r.opts.CRLTTL).Add(r.opts.SoftFail), Entries: len(l.revoked), Proven: l.provenSigner() != nil,
		})
	}
	return out
}
