package gateway

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
	"time"

	"github.com/arauto/arauto/internal/audit"
)

// anchor is a place for checkpoints out of reach of whoever owns the database. Putting the same one twice does no harm.
type anchor interface {
	put(ctx context.Context, checkpoint []byte) error
}

// fileAnchor is a file that is only added to; it belongs on storage that cannot be written twice.
type fileAnchor string

func (f fileAnchor) put(_ context.Context, checkpoint []byte) error {
	file, err := os.OpenFile(string(f), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // checkpoints are for everybody
	if err != nil {
		return err
	}
	_, errWrite := file.Write(append(bytes.Clone(checkpoint), '\n'))
	return errors.Join(errWrite, file.Sync(), file.Close())
}

// last reads the newest checkpoint that was put; nil before the first.
func (f fileAnchor) last(key ed25519.PublicKey) (*audit.Checkpoint, error) {
	file, err := os.Open(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read anchored checkpoints: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read anchored checkpoints: %w", err)
	}
	const enough = 4096 // several checkpoints
	tail := make([]byte, min(info.Size(), enough))
	if _, err := file.ReadAt(tail, info.Size()-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read anchored checkpoints: %w", err)
	}
	for at := 0; at >= 0; { // from the first line that may begin a checkpoint
		if at = bytes.Index(tail, []byte(audit.Origin(key)+"\n")); at < 0 {
			return nil, nil // of another log, or torn: nothing that binds this one
		}
		tail = tail[at:]
		if all, err := audit.OpenCheckpoints(tail, key); err == nil && len(all) > 0 {
			return &all[len(all)-1], nil
		}
		tail = tail[1:]
	}
	return nil, nil
}

// urlAnchor posts checkpoints to the bank's SIEM, or to anything else that keeps them.
type urlAnchor struct {
	url    string
	client *http.Client
}

func newURLAnchor(url string) *urlAnchor {
	return &urlAnchor{url, &http.Client{
		Timeout:       5 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (u *urlAnchor) put(ctx context.Context, checkpoint []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.url, bytes.NewReader(checkpoint))
	if err != nil {
		return errors.New("log.anchor_url is not a URL")
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := u.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("log.anchor_url answered %d", resp.StatusCode)
	}
	return nil
}
