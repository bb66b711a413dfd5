package tiles

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/arauto/arauto/internal/audit"
)

// Name is a file of a published log.
type Name struct {
	audit.PublishedTile

	Checkpoint bool // the newest checkpoint; the tile is then zero
}

// Entries tells whether the file holds records, which name initiators.
func (n Name) Entries() bool { return n.Level == entriesLevel }

// errName means that a text names no file of a published log.
var errName = errors.New("a published log has no file of this name")

// mostLevels is how many levels of tiles a log of 2^63 entries has.
const mostLevels = 8

// ParseName reads the name of a file of a published log, as C2SP tlog-tiles writes it and in no other way.
func ParseName(name string) (n Name, err error) {
	if name == Checkpoint {
		return Name{Checkpoint: true}, nil
	}
	rest, ok := strings.CutPrefix(name, "tile/")
	level, rest, found := strings.Cut(rest, "/")
	if !ok || !found || len(rest) > 64 {
		return n, errName
	}
	if n.Level, err = strconv.Atoi(level); err != nil {
		n.Level = entriesLevel
	}
	n.Width = 1 << audit.TileLevels
	if before, after, partial := strings.Cut(rest, ".p/"); partial {
		rest = before
		if n.Width, err = strconv.Atoi(after); err != nil || n.Width < 1 || n.Width >= 1<<audit.TileLevels {
			return n, errName
		}
	}
	digits := strings.NewReplacer("x", "", "/", "").Replace(rest)
	if n.N, err = strconv.ParseInt(digits, 10, 64); err != nil || n.N < 0 || n.Level >= mostLevels || n.Path() != name {
		return n, errName
	}
	return n, nil
}

// Read makes one file of a log as of the checkpoint of the source. ErrAbsent when the log does not have it: it is shorter, an entry of a
// bundle was removed, or one is too long for the format.
func Read(ctx context.Context, s TreeSource, n Name) ([]byte, error) {
	if n.Checkpoint {
		return s.Head().Note, nil
	}
	size := s.Head().Checkpoint.Size
	if n.N > size>>audit.TileLevels || n.First()+int64(n.Width) > size>>(max(n.Level, 0)*audit.TileLevels) {
		return nil, ErrAbsent
	}
	if !n.Entries() {
		hashes, err := s.Tree(ctx).Hashes(n.Level*audit.TileLevels, n.First(), n.First()+int64(n.Width))
		if err != nil {
			return nil, err
		}
		return audit.MarshalTile(hashes), nil
	}
	var bundle []byte
	left := n.Width
	err := s.EachFrom(ctx, n.First(), func(e *audit.Sealed) error {
		if e.Entry == nil {
			return ErrAbsent
		}
		record := e.Record(nil)
		if len(record) > audit.MaxBundled {
			return ErrAbsent
		}
		bundle = audit.AppendBundled(bundle, record)
		if left--; left == 0 {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return bundle, nil
	}
	if err == nil {
		err = ErrAbsent
	}
	return nil, err
}

// errEnough ends a walk.
var errEnough = errors.New("enough was read")
