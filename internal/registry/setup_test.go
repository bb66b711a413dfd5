package registry_test

import (
	"context"
	"crypto/rsa"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/keystock"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/registry"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// directory signs statements; stranger is not the Directory. Both are made once for the process.
var (
	directory = sync.OnceValue(newKey)
	stranger  = sync.OnceValue(newKey)
)

func newKey() *rsa.PrivateKey {
	key, err := keystock.New(2048)
	if err != nil {
		panic("registry_test: " + err.Error())
	}
	return key
}

var errUnknown = errors.New("unknown initiator")

// memory keeps registrations by hand.
type memory struct {
	kept  map[notice.ClientID]notice.Initiator
	puts  int
	actor string
	down  error

	refusals []refusal
}

// refusal is what was recorded of a registration that was not stored.
type refusal struct {
	asked    notice.Initiator
	actor    string
	code     string
	problems []notice.Problem
}

func (m *memory) RefuseInitiator(_ context.Context, in notice.Initiator, actor, code string, problems []notice.Problem) error {
	if m.down != nil {
		return m.down
	}
	m.refusals = append(m.refusals, refusal{in, actor, code, problems})
	return nil
}

func (m *memory) PutInitiator(_ context.Context, in notice.Initiator, actor string) (notice.Initiator, bool, error) {
	if m.down != nil {
		return notice.Initiator{}, false, m.down
	}
	_, known := m.kept[in.Client]
	in.UpdatedAt = noon
	m.kept[in.Client] = in
	m.puts++
	m.actor = actor
	return in, !known, nil
}

func (m *memory) DeleteInitiator(_ context.Context, client notice.ClientID, actor string) error {
	if _, known := m.kept[client]; !known {
		return errUnknown
	}
	delete(m.kept, client)
	m.actor = actor
	return nil
}

func (m *memory) Initiator(_ context.Context, client notice.ClientID) (notice.Initiator, error) {
	in, known := m.kept[client]
	if !known {
		return notice.Initiator{}, errUnknown
	}
	return in, nil
}

func (m *memory) Initiators(context.Context, notice.InitiatorQuery) ([]notice.Initiator, error) {
	var all []notice.Initiator
	for _, in := range m.kept {
		all = append(all, in)
	}
	return all, nil
}

// bench is a registry over a memory, with the log it writes.
type bench struct {
	*registry.Registry
	store *memory
	log   *strings.Builder
}

func open(t testing.TB, change func(*registry.Config)) bench {
	t.Helper()
	b := bench{store: &memory{kept: map[notice.ClientID]notice.Initiator{}}, log: &strings.Builder{}}
	c := registry.Config{
		Store: b.store, Log: slog.New(slog.NewTextHandler(b.log, nil)),
		Statements: &jws.StatementVerifier{Keys: jws.FixedKeySet(keysOf(t, directory())), Now: func() time.Time { return noon }},
	}
	if change != nil {
		change(&c)
	}
	var err error
	b.Registry, err = registry.New(c)
	require.NoError(t, err)
	return b
}

func production(t testing.TB) bench { return open(t, nil) }

func development(t testing.TB, networks ...string) bench {
	return open(t, func(c *registry.Config) {
		c.Development = true
		for _, n := range networks {
			c.AllowNetworks = append(c.AllowNetworks, netip.MustParsePrefix(n))
		}
	})
}

func claims(uris []string, changes map[string]any) map[string]any {
	out := map[string]any{"iss": "the Directory", "iat": noon.Unix(), "software_id": "sw-1", "org_id": "org-1", "software_api_webhook_uris": uris}
	maps.Copy(out, changes)
	maps.DeleteFunc(out, func(_ string, value any) bool { return value == nil })
	return out
}

func sign(t testing.TB, key *rsa.PrivateKey, kid string, claims map[string]any) string {
	t.Helper()
	statement, err := jws.Issue(key, kid, claims)
	require.NoError(t, err)
	return statement
}

// request is a good one for these addresses, statement included.
func request(t testing.TB, uris ...string) registry.Request {
	t.Helper()
	return registry.Request{
		OrganisationID: "org-1", SoftwareID: "sw-1", Name: "Iniciadora São João", WebhookURIs: &uris,
		SoftwareStatement: sign(t, directory(), "dir", claims(uris, nil)),
	}
}

// refused puts a request that must not be stored.
func refused(t testing.TB, b bench, r registry.Request) *registry.Invalid {
	t.Helper()
	before, recorded := b.store.puts, len(b.store.refusals)
	_, _, err := b.Put(t.Context(), "itp-1", r, "registrar")
	var invalid *registry.Invalid
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, before, b.store.puts, "nothing is stored")
	require.Len(t, b.store.refusals, recorded+1, "and the refusal is recorded, once")
	trace := b.store.refusals[recorded]
	require.Equal(t, string(invalid.Code), trace.code)
	require.Equal(t, "registrar", trace.actor)
	require.Len(t, trace.problems, len(invalid.Problems))
	return invalid
}
