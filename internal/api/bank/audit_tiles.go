package bank

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"sync"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/tiles"
)

// OpenTiles opens the sealed log as it is shown to mirrors. done ends the reading.
type OpenTiles func(ctx context.Context) (log tiles.TreeSource, done func(), err error)

// absentTile means that the log has no such file. A mirror asks for many of them where a month was removed, so they are recorded once a
// minute.
type absentTile struct{}

func (absentTile) Error() string { return "the log has no such file" }

// NotFound says that nothing is there.
func (absentTile) NotFound() bool { return true }

// getTile hands over one file of the log in the form of C2SP tlog-tiles, so that a standard tool follows the log with a token. Files of
// hashes tell nothing of entries: what a caller reads of them is recorded once, and counted for a minute. Each bundle of entries is recorded.
func (in *Internal) getTile(x *api.Exchange) error {
	if _, err := parameters(x.R.URL.RawQuery); err != nil {
		return err
	}
	name, err := tiles.ParseName(x.Segment("file"))
	if err != nil || in.cfg.Tiles == nil {
		return errNotFound
	}
	log, done, err := in.cfg.Tiles(x.R.Context())
	if err != nil {
		return err
	}
	end := sync.OnceFunc(done)
	defer end()
	size := log.Head().Checkpoint.Size
	text, err := tiles.Read(x.R.Context(), log, name)
	end() // before the record is written, which needs a connection of the same few
	if errors.Is(err, tiles.ErrAbsent) {
		return absentTile{}
	}
	if err != nil {
		return err
	}
	r := history.LogReading{Act: "tiles", Filter: map[string]string{"path": x.Route, "file": "hashes"}, Size: size, Rows: 1}
	media := "application/octet-stream"
	switch {
	case name.Checkpoint:
		media = "text/plain; charset=utf-8"
	case name.Entries():
		r.Filter["file"], r.Rows = name.Path(), int64(name.Width)
		return in.hand(x, r, media, text)
	}
	sum := sha256.Sum256(text)
	r.SHA256 = hex.EncodeToString(sum[:])
	if err := in.recordOnce(x, r); err != nil {
		return err
	}
	return sendAs(x, http.StatusOK, media, text)
}
