package seal

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Content-MD5 is what the protocol asks for; it guards against damage, not against people
	"encoding/base64"
	"errors"
	"fmt"
	"io"
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
	signer signer
	client *http.Client
	now    func() time.Time

	proven bool // an object was read back under lock

	own     int64          // the largest size known to be a checkpoint of this log
	foreign map[int64]bool // sizes whose object is no checkpoint of this log
	odd     []string       // names that are no sizes
}

func newObjectAnchor(s config.ObjectStore, secret string, client *http.Client) *objectAnchor {
	return &objectAnchor{store: s, signer: signer{s.AccessKeyID, secret, s.Region}, client: client, now: time.Now}
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
	return newObjectAnchor(s, secret, trust.NewAnchorClient(roots, anchorTimeout)), nil
}

// errOther means that the store holds another checkpoint under the same name.
var errOther = errors.New("the object store holds another checkpoint of that size: the log was written anew, or two logs share a prefix")

// errUnlocked means that a user who may write to the store may also remove the checkpoint.
var errUnlocked = errors.New("the object store did not keep the checkpoint under Object Lock as asked")

// put writes the object and never overwrites one. An object that exists must be the same: several replicas put the newest
// checkpoint.
func (o *objectAnchor) put(ctx context.Context, h head) error {
	sum := md5.Sum(h.note) //nolint:gosec // as above
	until := h.at.UTC().AddDate(0, 0, o.store.RetainDays)
	response, err := o.do(ctx, objectRequest{method: http.MethodPut, path: o.path(h.size), body: h.note, header: http.Header{
		"Content-Type":                        {"text/plain; charset=utf-8"},
		"Content-Md5":                         {base64.StdEncoding.EncodeToString(sum[:])},
		"If-None-Match":                       {"*"},
		"X-Amz-Object-Lock-Mode":              {o.store.Mode},
		"X-Amz-Object-Lock-Retain-Until-Date": {until.Format("2006-01-02T15:04:05Z")},
	}})
	if err != nil {
		return err
	}
	if response.status/100 == 2 && o.proven {
		return nil
	}
	if response.status/100 != 2 && response.status != http.StatusPreconditionFailed {
		return response.error()
	}
	return o.compare(ctx, h)
}

// compare reads an object back; it must be the checkpoint, under lock.
func (o *objectAnchor) compare(ctx context.Context, h head) error {
	response, err := o.do(ctx, objectRequest{method: http.MethodGet, path: o.path(h.size)})
	if err != nil {
		return err
	}
	if response.status != http.StatusOK {
		return response.error()
	}
	if !bytes.Equal(response.body, h.note) {
		return errOther
	}
	until, err := time.Parse(time.RFC3339Nano, response.header.Get("X-Amz-Object-Lock-Retain-Until-Date"))
	if mode := response.header.Get("X-Amz-Object-Lock-Mode"); err != nil || mode != o.store.Mode || !until.After(o.now()) {
		return errUnlocked
	}
	o.proven = true
	return nil
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
		return nil, errors.New("log.anchor_s3.endpoint is not a URL")
	}
	r.URL.RawQuery = q.query.Encode() // sorted, as the signature wants it
	if q.body != nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(q.body)), int64(len(q.body))
	}
	maps.Copy(r.Header, q.header)
	o.signer.sign(r, q.body, o.now())
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

func (r *reply) error() error {
	if m := code.FindSubmatch(r.body); m != nil {
		return fmt.Errorf("the object store answered %d %s", r.status, m[1])
	}
	return fmt.Errorf("the object store answered %d", r.status)
}

// withoutURL removes the address that errors of package http repeat.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
