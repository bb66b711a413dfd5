package seal

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Content-MD5 is what the protocol asks for; it guards against damage, not against people
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/trust"
)

// objectAnchor keeps each checkpoint in an object under Object Lock, named by its size. Names sort as sizes do, and the objects of
// a prefix, concatenated, are an anchor file.
type objectAnchor struct {
	store  config.ObjectStore
	signer requestSigner
	client *http.Client
	now    func() time.Time

	secretFile string // read for each request, so that a secret that rotates needs no restart; "": signer has the secret

	proven     bool         // the store has shown whether it locks and honours If-None-Match
	overwrites bool         // it ignores If-None-Match
	log        *slog.Logger // is told so, once

	byNote bool // names have a hash of the note behind the size

	own     int64          // the largest size known to be a checkpoint of this log
	foreign map[int64]bool // sizes whose object is no checkpoint of this log
	odd     []string       // names that are no sizes
}

func newObjectAnchor(s config.ObjectStore, secret string, client *http.Client) *objectAnchor {
	return &objectAnchor{store: s, signer: requestSigner{s.AccessKeyID, secret, s.Region}, client: client, now: time.Now, log: slog.New(slog.DiscardHandler)}
}

// openObjectAnchor prepares the object store of the settings; nil without one. The error is a *config.Error.
func openObjectAnchor(c *config.Config) (*objectAnchor, error) {
	s := c.Log.S3
	if s.Endpoint == "" {
		return nil, nil
	}
	p := &config.Problems{}
	secret, err := readSecret(s.SecretKey)
	if err != nil {
		p.Add("log.anchor_s3.secret_key_file", "%v", "name a file that holds the secret access key alone, with mode 0600", err)
	}
	var roots *mtls.Anchors
	if s.CA != "" {
		if roots, err = mtls.LoadAnchors(s.CA); err != nil {
			p.Add("log.anchor_s3.ca", "%v", "name a PEM file of the authority of the service's certificate", err)
		}
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	o := newObjectAnchor(s, secret, trust.NewAnchorClient(roots, anchorTimeout))
	o.secretFile = s.SecretKey
	return o, nil
}

// errOther means that the store holds another checkpoint under the same name.
var errOther error = troubled("the object store holds another checkpoint of that size: the log was written anew, or two logs share a prefix",
	"o armazenamento de objetos tem outro checkpoint deste tamanho: o log foi escrito de novo, ou dois logs usam o mesmo prefixo")

// errUnlocked means that a user who may write to the store may also remove the checkpoint.
var errUnlocked error = troubled("the object store did not keep the checkpoint under Object Lock as asked",
	"o armazenamento de objetos não guardou o checkpoint sob Object Lock como pedido")

// errAbsent means that the store holds no object of this name.
var errAbsent error = troubled("the object store does not hold the checkpoint", "o armazenamento de objetos não tem o checkpoint")

// put writes the object and never overwrites one. An object that exists must be the same: several replicas put the newest
// checkpoint. Until the store has shown that it honours If-None-Match, and for ever if it does not, the object is looked for first.
func (o *objectAnchor) put(ctx context.Context, h head) error {
	if !o.proven || o.overwrites {
		if err := o.compare(ctx, h); !errors.Is(err, errAbsent) {
			return err
		}
	}
	for range conflictTries {
		response, err := o.write(ctx, h)
		switch {
		case err != nil:
			return err
		case response.status/100 == 2 && o.proven:
			return nil
		case response.status/100 == 2:
			return o.prove(ctx, h)
		case response.status == http.StatusPreconditionFailed:
			err := o.compare(ctx, h)
			o.proven = o.proven || err == nil
			return err
		case response.status != http.StatusConflict:
			return response.error()
		}
		// Another replica writes this object at this moment: what it wrote is compared, and if it wrote nothing we try again.
		if err := o.compare(ctx, h); !errors.Is(err, errAbsent) {
			return err
		}
		if !pause(ctx, conflictPause) {
			return response.error()
		}
	}
	return troubled("the object store answers 409 though it does not hold the checkpoint", "o armazenamento de objetos responde 409 embora não tenha o checkpoint")
}

const (
	conflictTries = 4
	conflictPause = 200 * time.Millisecond
)

// pause waits; false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// write sends the object with its lock, and asks not to overwrite one.
func (o *objectAnchor) write(ctx context.Context, h head) (*reply, error) {
	until := h.at.UTC().AddDate(0, 0, o.store.RetainDays)
	return o.do(ctx, objectRequest{method: http.MethodPut, path: o.pathOf(h), body: h.note, header: http.Header{
		"Content-Type":                        {"text/plain; charset=utf-8"},
		"Content-Md5":                         {contentMD5(h.note)},
		"If-None-Match":                       {"*"},
		"X-Amz-Object-Lock-Mode":              {o.store.Mode},
		"X-Amz-Object-Lock-Retain-Until-Date": {until.Format("2006-01-02T15:04:05Z")},
	}})
}

// prove looks once whether the store does as it was asked: the object lies there under lock, and the same object is not taken a second
// time. A store that takes it ignores If-None-Match, and would take another checkpoint as well.
func (o *objectAnchor) prove(ctx context.Context, h head) error {
	if err := o.compare(ctx, h); err != nil {
		return err
	}
	again, err := o.write(ctx, h)
	if err != nil {
		return nil //nolint:nilerr // the checkpoint is anchored; the store is looked at again with the next one
	}
	switch {
	case again.status/100 == 2:
		o.proven, o.overwrites = true, true
		o.log.Warn("the object store ignores If-None-Match: it takes an object twice; each checkpoint is looked for before it is written")
	case again.status == http.StatusPreconditionFailed, again.status == http.StatusConflict:
		o.proven = true
	}
	return nil
}

// compare reads an object back; it must be the checkpoint, under lock. The error of an object that is not there is errAbsent.
func (o *objectAnchor) compare(ctx context.Context, h head) error {
	response, err := o.do(ctx, objectRequest{method: http.MethodGet, path: o.pathOf(h)})
	if err != nil {
		return err
	}
	if response.status == http.StatusNotFound {
		return errAbsent
	}
	if response.status != http.StatusOK {
		return response.error()
	}
	if !bytes.Equal(response.body, h.note) {
		return errOther
	}
	lock := retention{Mode: response.header.Get("X-Amz-Object-Lock-Mode"), RetainUntilDate: response.header.Get("X-Amz-Object-Lock-Retain-Until-Date")}
	if lock.Mode == "" { // some stores tell it only when they are asked for it
		if lock, err = o.retention(ctx, h); err != nil {
			return err
		}
	}
	until, err := time.Parse(time.RFC3339Nano, lock.RetainUntilDate)
	if err != nil || lock.Mode != o.store.Mode || !until.After(o.now()) {
		return errUnlocked
	}
	return nil
}

// retention is the lock of an object.
type retention struct {
	Mode, RetainUntilDate string
}

// retention asks for the lock of an object. A store that knows none has none.
func (o *objectAnchor) retention(ctx context.Context, h head) (r retention, err error) {
	response, err := o.do(ctx, objectRequest{method: http.MethodGet, path: o.pathOf(h), query: url.Values{"retention": {""}}})
	if err != nil {
		return r, err
	}
	if response.status != http.StatusOK || xml.Unmarshal(response.body, &r) != nil {
		return retention{}, fmt.Errorf("%w (asked for its retention, %w)", errUnlocked, response.error())
	}
	return r, nil
}

// try asks the store what serve will ask of it and changes nothing. It returns what an operator should know; an error says what
// keeps checkpoints from being kept there.
func (o *objectAnchor) try(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, anchorTimeout)
	defer cancel()
	if _, err := o.next(ctx, ""); err != nil {
		return "", err
	}
	response, err := o.do(ctx, objectRequest{method: http.MethodGet, path: "/" + o.store.Bucket, query: url.Values{"object-lock": {""}}})
	if err != nil {
		return "", err
	}
	var lock struct{ ObjectLockEnabled string }
	switch {
	case response.status == http.StatusOK && xml.Unmarshal(response.body, &lock) == nil && lock.ObjectLockEnabled == "Enabled":
		return "the store answers, and the bucket has Object Lock", nil
	case response.status == http.StatusOK, response.status == http.StatusNotFound:
		return "", errors.New("the bucket has no Object Lock, so that no checkpoint would be safe there; make a bucket with Object Lock")
	}
	return fmt.Sprintf("the store answers; whether the bucket has Object Lock is not known (%v), the first checkpoint will show it", response.error()), nil
}

// reply is an answer of the store.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// maxReply bounds what is read of an answer; a checkpoint has some 300 bytes.
const maxReply = 64 << 10

// path is the path of the checkpoint of a size.
func (o *objectAnchor) path(size int64) string {
	return fmt.Sprintf("/%s/%s/%020d", o.store.Bucket, o.store.Prefix, size)
}

// pathOf is the path of a checkpoint that is put.
func (o *objectAnchor) pathOf(h head) string {
	if !o.byNote {
		return o.path(h.size)
	}
	sum := sha256.Sum256(h.note)
	return o.path(h.size) + "-" + hex.EncodeToString(sum[:8])
}

// cosigned keeps checkpoints with cosignatures in the same store, below cosigned/. Which witnesses vouched, and when, differs between the
// notes of one checkpoint, so the name has a hash of the note.
func (o *objectAnchor) cosigned() *objectAnchor {
	c := *o
	c.store.Prefix += "/cosigned"
	c.byNote = true
	return &c
}

// objectRequest is a question to the object store.
type objectRequest struct {
	method, path string
	query        url.Values
	body         []byte // nil: none
	header       http.Header
}

// do sends a signed request and reads its answer.
func (o *objectAnchor) do(ctx context.Context, q objectRequest) (*reply, error) {
	r, err := http.NewRequestWithContext(ctx, q.method, strings.TrimRight(o.store.Endpoint, "/")+escapePath(q.path), nil)
	if err != nil {
		return nil, troubled("log.anchor_s3.endpoint is not a URL", "log.anchor_s3.endpoint não é uma URL")
	}
	r.URL.RawQuery = q.query.Encode() // sorted, as the signature wants it
	if q.body != nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(q.body)), int64(len(q.body))
	}
	maps.Copy(r.Header, q.header)
	by := o.signer
	if o.secretFile != "" {
		if by.secret, err = readSecret(o.secretFile); err != nil {
			return nil, fmt.Errorf("log.anchor_s3.secret_key_file: %w", err)
		}
	}
	by.sign(r, q.body, o.now())
	response, err := o.client.Do(r)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxReply))
	if err != nil {
		return nil, fmt.Errorf("read the object store's answer: %w", err)
	}
	return &reply{response.StatusCode, response.Header, text}, nil
}

// code finds the store's error code, such as AccessDenied.
var code = regexp.MustCompile(`<Code>([A-Za-z0-9]{1,64})</Code>`)

// message finds the store's own words.
var message = regexp.MustCompile(`<Message>([^<]{1,300})</Message>`)

func (r *reply) error() error {
	more := ""
	if m := code.FindSubmatch(r.body); m != nil {
		more += " " + string(m[1])
	}
	if m := message.FindSubmatch(r.body); m != nil {
		more += ": " + strings.Map(func(c rune) rune {
			if c < ' ' || c > '~' {
				return ' '
			}
			return c
		}, string(m[1]))
	}
	return troubled("the object store answered %d%s", "o armazenamento de objetos respondeu %d%s", r.status, more)
}

// withoutURL removes the address that errors of package http repeat.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// contentMD5 is the header that guards a body against damage on its way.
func contentMD5(body []byte) string {
	sum := md5.Sum(body) //nolint:gosec // as above
	return base64.StdEncoding.EncodeToString(sum[:])
}
