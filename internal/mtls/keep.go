package mtls

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Lists that were fetched are kept in a folder, so that a process that starts while an authority's server is down has the
// evidence that it had before: an authority's outage is no excuse for one of ours (webhook §7.4). A kept list is believed
// no more than a fetched one, and its time goes on from when it was last offered, which the file's time says.

func (r *Revocation) keptFile(url string) string {
	sum := sha256.Sum256([]byte(url))
	return filepath.Join(r.opts.Keep, hex.EncodeToString(sum[:])+".crl")
}

// keep writes a fetched list down, or only that it was offered again.
func (r *Revocation) keep(url string, content []byte, changed bool) error {
	if r.opts.Keep == "" {
		return nil
	}
	name, now := r.keptFile(url), r.now()
	if !changed && os.Chtimes(name, now, now) == nil {
		return nil
	}
	err := os.MkdirAll(r.opts.Keep, 0o700)
	if err == nil {
		err = os.WriteFile(name+".new", content, 0o600)
	}
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		return fmt.Errorf("keep the revocation list %s: %w", r.shown[url], err)
	}
	return nil
}

// recallKept takes what was kept of each URL. What cannot be used is fetched again anyway; nobody needs to hear of it.
func (r *Revocation) recallKept() {
	for _, url := range r.opts.CRLURLs {
		if content, at, err := readKept(r.keptFile(url)); err == nil {
			_, _ = r.take(r.shown[url], content, at)
		}
	}
}

func readKept(name string) (content []byte, at time.Time, err error) {
	content, err = ReadFile(name, maxCRL, func(info fs.FileInfo) error {
		at = info.ModTime()
		return nil
	})
	if len(content) == 0 && err == nil {
		err = errors.New("empty")
	}
	return content, at, err
}
