package auditlog

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// TestOfTooManyResourcesThoseWithAnOpenNotificationAreRemembered: the next stretches end them.
func TestOfTooManyResourcesThoseWithAnOpenNotificationAreRemembered(t *testing.T) {
	var p *pushes
	p = p.at(7)
	key := func(n int) notice.Key { return notice.Key{ID: strconv.Itoa(n)} }
	for n := range pushMost {
		p.known[key(n)] = &pushed{open: map[notice.ID]*openPush{}}
	}
	p.known[key(0)].open[notice.ID{1}] = &openPush{}
	require.Len(t, p.at(7).known, pushMost)
	require.Empty(t, p.at(8).known, "of another position")
	p.known[key(pushMost)] = &pushed{}
	require.Len(t, p.at(7).known, 1)
	require.Contains(t, p.at(7).known, key(0))
	for n := range pushMost + 1 {
		p.known[key(n)] = &pushed{open: map[notice.ID]*openPush{{1}: {}}}
	}
	require.Empty(t, p.at(7).known, "all are open")
}
