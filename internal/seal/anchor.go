package seal

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/mtls"
)

// head is a checkpoint on its way out of the database's reach.
type head struct {
	size int64
	at   time.Time // when it was signed, by the database's clock
	note []byte
}

// anchor is a place for checkpoints out of reach of the database's owner. Putting the same one twice does no harm.
// It gives up by itself, within seconds.
type anchor interface {
	put(ctx context.Context, h head) error
}

// anchorTimeout bounds one try to hand a checkpoint over.
const anchorTimeout = 5 * time.Second

// objectEvery is the least distance between two objects: what was signed in between is covered by the next. Each is kept
// for years, so there should not be one every few seconds; and it must be there within 60 s.
const objectEvery = 30 * time.Second

// carrier brings the newest checkpoint to one anchor, beside the sealer and beside the other carriers: one that
// hangs does not delay the others.
type carrier struct {
	name   string // file, url or object-store: a label of metrics
	anchor anchor
	every  time.Duration // least distance between two
	wake   chan struct{}

	has head      // the newest that the anchor took
	at  time.Time // when, by our clock
}

func newCarrier(name string, a anchor, every time.Duration) *carrier {
	return &carrier{name: name, anchor: a, every: every, wake: make(chan struct{}, 1)}
}

// stir tells the carrier that there is a newer checkpoint.
func (c *carrier) stir() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// due tells whether the anchor is to be given a checkpoint now. After a stated loss the newest one is smaller than the one the
// anchor has, and later.
func (c *carrier) due(newest *head) bool {
	return newest != nil && newest.size != c.has.size && (newest.size > c.has.size || newest.at.After(c.has.at)) &&
		(c.has.size == 0 || time.Since(c.at) >= c.every)
}

// carry brings the newest checkpoint, if it is due. It answers whether the anchor has one more now.
func (c *carrier) carry(ctx context.Context, newest *head) (bool, error) {
	if !c.due(newest) {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, anchorTimeout)
	defer cancel()
	if err := c.anchor.put(ctx, *newest); err != nil {
		return false, fmt.Errorf("anchor %s: %w", c.name, err) // without the size, so that the same is told once a minute
	}
	c.has, c.at = *newest, time.Now()
	return true, nil
}

// fileAnchor is a file that is only added to; it belongs on storage that cannot be written twice.
type fileAnchor string

func (f fileAnchor) put(_ context.Context, h head) error {
	file, err := os.OpenFile(string(f), os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o644) //nolint:gosec // checkpoints are for everybody
	if err != nil {
		return err
	}
	text := append(bytes.Clone(h.note), '\n')
	if info, err := file.Stat(); err == nil && info.Size() > 0 {
		var end [1]byte
		if _, err := file.ReadAt(end[:], info.Size()-1); err == nil && end[0] != '\n' { // torn: ours begins a line of its own
			text = append([]byte("\n"), text...)
		}
	}
	_, errWrite := file.Write(text)
	return errors.Join(errWrite, file.Sync(), file.Close())
}

// maxTail bounds how much of the file's end is searched for a checkpoint.
const maxTail = 64 << 20

// tail reads the checkpoints of this log at the end of the file, a few of them, in their order, and how many bytes of something
// else follow the last one. When none is found in the last 64 MiB, all of it is something else.
func (f fileAnchor) tail(key ed25519.PublicKey) (all []audit.Checkpoint, rest int64, err error) {
	file, err := os.Open(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read anchored checkpoints: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("read anchored checkpoints: %w", err)
	}
	for n := int64(4096); ; n *= 8 { // 4096 bytes are several checkpoints
		text := make([]byte, min(info.Size(), n))
		if _, err := file.ReadAt(text, info.Size()-int64(len(text))); err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, fmt.Errorf("read anchored checkpoints: %w", err)
		}
		found := audit.ReadAnchorFile(text, key)
		if len(found.Checkpoints) > 0 || n >= info.Size() || n >= maxTail {
			return found.Checkpoints, found.Tail, nil
		}
	}
}

// urlAnchor posts checkpoints to the bank's SIEM, or to anything else that keeps them.
type urlAnchor struct {
	url    string
	client *http.Client
}

// anchorClient follows no redirects and no proxy of the environment; roots may be nil for the system's trust store.
func anchorClient(roots *mtls.Anchors) *http.Client {
	return &http.Client{
		Timeout: anchorTimeout,
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext, TLSClientConfig: mtls.PublicConfig(roots),
			MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, IdleConnTimeout: 60 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (u *urlAnchor) put(ctx context.Context, h head) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.url, bytes.NewReader(h.note))
	if err != nil {
		return errors.New("log.anchor_url is not a URL")
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := u.client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxReply))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("log.anchor_url answered %d", resp.StatusCode)
	}
	return nil
}
