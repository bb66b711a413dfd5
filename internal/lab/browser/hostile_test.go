package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
)

// hostileTexts is case O1: what initiators, receivers and cores may put into texts is shown as text. Nothing of it runs, nothing is
// fetched, and no policy has to stop it.
func hostileTexts(t *testing.T, h *house) {
	var fetched atomic.Int64
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fetched.Add(1) }))
	t.Cleanup(canary.Close)
	payload := func(where string) string {
		return fmt.Sprintf(`%s"'><img src=%s onerror=hit()><script>hit()</script><svg/onload=hit()>{{7*7}}<a href=javascript:hit()>`, where, canary.URL)
	}
	is := certs.DefaultAlfa
	leaf, err := h.set.PKI.Issue(h.set.PKI.InitiatorServer(is))
	require.NoError(t, err)
	receiver, err := standin.Start(standin.Options{Certificate: leaf.TLS(), ClientCAs: mtlstest.ClientCAs(t).Pool()})
	require.NoError(t, err)
	t.Cleanup(receiver.Close)
	const client = `evil"><svg/onload=hit()>`
	name := payload("name")
	uris := []string{receiver.BaseURI("/evil")}
	statement, err := h.set.Statement(is.Organisation.ID, is.SoftwareID, uris)
	require.NoError(t, err)
	require.NoError(t, h.core.Register(t.Context(), client, stage.Registration{
		OrganisationID: is.Organisation.ID, SoftwareID: is.SoftwareID, Name: name, WebhookURIs: uris, SoftwareStatement: statement,
	}))
	id := uuid.NewString()
	receiver.Answer(id, standin.Answer{Status: http.StatusMovedPermanently, Reason: payload("reason"), Body: payload("body"), Header: []string{"Location: https://x/" + payload("to")}}, standin.Accept)
	require.Len(t, h.change(client, id, ofb.ACSC).Notifications, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err = receiver.Wait(ctx, 1, standin.For(id))
	require.NoError(t, err)
	data, err := json.Marshal(map[string]any{"paymentId": uuid.NewString(), "status": payload("status"), payload("member"): 1})
	require.NoError(t, err)
	_, err = h.core.Change(t.Context(), stage.Change{Kind: "pix-payment", ClientID: client, APIVersion: "v5", Revision: 1, OccurredAt: time.Now(), Data: data})
	var refusal *stage.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, http.StatusUnprocessableEntity, refusal.Status)

	w := newWindow(t, h.browser)
	w.enter(h, "<svg/onload=hit()>", "operator", "auditor", "registrar")
	shown := ""
	for _, path := range []string{
		"/", "/initiators", "/initiators/" + url.PathEscape(client), "/resources/pix-payment/" + id, "/notifications?clientId=" + url.QueryEscape(client),
		"/find?q=" + url.QueryEscape(payload("find")), "/quarantine", "/late", "/access", "/certificates", "/log",
	} {
		require.EqualValues(t, 200, w.visit(h.byLink+path), path)
		w.unfold()
		require.Empty(t, w.complaints(), path)
		require.False(t, script[bool](w, `!!document.querySelector("img[src^='http'], img[onerror], svg[onload], a[href^='javascript:'], body script:not([src])")`), path)
		_, sites := w.loaded()
		for _, site := range sites {
			require.False(t, strings.HasPrefix(site, canary.URL), path)
		}
		shown += w.text()
	}
	for _, text := range []string{`name"'><img src=`, `<script>hit()</script>`, `{{7*7}}`, client, `find"'><img`} {
		require.Contains(t, shown, text, "shown as it is")
	}
	require.Zero(t, fetched.Load())
}
