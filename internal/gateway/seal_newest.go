package gateway

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/audit"
)

// newestTimeout bounds the search for the newest object, which takes some forty requests.
const newestTimeout = 20 * time.Second

// errUnseen means that the log could not be compared with the object store yet.
var errUnseen = errors.New("the log is not compared with the object store yet, it will be tried again")

// compareObjects compares the log with the newest checkpoint in the object store, once. A store that does not answer is
// no reason not to seal: it is asked again, at most once a minute, since sealing waits meanwhile.
func (w *sealer) compareObjects(ctx context.Context) error {
	if w.object == nil || time.Since(w.askedObjects) < repeatAfter && !w.askedObjects.IsZero() {
		return nil
	}
	last, err := w.object.last(ctx, w.key.Public())
	if err != nil {
		w.askedObjects = time.Now()
		w.complain(fmt.Errorf("%w: %w", errUnseen, err))
		return nil
	}
	if last != nil {
		if err := w.store.CheckAnchored(ctx, *last); err != nil {
			return err
		}
	}
	w.object = nil
	return nil
}

// last reads the checkpoint with the largest size; nil when there is none of this log.
func (o *objectAnchor) last(ctx context.Context, key ed25519.PublicKey) (*audit.Checkpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, newestTimeout)
	defer cancel()
	size, err := o.largest(ctx)
	if err != nil || size == 0 {
		return nil, err
	}
	response, err := o.do(ctx, http.MethodGet, o.path(size), nil, nil, http.Header{})
	if err != nil {
		return nil, err
	}
	if response.status != http.StatusOK {
		return nil, response.error()
	}
	if !bytes.HasPrefix(response.body, []byte(audit.Origin(key)+"\n")) {
		return nil, nil // of another log: nothing that binds this one
	}
	c, err := audit.OpenCheckpoint(response.body, key)
	if err != nil {
		return nil, fmt.Errorf("the checkpoint of %d entries in the object store: %w", size, err)
	}
	return &c, nil
}

// largest finds the largest size that an object is named by; 0: there is none. Stores list upwards only, and there may be
// millions of objects, so they are asked for the next one after a size, with steps that double, and then by halves.
func (o *objectAnchor) largest(ctx context.Context) (int64, error) {
	var low, high int64 // low is there, and none is greater than high
	for step := int64(1); ; step *= 2 {
		next, err := o.after(ctx, low+step-1)
		if err != nil {
			return 0, err
		}
		if next == 0 {
			high = low + step - 1
			break
		}
		low = next
	}
	for low < high {
		middle := low + (high-low)/2
		next, err := o.after(ctx, middle)
		if err != nil {
			return 0, err
		}
		if next == 0 {
			high = middle
		} else {
			low = next
		}
	}
	return low, nil
}

// after is the smallest size greater than one; 0: there is none.
func (o *objectAnchor) after(ctx context.Context, size int64) (int64, error) {
	query := url.Values{
		"list-type": {"2"}, "max-keys": {"1"}, "prefix": {o.store.Prefix + "/"}, "start-after": {fmt.Sprintf("%s/%020d", o.store.Prefix, size)},
	}
	response, err := o.do(ctx, http.MethodGet, "/"+o.store.Bucket, query, nil, http.Header{})
	if err != nil {
		return 0, err
	}
	if response.status != http.StatusOK {
		return 0, response.error()
	}
	var list struct {
		XMLName  xml.Name `xml:"ListBucketResult"`
		Contents []struct{ Key string }
	}
	if err := xml.Unmarshal(response.body, &list); err != nil {
		return 0, errors.New("the object store answered no list of objects")
	}
	if len(list.Contents) == 0 {
		return 0, nil
	}
	name, _ := strings.CutPrefix(list.Contents[0].Key, o.store.Prefix+"/")
	next, err := strconv.ParseInt(name, 10, 64)
	if err != nil || len(name) != 20 || next <= size { // not one of ours, which all sort before it
		return 0, nil //nolint:nilerr // as said
	}
	return next, nil
}
