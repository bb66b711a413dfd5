package status_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/lab/openapicheck"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/spool"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

const events = "/arauto/v1/events"

// seenWaiting tells a test of long polls that begin.
type seenWaiting struct{ began chan struct{} }

func (s seenWaiting) Waiting(change int) {
	if change > 0 {
		s.began <- struct{}{}
	}
}

func (seenWaiting) Listed(bool, int) {}

// extended opens a desk with the extension; both initiators have push.
func extended(t *testing.T, adjust ...func(*status.PublicConfig, *spool.Config)) (*desk, seenWaiting) {
	t.Helper()
	waits := seenWaiting{make(chan struct{}, 16)}
	d := openDesk(t, append(adjust, func(c *status.PublicConfig, _ *spool.Config) {
		c.Extension = &status.Extension{Feed: auditlog.New(c.Resources.(*store.Store).Access()), Observer: waits}
	})...)
	for _, p := range []*poller{d.alfa, d.beta} {
		_, _, err := d.store.PutInitiator(t.Context(), notice.Initiator{
			Client: notice.ClientID(p.client), OrganisationID: p.is.Organisation.ID, SoftwareID: p.is.SoftwareID, Name: p.is.Name,
			WebhookURIs: []string{"https://" + p.client + ".example.com/hook"}, Push: true,
		}, "test")
		require.NoError(t, err)
	}
	return d, waits
}

// told hands in a settled payment of a client and returns the id of its notification.
func (d *desk) told(client string, n int) string {
	d.t.Helper()
	_, document := sample(ofb.PixPayment, "v4", ofb.ACSC, n)
	a := d.accept(client, ofb.PixPayment, "v4", 1, document)
	require.Len(d.t, a.Notifications, 1)
	return a.Notifications[0].String()
}

// page is an answer of the feed.
type page struct {
	Events []struct {
		ID, Kind, ResourceID, State string
		Attempts                    []any
	}
	NextCursor string
}

func (d *desk) page(a answer) (p page) {
	d.t.Helper()
	require.NoError(d.t, json.Unmarshal(d.open(a).Data, &p))
	d.documented(events, a)
	return p
}

// documented holds an answer against our document of the extension.
func (d *desk) documented(path string, a answer) {
	d.t.Helper()
	document, err := openapicheck.Open("extension-v1.yaml")
	require.NoError(d.t, err)
	r, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, "https://"+d.addr+path, nil)
	require.NoError(d.t, err)
	require.NoError(d.t, document.Check(r, a.status, a.header, a.body), "%s", a.body)
}

func (p page) ids() []string {
	var out []string
	for _, e := range p.Events {
		out = append(out, e.ID)
	}
	return out
}

func TestAnInitiatorReadsItsOwnEventsInTheirOrder(t *testing.T) {
	d, _ := extended(t)
	var mine []string
	for n := range 5 {
		mine = append(mine, d.told(clientAlfa, n))
		d.told(clientBeta, 100+n)
	}
	first := d.page(d.alfa.get(events + "?limit=2"))
	require.Equal(t, mine[:2], first.ids())
	require.Equal(t, "pix-payment", first.Events[0].Kind)
	require.Equal(t, "pending", first.Events[0].State)
	second := d.page(d.alfa.get(events + "?limit=1000&after=" + first.NextCursor))
	require.Equal(t, mine[2:], second.ids())
	third := d.page(d.alfa.get(events + "?after=" + second.NextCursor))
	require.Empty(t, third.Events)
	mine = append(mine, d.told(clientAlfa, 6))
	require.Equal(t, mine[5:], d.page(d.alfa.get(events+"?after="+third.NextCursor)).ids(), "a cursor of an empty page goes on")
	require.Equal(t, mine[5:], d.page(d.alfa.get(events+"?after="+second.NextCursor)).ids(), "a cursor may be used again")
	require.Empty(t, d.page(d.alfa.get(events+"?missed=true")).Events)

	for _, wrong := range []string{
		"?limit=0", "?limit=1001", "?limit=x", "?limit=", "?wait=31", "?wait=-1", "?missed=yes", "?cursor=" + first.NextCursor, "?after=AAAA",
		"?after=" + first.NextCursor + "&after=" + first.NextCursor, "?missed=true&after=" + first.NextCursor,
	} {
		d.requireRefused(d.alfa.get(events+wrong), http.StatusBadRequest, "PARAMETRO_INVALIDO")
	}
	d.requireRefused(d.beta.get(events+"?after="+first.NextCursor), http.StatusBadRequest, "PARAMETRO_INVALIDO")
	d.requireRefused(d.alfa.get(events, withToken(d.alfa.token(set("scope", "openid")))), http.StatusForbidden, "FORBIDDEN")
	d.requireRefused(d.alfa.get(events, withToken("bad")), http.StatusUnauthorized, "UNAUTHORIZED")
	d.requireRefused(d.alfa.get(events, with("Accept", "text/html")), http.StatusNotAcceptable, "NOT_ACCEPTABLE")

	recorded := d.entries()
	require.Equal(t, "extension-events", recorded[0].facts.Operation)
	require.Equal(t, clientAlfa, recorded[0].client)
	require.Equal(t, 2, recorded[0].facts.Items)
	require.NotEmpty(t, recorded[0].facts.JTI)
	require.Equal(t, "403", recorded[len(recorded)-3].outcome)
}

func TestTheExtensionIsOffUnlessSwitchedOn(t *testing.T) {
	d := openDesk(t).both()
	d.requireRefused(d.alfa.get(events), http.StatusNotFound, "NOT_FOUND")
	d.requireRefused(d.alfa.get("/arauto/v1/notifications/"+uuid.NewString()), http.StatusNotFound, "NOT_FOUND")
}

func TestALongPollIsAnsweredWhenSomethingHappens(t *testing.T) {
	d, waits := extended(t)
	start := d.page(d.alfa.get(events)).NextCursor
	answers := make(chan answer, 1)
	began := time.Now()
	go func() { answers <- d.alfa.get(events + "?wait=30&after=" + start) }()
	<-waits.began
	d.told(clientBeta, 1)
	id := d.told(clientAlfa, 2)
	require.Equal(t, []string{id}, d.page(<-answers).ids())
	require.Less(t, time.Since(began), 25*time.Second)
}

func TestLongPollsWithoutNewsAreCountedByTheMinute(t *testing.T) {
	t.Parallel()
	d, _ := extended(t)
	start := d.page(d.alfa.get(events)).NextCursor
	for range 3 {
		a := d.alfa.get(events + "?wait=1&after=" + start)
		require.Equal(t, http.StatusNoContent, a.status, "%s", a.body)
		require.Empty(t, a.body)
		require.NoError(t, uuid.Validate(a.header.Get("x-fapi-interaction-id")))
		d.documented(events, a)
	}
	require.Len(t, d.entries(), 2)
	require.NoError(t, d.public.RecordRefused(context.WithoutCancel(t.Context()), true))
	recorded := d.entries()
	require.Len(t, recorded, 3)
	require.Equal(t, "204", recorded[1].outcome)
	require.Equal(t, "204", recorded[2].outcome)
	require.EqualValues(t, 1, recorded[2].facts.Suppressed, "with this one, two since the record before")
}
