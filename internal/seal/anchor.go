package seal

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/arauto/arauto/internal/audit"
)

// head is a checkpoint on its way to the anchors.
type head struct {
	size int64
	at   time.Time // when it was signed, by the database's clock
	note []byte
}

// anchor is a place for checkpoints out of reach of the database's owner. put is idempotent and returns within anchorTimeout.
type anchor interface {
	put(ctx context.Context, h head) error
}

// anchorTimeout bounds one delivery.
const anchorTimeout = 5 * time.Second

// objectEvery is the least time between two objects. An object is kept for years, so not every checkpoint becomes one; the next
// covers those between. Every entry must be anchored within 60 s.
const objectEvery = 30 * time.Second

// carrier delivers the newest checkpoint to one anchor. It waits for nobody, and nobody waits for it.
type carrier struct {
	name   string // file, url or object-store: a label of metrics
	anchor anchor
	every  time.Duration // least time between two deliveries
	wake   chan struct{}

	has head      // the newest that the anchor took
	at  time.Time // when, by our clock
}

func newCarrier(name string, a anchor, every time.Duration) *carrier {
	return &carrier{name: name, anchor: a, every: every, wake: make(chan struct{}, 1)}
}

// stir wakes the carrier: there is a newer checkpoint.
func (c *carrier) stir() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// due returns whether the anchor needs the newest checkpoint now. After a stated loss the newest one is later, and smaller than
// the one that the anchor has.
func (c *carrier) due(newest *head) bool {
	return newest != nil && newest.size != c.has.size && (newest.size > c.has.size || newest.at.After(c.has.at)) &&
		(c.has.size == 0 || time.Since(c.at) >= c.every)
}

// carry delivers the newest checkpoint if it is due, and returns whether it did.
func (c *carrier) carry(ctx context.Context, newest *head) (bool, error) {
	if !c.due(newest) {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, anchorTimeout)
	defer cancel()
	if err := c.anchor.put(ctx, *newest); err != nil {
		return false, fmt.Errorf("anchor %s: %w", c.name, err) // without the size, so that complain recognises it
	}
	c.has, c.at = *newest, time.Now()
	return true, nil
}

// fileAnchor is a file that checkpoints are appended to; it belongs on write-once storage.
type fileAnchor string

func (f fileAnchor) put(_ context.Context, h head) error {
	file, err := os.OpenFile(string(f), os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o644) //nolint:gosec // checkpoints are for everybody
	if errors.Is(err, syscall.EROFS) {
		return troubled("%v; mount it for writing, and let a systemd unit name its folder in ReadWritePaths",
			"o sistema de arquivos é só de leitura (%v); monte-o para escrita, e inclua a pasta em ReadWritePaths da unidade do systemd", err).as(err)
	}
	if err != nil {
		return err
	}
	text := append(bytes.Clone(h.note), '\n')
	if info, err := file.Stat(); err == nil && info.Size() > 0 {
		var end [1]byte
		if _, err := file.ReadAt(end[:], info.Size()-1); err == nil && end[0] != '\n' { // a torn write: ours begins on a new line
			text = append([]byte("\n"), text...)
		}
	}
	_, errWrite := file.Write(text)
	return errors.Join(errWrite, file.Sync(), file.Close())
}

// maxTail bounds how much of the file's end is searched for a checkpoint.
const maxTail = 64 << 20

// tail returns the last few checkpoints of this log in the file, in their order, and how many bytes of something else follow
// them. If the last 64 MiB hold none, all of it is something else.
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

// urlAnchor posts checkpoints to the bank's SIEM or another service that keeps them.
type urlAnchor struct {
	url    string
	client *http.Client
}

func (u *urlAnchor) put(ctx context.Context, h head) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.url, bytes.NewReader(h.note))
	if err != nil {
		return troubled("log.anchor_url is not a URL", "log.anchor_url não é uma URL")
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := u.client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxReply))
	if resp.StatusCode/100 != 2 {
		return troubled("log.anchor_url answered %d", "log.anchor_url respondeu %d", resp.StatusCode)
	}
	return nil
}
