package seal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/tiles"
)

// publishEvery is the least time between two publications of the log to one place.
const publishEvery = 30 * time.Second

// tilePublisher publishes the hashes of the log as static files in one place.
type tilePublisher struct {
	name string // "folder" or "object-store"
	to   tiles.Target
	size int64     // that is published, as far as this process knows
	at   time.Time // of the last try
}

// openPublishers lists the places that the settings name. The store of objects may be nil where they name none there.
func openPublishers(c *config.Config, objects *objectAnchor) (all []*tilePublisher) {
	if c.Log.Tiles != "" {
		all = append(all, &tilePublisher{name: "folder", to: tiles.ToFolder(c.Log.Tiles)})
	}
	if c.Log.TilesS3 && objects != nil {
		all = append(all, &tilePublisher{name: "object-store", to: &tileObjects{*objects}})
	}
	return all
}

// Places returns the names of the places where the log is published as tiles: "folder", "object-store".
func (w *Sealer) Places() (names []string) {
	for _, p := range w.publishers {
		names = append(names, p.name)
	}
	return names
}

// PublishedSize is the size of the checkpoint up to which the log is shown to mirrors. Where the policy demands witnesses, it is the newest
// that their quorum vouched for, and store.ErrNoCheckpoint while there is none. Elsewhere it is 0: the newest.
func (w *Sealer) PublishedSize(ctx context.Context) (int64, error) {
	if _, demanded := w.Witnesses(); !demanded {
		return 0, nil
	}
	size, err := w.VouchedSize(ctx)
	if err == nil && size == 0 {
		err = fmt.Errorf("the quorum of witnesses vouched for no checkpoint yet: %w", store.ErrNoCheckpoint)
	}
	return size, err
}

// publishable is the checkpoint up to which this replica publishes; nil: there is none yet.
func (w *Sealer) publishable() *head {
	if _, demanded := w.Witnesses(); demanded {
		return w.witnesses.newest.Load()
	}
	return w.newest.Load()
}

// errTiles means that the log was not published as tiles.
var errTiles = errors.New("the log is not published")

// publishTiles publishes the log to one place until ctx ends.
func (w *Sealer) publishTiles(ctx context.Context, p *tilePublisher) {
	tick := time.NewTicker(sealEvery)
	defer tick.Stop()
	for {
		if err := w.publishRound(ctx, p); err != nil && ctx.Err() == nil {
			w.observer.PublishFailed(p.name)
			w.complain(fmt.Errorf("%w: %s: %w", errTiles, p.name, err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// publishRound publishes what is new when it is time. One replica at a time publishes to a place.
func (w *Sealer) publishRound(ctx context.Context, p *tilePublisher) error {
	newest := w.publishable()
	switch {
	case newest == nil:
		return nil
	case newest.size == p.size:
		w.observer.Published(p.name, p.size, time.Now())
		return nil
	case time.Since(p.at) < publishEvery:
		return nil
	}
	_, err := w.store.InTurn(ctx, "tiles-"+p.name, func(ctx context.Context) error {
		p.at = time.Now()
		size, err := w.sizeNow(ctx)
		if err != nil {
			return err
		}
		log, err := w.store.OpenLogForLong(ctx, size)
		if err != nil {
			return err
		}
		defer log.Close(ctx)
		done, err := tiles.Publish(ctx, log, p.to, false)
		if err != nil {
			return err
		}
		p.size = done.Size
		w.observer.Published(p.name, done.Size, time.Now())
		return nil
	})
	return err
}

// sizeNow is the size up to which the log may be published at this moment, 0 for the newest: another replica may have published further
// than this one knew a moment ago.
func (w *Sealer) sizeNow(ctx context.Context) (int64, error) {
	if _, demanded := w.Witnesses(); !demanded {
		return 0, nil
	}
	if err := w.readQuorum(ctx); err != nil {
		return 0, err
	}
	return w.witnesses.newest.Load().size, nil
}

// tileObjects publishes tiles in the object store of the anchors, below PREFIX/tiles. They are not locked: the locked checkpoints prove
// them, and the newest checkpoint is replaced.
type tileObjects struct{ store objectAnchor }

func (t *tileObjects) path(name string) string {
	return fmt.Sprintf("/%s/%s/tiles/%s", t.store.store.Bucket, t.store.store.Prefix, name)
}

// Get implements tiles.Remote. Objects are read up to 64 KiB, so it reads checkpoints and tiles of hashes.
func (t *tileObjects) Get(ctx context.Context, name string, most int64) ([]byte, error) {
	response, err := t.store.do(ctx, objectRequest{method: http.MethodGet, path: t.path(name)})
	switch {
	case err != nil:
		return nil, err
	case response.status == http.StatusNotFound:
		return nil, tiles.ErrAbsent
	case response.status != http.StatusOK:
		return nil, response.error()
	case int64(len(response.body)) > most:
		return nil, fmt.Errorf("the object %s is longer than %d bytes", name, most)
	}
	return response.body, nil
}

// Put implements tiles.Target.
func (t *tileObjects) Put(ctx context.Context, name string, text []byte) error {
	response, err := t.store.do(ctx, objectRequest{method: http.MethodPut, path: t.path(name), body: text, header: http.Header{
		"Content-Type": {"application/octet-stream"}, "Content-Md5": {contentMD5(text)},
	}})
	if err == nil && response.status/100 != 2 {
		err = response.error()
	}
	return err
}

// Settle implements tiles.Target: an object is safe once it is taken.
func (t *tileObjects) Settle(context.Context) error { return nil }

// Full implements tiles.Target: partial tiles stay, because the user of the anchors has no right to remove objects.
func (t *tileObjects) Full(context.Context, audit.PublishedTile) error { return nil }
