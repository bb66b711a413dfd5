package bank

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

func TestTheListOfInitiatorsHasPagesThatTogetherShowEachOnce(t *testing.T) {
	w := newWorld(t)
	var all []notice.Initiator
	for i := range 2345 {
		all = append(all, notice.Initiator{Client: notice.ClientID(fmt.Sprintf("client/%04d", i))})
	}
	w.shelf.list = func(q notice.InitiatorQuery) (page []notice.Initiator, err error) {
		require.Equal(t, "Beta Pagamentos", q.Text)
		for _, in := range all {
			if in.Client > q.After && len(page) < q.Limit {
				page = append(page, in)
			}
		}
		return page, nil
	}
	seen, pages := 0, 0
	for cursor := ""; ; pages++ {
		got := w.ask("GET", "/internal/v1/initiators?q=Beta+Pagamentos"+cursor, "auditor", "")
		require.Equal(t, 200, got.status, got.text)
		list := got.body["initiators"].([]any)
		require.LessOrEqual(t, len(list), 1000, "the default is bounded")
		for _, one := range list {
			require.Equal(t, string(all[seen].Client), one.(map[string]any)["clientId"])
			seen++
		}
		next, more := got.body["nextCursor"]
		if !more {
			break
		}
		cursor = "&cursor=" + next.(string)
	}
	require.Equal(t, len(all), seen)
	require.Equal(t, 2, pages)
}
