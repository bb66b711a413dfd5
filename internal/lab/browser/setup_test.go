package browser

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/gateway"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/port"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/ofb"
)

// house is two gateways on one database: people sign in to one by link, and to the other, which follows a source, by the OpenID
// provider.
type house struct {
	t        *testing.T
	browser  context.Context
	db       *pgx.Conn
	set      *stage.Stage
	core     *stage.Core
	byLink   string // http://127.0.0.1:port
	byOpenID string
	secret   string // the file of what the provider knows the second replica by

	delivered, retried, silent, cancelled string // ids of payments, by their story
}

// open starts the house with its stories: a payment delivered at the first attempt and polled, one at the second, and one whose state
// is not announced.
func open(t *testing.T) *house {
	t.Helper()
	url, pki, dir := storetest.Database(t), mtlstest.PKI(t), t.TempDir()
	require.NoError(t, pki.Write(filepath.Join(dir, "pki"), certs.Content{}))
	set := &stage.Stage{Dir: dir, PKI: pki, Database: url}
	h := &house{t: t, set: set}
	var err error
	h.db, err = pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.db.Close(context.WithoutCancel(t.Context())) })

	console := "ARAUTO_CONSOLE_ADDR=" + port.For(t).Address()
	first := h.serve(set, console, "ARAUTO_RESEND_ENABLED=true", "ARAUTO_CONSOLE_FOUR_EYES=hold")
	h.byLink = "http://" + first.Addr("console")
	h.core, err = set.Core(&stage.Replica{Internal: first.Addr("internal")})
	require.NoError(t, err)

	address := port.For(t).Address()
	h.byOpenID = "http://" + address
	h.secret = filepath.Join(dir, "client-secret")
	require.NoError(t, os.WriteFile(h.secret, []byte(clientSecret+"\n"), 0o600))
	issuer := startProvider(t, h.byOpenID)
	h.serve(set, "ARAUTO_CONSOLE_ADDR="+address, "ARAUTO_CONSOLE_BASE_URL="+h.byOpenID, "ARAUTO_CONSOLE_OIDC_ISSUER="+issuer,
		"ARAUTO_CONSOLE_OIDC_CLIENT_ID="+clientID, "ARAUTO_CONSOLE_OIDC_CLIENT_SECRET_FILE="+h.secret, "ARAUTO_CONSOLE_OIDC_ACR_VALUES="+strongACR, "ARAUTO_CONSOLE_OIDC_SCOPES=openid,profile,offline_access",
		"ARAUTO_WATCH_SOURCES="+unreachableBus(t, dir))
	h.stories(set)
	return h
}

func (h *house) serve(set *stage.Stage, settings ...string) *gateway.Gateway {
	h.t.Helper()
	cfg, err := config.Read("", append(append(set.Environment(), "ARAUTO_REPLICA="+uuid.NewString()[:8]), settings...))
	require.NoError(h.t, err)
	log := io.Discard
	if testing.Verbose() {
		log = h.t.Output()
	}
	g, err := gateway.New(h.t.Context(), cfg, "test", slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = g.Stop() })
	require.NoError(h.t, g.Start(h.t.Context()))
	return g
}

func (h *house) stories(set *stage.Stage) {
	h.t.Helper()
	alfa, beta := h.initiator(set, certs.DefaultAlfa), h.initiator(set, certs.DefaultBeta)
	h.delivered, h.retried, h.silent, h.cancelled = uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()
	alfa.Answer(h.retried, standin.Refuse(http.StatusServiceUnavailable), standin.Accept)
	beta.Answer(h.cancelled, standin.Refuse(http.StatusServiceUnavailable), standin.Accept)
	h.change(certs.DefaultAlfa.Name, h.silent, ofb.RCVD)
	h.change(certs.DefaultAlfa.Name, h.retried, ofb.ACSC)
	waiting := h.change(certs.DefaultBeta.Name, h.cancelled, ofb.RJCT)
	_, err := beta.Wait(h.t.Context(), 1, standin.For(h.cancelled))
	require.NoError(h.t, err)
	require.NoError(h.t, h.core.Call(h.t.Context(), http.MethodDelete, "/internal/v1/initiators/"+certs.DefaultBeta.Name, nil, nil))
	answer := h.change(certs.DefaultAlfa.Name, h.delivered, ofb.ACSC)
	for state, a := range map[string]stage.Accepted{"delivered": answer, "cancelled": waiting} {
		require.Len(h.t, a.Notifications, 1)
		n, err := h.core.WaitState(h.t.Context(), a.Notifications[0].ID)
		require.NoError(h.t, err)
		require.Equal(h.t, state, n.State)
	}
	h.register(set, certs.DefaultBeta, beta)
}

// initiator starts the endpoint of an initiator and registers it.
func (h *house) initiator(set *stage.Stage, is certs.Participant) *standin.Initiator {
	h.t.Helper()
	leaf, err := set.PKI.Issue(set.PKI.InitiatorServer(is))
	require.NoError(h.t, err)
	receiver, err := standin.Start(standin.Options{Certificate: leaf.TLS(), ClientCAs: mtlstest.ClientCAs(h.t).Pool()})
	require.NoError(h.t, err)
	h.t.Cleanup(receiver.Close)
	h.register(set, is, receiver)
	return receiver
}

func (h *house) register(set *stage.Stage, is certs.Participant, receiver *standin.Initiator) {
	h.t.Helper()
	uris := []string{receiver.BaseURI("/" + is.Name)}
	statement, err := set.Statement(is.Organisation.ID, is.SoftwareID, uris)
	require.NoError(h.t, err)
	require.NoError(h.t, h.core.Register(h.t.Context(), is.Name, stage.Registration{
		OrganisationID: is.Organisation.ID, SoftwareID: is.SoftwareID, Name: is.Organisation.Name, WebhookURIs: uris, SoftwareStatement: statement,
	}))
}

func (h *house) change(client, id string, status ofb.Status) stage.Accepted {
	h.t.Helper()
	a, err := h.core.Change(h.t.Context(), stage.Change{
		Kind: ofb.PixPayment.String(), ClientID: client, APIVersion: "v5", Revision: 1, OccurredAt: time.Now().UTC(),
		Data: openapitest.Document(ofb.PixPayment, "v5", status, id),
	})
	require.NoError(h.t, err)
	return a
}

// entry is the page of the first entry of the sealed log.
func (h *house) entry() string {
	h.t.Helper()
	require.Eventually(h.t, func() bool {
		var sealed bool
		require.NoError(h.t, h.db.QueryRow(h.t.Context(), "SELECT EXISTS (SELECT FROM arauto.log_checkpoint)").Scan(&sealed))
		return sealed
	}, time.Minute, 50*time.Millisecond)
	return "/entries/0"
}

// link is an address that opens one session.
func (h *house) link() string {
	h.t.Helper()
	link, err := h.set.SignInLink(h.t.Context(), &stage.Replica{Console: strings.TrimPrefix(h.byLink, "http://")})
	require.NoError(h.t, err)
	return link
}

// entries counts the history's entries about the console's own acts and readings of an actor.
func (h *house) entries(act, actor string) (n int) {
	h.t.Helper()
	require.NoError(h.t, h.db.QueryRow(h.t.Context(), "SELECT count(*) FROM arauto.entry WHERE outcome = $1 AND facts->>'actor' = $2", act, actor).Scan(&n))
	return n
}

// age makes every session old, as if time had passed.
func (h *house) age(column, by string) {
	h.t.Helper()
	require.Contains(h.t, []string{"seen_at", "opened_at", "asked_at"}, column)
	_, err := h.db.Exec(h.t.Context(), "UPDATE arauto.console_session SET "+column+" = now() - $1::interval", by)
	require.NoError(h.t, err)
}

// oneLine joins lines, for texts that a browser shows.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
