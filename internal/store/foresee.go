package store

import (
	"context"

	"github.com/arauto/arauto/internal/notice"
)

// Past reads what Record would hand to judge for one change. It locks for an instant and changes nothing.
func (s *Store) Past(ctx context.Context, c *notice.Change) (notice.Past, error) {
	conn, err := s.intake.Acquire(ctx)
	if err != nil {
		return notice.Past{}, Unavailable("take an intake connection", err)
	}
	defer conn.Release()
	defer rollback(conn)
	changes := []*notice.Change{c}
	pasts, _, _, err := lockPasts(ctx, conn, changes)
	if err == nil {
		err = readRevisions(ctx, conn, changes, pasts)
	}
	if err != nil {
		return notice.Past{}, Unavailable("read what is stored of a resource", err)
	}
	return pasts[0], nil
}
