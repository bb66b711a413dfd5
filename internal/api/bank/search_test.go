package bank

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/cost"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

const listPath = "/internal/v1/notifications"

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestASearchIsReadIntoAFilter(t *testing.T) {
	f, cursor, err := searchOf("", now, brand.List{})
	require.NoError(t, err)
	require.Equal(t, history.Filter{Limit: 100}, f)
	require.Empty(t, cursor)

	f, cursor, err = searchOf("clientId=itp&kind=payment-consent&resourceId=urn:bank:1&interactionId="+someID+
		"&state=exhausted&from=2020-01-01T00:00:00-03:00&to=2026-11-21T12:00:00.0000001Z&limit=1000&cursor=abc", now, brand.List{})
	require.NoError(t, err)
	id, err := notice.ParseID(someID)
	require.NoError(t, err)
	require.Equal(t, history.Filter{
		Client: "itp", Kind: ofb.PaymentConsent, ResourceID: "urn:bank:1", Interaction: id, State: notice.Exhausted, Limit: 1000,
		From: time.Date(2020, 1, 1, 3, 0, 0, 0, time.UTC), To: now.Add(time.Microsecond),
	}, f, "finer parts than microseconds are rounded up, so that comparisons stay exact")
	require.Equal(t, "abc", cursor)
}

func TestABadSearchIs400(t *testing.T) {
	w := newWorld(t)
	w.shelf.notifications = func(context.Context, history.Filter) ([]history.Record, history.Position, error) {
		t.Error("a bad search reached the store")
		return nil, history.Position{}, nil
	}
	for _, q := range []string{
		"limit=0", "limit=1001", "limit=1000000000", "limit=-1", "limit=+1", "limit=1e2", "limit=", "limit=01", "limit=99999999999999999999",
		"limit=1&limit=2", "page=1", "State=pending", "state=late", "state=", "kind=pix", "kind=5", "clientId=", "clientId=a%20b", "clientId=%00",
		"clientId=" + strings.Repeat("a", 256), "resourceId='%20OR%201=1--", "resourceId=%00", "resourceId=$1", "kind=enrollment&resourceId=a/b",
		"interactionId=x", "interactionId=%27", "from=yesterday", "from=2026-11-21", "from=2026-11-21T12:00:00+03:00", "to=99999-01-01T00:00:00Z",
		"from=2026-11-21T12:00:00Z&to=2026-11-21T11:59:59Z", "from=2026-01-01T00:00:00Z", "from=2016-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
		"cursor=", "cursor=x", "cursor=" + strings.Repeat("A", 8000), "limit=%zz", "a;b=1", "cursor=%27;DROP%20TABLE", "state=pending%00",
		"state=pending&from=2016-01-01T00:00:00Z&to=2026-01-01T00:00:00Z&kind=pix-payment",
	} {
		got := w.ask("GET", listPath+"?"+q, "operator", "")
		got.refused(t, 400, "invalid_request")
	}
}

func TestASearchThatTakesTooLongIsTheCallersToNarrow(t *testing.T) {
	w := newWorld(t, func(c *InternalConfig) { c.SearchLimit = 20 * time.Millisecond })
	w.shelf.notifications = func(ctx context.Context, _ history.Filter) ([]history.Record, history.Position, error) {
		<-ctx.Done()
		return nil, history.Position{}, passing{ctx.Err()}
	}
	got := w.ask("GET", listPath, "operator", "")
	got.refused(t, 400, "invalid_request")
	require.Contains(t, got.text, "too_broad")
	w.shelf.ping = errors.New("gone")
	w.ask("GET", listPath, "operator", "").refused(t, 503, "unavailable")
}

func TestAListIsContinuedByItsCursorAndByNoOther(t *testing.T) {
	w := newWorld(t)
	last := history.Position{At: now.Add(123456 * time.Microsecond), ID: notice.ID{1, 2, 3}}
	var asked []history.Filter
	w.shelf.notifications = func(_ context.Context, f history.Filter) ([]history.Record, history.Position, error) {
		asked = append(asked, f)
		if f.After.At.IsZero() {
			return []history.Record{record()}, last, nil
		}
		return nil, history.Position{}, nil
	}
	first := w.ask("GET", listPath+"?clientId=itp&limit=1", "operator", "")
	require.Equal(t, 200, first.status)
	cursor, ok := first.body["nextCursor"].(string)
	require.True(t, ok)
	require.NotContains(t, cursor, "=")

	second := w.ask("GET", listPath+"?limit=7&clientId=itp&cursor="+cursor, "auditor", "")
	require.Equal(t, 200, second.status)
	require.JSONEq(t, `{"notifications":[],"nextCursor":null,"integrity":`+nothingCompared+`}`, second.text)
	require.Equal(t, last, asked[1].After)
	require.Equal(t, 7, asked[1].Limit)

	for _, q := range []string{"", "clientId=itq&", "clientId=itp&state=pending&", "clientId=itp&kind=enrollment&"} {
		w.ask("GET", listPath+"?"+q+"cursor="+cursor, "operator", "").refused(t, 400, "invalid_request")
	}
	require.Len(t, asked, 2, "a foreign cursor reaches no store")
}

func TestAForgedCursorIsNone(t *testing.T) {
	key := []byte("key")
	f := history.Filter{Client: "itp"}
	at := history.Position{At: now, ID: notice.ID{9}}
	good := sealCursor(key, f, at)
	back, err := openCursor(key, f, good)
	require.NoError(t, err)
	require.Equal(t, at, back)

	b, err := base64.RawURLEncoding.DecodeString(good)
	require.NoError(t, err)
	for i := range b {
		for bit := range 8 {
			forged := append([]byte(nil), b...)
			forged[i] ^= 1 << bit
			_, err := openCursor(key, f, base64.RawURLEncoding.EncodeToString(forged))
			require.ErrorIs(t, err, errCursor, "byte %d bit %d", i, bit)
		}
	}
	for _, s := range []string{"", good + "A", good[1:], good[:len(good)-1], strings.Repeat("A", len(good)), good + "=", strings.ToLower(good)} {
		_, err := openCursor(key, f, s)
		require.ErrorIs(t, err, errCursor)
	}
	_, err = openCursor([]byte("another key"), f, good)
	require.ErrorIs(t, err, errCursor)
}

func TestACursorBelongsToOneSearchAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		filter := rapid.Custom(func(t *rapid.T) history.Filter {
			return history.Filter{
				Client: notice.ClientID(rapid.StringN(0, 3, -1).Draw(t, "client")), ResourceID: rapid.StringN(0, 3, -1).Draw(t, "resource"),
				Kind: ofb.Kind(rapid.IntRange(0, 2).Draw(t, "kind")), State: notice.State(rapid.StringN(0, 2, -1).Draw(t, "state")),
			}
		})
		a, b := filter.Draw(t, "a"), filter.Draw(t, "b")
		at := history.Position{At: time.UnixMicro(rapid.Int64().Draw(t, "at")).UTC(), ID: notice.ID{1}}
		back, err := openCursor([]byte("k"), b, sealCursor([]byte("k"), a, at))
		if a == b {
			if err != nil || back != at {
				t.Fatalf("%v, %v", back, err)
			}
		} else if err == nil {
			t.Fatalf("a cursor of %+v opened %+v", a, b)
		}
	})
}

func FuzzCursor(f *testing.F) {
	key := []byte("key")
	good := sealCursor(key, history.Filter{}, history.Position{At: now, ID: notice.ID{1}})
	for _, s := range []string{"", good, good[:10], "\x00", strings.Repeat("A", len(good)), good + "\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if over := cost.Parser.Within(len(s), func() { _, _ = openCursor(key, history.Filter{}, s) }); over != "" {
			t.Fatal(over)
		}
		at, err := openCursor(key, history.Filter{}, s)
		if err == nil && sealCursor(key, history.Filter{}, at) != s {
			t.Fatalf("%q was not made by us and opens as %v", s, at)
		}
	})
}

func FuzzSearch(f *testing.F) {
	for _, s := range []string{
		"", "limit=10", "clientId=itp&state=pending", "from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z", "resourceId=urn%3Ax%3A1&kind=payment-consent",
		"a=%zz", "a;b", "interactionId=" + someID, "cursor=abc&limit=1", "%00=1", strings.Repeat("a=1&", 100),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if over := cost.Parser.Within(len(s), func() { _, _, _ = searchOf(s, now, brand.List{}) }); over != "" {
			t.Fatal(over)
		}
		filter, _, err := searchOf(s, now, brand.List{})
		if err != nil {
			var known *api.APIError
			if !errors.As(err, &known) || known.Status != 400 || len(known.Problems) == 0 {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		values, err := url.ParseQuery(s)
		if err != nil || filter.Limit < 1 || filter.Limit > 1000 || len(values) > len(notificationParameters) {
			t.Fatalf("%q passed as %+v", s, filter)
		}
		if strings.ContainsRune(string(filter.Client)+filter.ResourceID+string(filter.State), 0) {
			t.Fatalf("%q: a NUL reaches the store", s)
		}
		if from, to := filter.From, filter.To; !from.IsZero() && !to.IsZero() && to.Before(from) {
			t.Fatalf("%q passed as %s", s, fmt.Sprint(from, to))
		}
	})
}

// sealCursor writes a position in a list of notifications down.
func sealCursor(key []byte, f history.Filter, at history.Position) string {
	return sealPosition(key, partsOf(f), at)
}

// openCursor reads a position in a list of notifications back.
func openCursor(key []byte, f history.Filter, cursor string) (history.Position, error) {
	return openPosition(key, partsOf(f), cursor)
}
