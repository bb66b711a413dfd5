package status_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/spool"
)

// acts plays the parts of the extension that do something.
type acts struct {
	asked     atomic.Pointer[history.Actor]
	since     atomic.Pointer[time.Time]
	preflight atomic.Int64
	noPush    atomic.Bool
}

type noAddress struct{}

func (noAddress) Error() string  { return "no address" }
func (noAddress) Conflict() bool { return true }

func (a *acts) Redeliver(ctx context.Context, _ notice.ClientID, since time.Time, _ int) ([]notice.ID, bool, error) {
	who, _ := ctx.Value(history.ActorKey{}).(history.Actor)
	a.asked.Store(&who)
	a.since.Store(&since)
	if a.noPush.Load() {
		return nil, false, noAddress{}
	}
	return []notice.ID{notice.ID(uuid.New())}, true, nil
}

func (a *acts) Preflight(_ context.Context, _ notice.ClientID, portuguese bool) (string, []status.ReachStep, error) {
	a.preflight.Add(1)
	why, advice := "connection refused", "start it"
	if portuguese {
		why, advice = "conexão recusada", "inicie-o"
	}
	return "https://itp.example.com/hook", []status.ReachStep{{Step: "address", OK: true, Detail: "fits"}, {Step: "connection", Problem: &why, Advice: &advice}}, nil
}

// post sends a body to a path.
func (p *poller) post(path, body string, change ...func(*http.Request)) answer {
	p.t.Helper()
	return p.get(path, append([]func(*http.Request){func(r *http.Request) {
		r.Method, r.Body, r.ContentLength = http.MethodPost, http.NoBody, int64(len(body))
		if body != "" {
			r.Body = io.NopCloser(strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
		}
	}}, change...)...)
}

func TestInitiatorsAskForActsOfTheirOwn(t *testing.T) {
	a := &acts{}
	d := openDesk(t, func(c *status.PublicConfig, _ *spool.Config) {
		c.Extension = &status.Extension{Redelivery: a, Preflights: a}
	}).both()
	const redelivery, preflight = "/arauto/v1/redelivery", "/arauto/v1/preflight"

	var queued struct {
		Queued []string
		More   bool
	}
	since := time.Now().Add(-24 * time.Hour).Truncate(time.Second)
	withSince := func(at time.Time) string { return `{"since":"` + at.Format(time.RFC3339) + `"}` }
	got := d.alfa.post(redelivery, withSince(since.In(ofb.Brasilia)))
	require.NoError(t, json.Unmarshal(d.open(got).Data, &queued))
	require.Len(t, queued.Queued, 1)
	require.True(t, queued.More)
	require.Equal(t, "initiator", a.asked.Load().Role)
	require.Equal(t, clientAlfa, a.asked.Load().Subject)
	require.True(t, a.since.Load().Equal(since))
	for _, wrong := range []string{`{`, `[]`, `{"since":"yesterday"}`, `{"since":"2026-11-28T12:00:00Z","all":true}`, withSince(since.AddDate(0, 0, -30)), strings.Repeat(" ", 70_000)} {
		d.requireRefused(d.alfa.post(redelivery, wrong), http.StatusBadRequest, "PARAMETRO_INVALIDO")
	}
	for _, missing := range []string{``, `{}`} {
		d.requireRefused(d.alfa.post(redelivery, missing), http.StatusBadRequest, "PARAMETRO_NAO_INFORMADO")
	}
	for _, media := range []string{"", "text/plain", "application/json; charset=iso-8859-1"} {
		asText := func(r *http.Request) { r.Header.Set("Content-Type", media) }
		d.requireRefused(d.alfa.post(redelivery, withSince(since), asText), http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
	}
	a.noPush.Store(true)
	d.requireRefused(d.alfa.post(redelivery, withSince(since)), http.StatusBadRequest, "PARAMETRO_INVALIDO")
	refused := d.alfa.get(redelivery)
	d.requireRefused(refused, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
	require.Equal(t, http.MethodPost, refused.header.Get("Allow"))
	d.requireRefused(d.alfa.post(redelivery, `{"since":"2026-11-28T12:00:00Z"}`, withToken("bad")), http.StatusUnauthorized, "UNAUTHORIZED")

	var tried struct {
		WebhookURI string
		OK         bool
		Steps      []status.ReachStep
	}
	require.NoError(t, json.Unmarshal(d.open(d.alfa.post(preflight, "")).Data, &tried))
	require.Equal(t, "https://itp.example.com/hook", tried.WebhookURI)
	require.False(t, tried.OK)
	require.Len(t, tried.Steps, 2)
	require.Equal(t, []string{"connection refused", "start it"}, []string{*tried.Steps[1].Problem, *tried.Steps[1].Advice}, "English where no language is asked for")
	again := d.alfa.post(preflight, "")
	d.requireRefused(again, 529, "SITE_IS_OVERLOADED")
	wait, err := strconv.Atoi(again.header.Get("Retry-After"))
	require.NoError(t, err)
	require.Greater(t, wait, 1, "one a minute is allowed")
	require.LessOrEqual(t, wait, 60)
	other := d.beta.post(preflight, "", func(r *http.Request) { r.Header.Set("Accept-Language", "pt-BR,en;q=0.5") })
	require.Equal(t, http.StatusOK, other.status, "each client has its own minute")
	require.NoError(t, json.Unmarshal(d.open(other).Data, &tried))
	require.Equal(t, []string{"conexão recusada", "inicie-o"}, []string{*tried.Steps[1].Problem, *tried.Steps[1].Advice})
	d.requireRefused(d.beta.post(preflight, "{}"), http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
	require.EqualValues(t, 2, a.preflight.Load())

	recorded := d.entries()
	require.Equal(t, "extension-redelivery", recorded[0].facts.Operation)
	require.Equal(t, http.MethodPost, recorded[0].facts.Method)
	require.Equal(t, "200", recorded[0].outcome)
	require.NotContains(t, recorded[0].facts.Reason, "since")
}

// readCounter is a history that counts who reads it at the same time. Each read takes 100 ms of virtual time.
type readCounter struct {
	mu         sync.Mutex
	now        map[notice.ClientID]int
	most, each int // at the same time, of all and of one client
}

func (c *readCounter) read(client notice.ClientID) {
	c.mu.Lock()
	c.now[client]++
	sum := 0
	for _, n := range c.now {
		sum += n
	}
	c.most, c.each = max(c.most, sum), max(c.each, c.now[client])
	c.mu.Unlock()
	<-time.After(100 * time.Millisecond) // virtual
	c.mu.Lock()
	c.now[client]--
	c.mu.Unlock()
}

func (c *readCounter) Redeliver(_ context.Context, client notice.ClientID, _ time.Time, _ int) ([]notice.ID, bool, error) {
	c.read(client)
	return nil, false, nil
}

func (c *readCounter) SentAttempt(_ context.Context, client notice.ClientID, _ notice.ID) (history.SentAttempt, error) {
	c.read(client)
	return history.SentAttempt{}, nil
}

func (c *readCounter) Feed(_ context.Context, q history.FeedQuery) (history.FeedPage, error) {
	c.read(q.Client)
	return history.FeedPage{}, nil
}

func (c *readCounter) Acknowledge(_ context.Context, client notice.ClientID, said []history.Acknowledgement) ([]history.AckResult, error) {
	c.read(client)
	return slices.Repeat([]history.AckResult{history.AckRecorded}, len(said)), nil
}

func (*readCounter) FeedNews(context.Context, int64) (history.FeedNews, error) {
	return history.FeedNews{}, nil
}

func (*readCounter) CursorKey(context.Context) ([]byte, error) { return make([]byte, 32), nil }

func (*readCounter) OwnFingerprint(notice.ClientID, string) string { return "" }

// TestActsAndReceiptsOfAClientReadOneByOne puts more calls at once than there are connections to the database.
func TestActsAndReceiptsOfAClientReadOneByOne(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		c := &readCounter{now: map[notice.ClientID]int{}}
		public, state := rebuilt(t, func(cfg *status.PublicConfig, _ *stub) {
			cfg.Extension = &status.Extension{Redelivery: c, Receipts: c, Acknowledgements: c}
		})
		post := func(path, body string) {
			w := httptest.NewRecorder()
			r := &http.Request{
				Method: http.MethodPost, URL: &url.URL{Path: path}, RequestURI: path, Header: goodHeader(), TLS: state,
				RemoteAddr: "192.0.2.1:4711", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Host: "api.banco.example.com",
			}
			r.Header.Set("Content-Type", "application/json")
			public.ServeHTTP(w, r)
			require.Equal(t, http.StatusOK, w.Code, "%s", w.Body)
		}
		since := `{"since":"` + time.Now().Add(-time.Hour).Format(time.RFC3339) + `"}`
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() { post("/arauto/v1/redelivery", since) })
			all.Go(func() { post("/arauto/v1/events/acks", `{"acks":["`+uuid.NewString()+`"]}`) })
			all.Go(func() {
				w, _ := try(public, state, http.MethodGet, "/arauto/v1/notifications/"+uuid.NewString(), goodHeader())
				require.Equal(t, http.StatusOK, w.Code, "%s", w.Body)
			})
		}
		all.Wait()
		require.Equal(t, []int{1, 1}, []int{c.most, c.each})
	})
}

// everybody is a registry and a token endpoint that know each client by the id of its organisation.
type everybody struct{ *stub }

func (e everybody) Read(_ context.Context, q notice.Question) (notice.PollReading, error) {
	return notice.PollReading{Initiator: &notice.Initiator{Client: q.Client, OrganisationID: string(q.Client), SoftwareID: string(q.Client)}}, nil
}

func (e everybody) Verify(ctx context.Context, token string) (jws.AccessToken, error) {
	is, state, _ := strings.Cut(token, " ")
	t, err := e.stub.Verify(ctx, "good")
	t.ClientID = is
	raw, _ := hex.DecodeString(state)
	copy(t.Thumbprint[:], raw)
	return t, err
}

// bearerOf is a token of everybody for a client with a certificate.
func bearerOf(id string, state *tls.ConnectionState) http.Header {
	leaf := sha256.Sum256(state.PeerCertificates[0].Raw)
	return http.Header{"Authorization": {"Bearer " + id + " " + hex.EncodeToString(leaf[:])}, "X-Fapi-Interaction-Id": {uuid.NewString()}}
}

// organisations are connections of organisations with one software each, by the id of both.
func organisations(t *testing.T, ids ...string) map[string]*tls.ConnectionState {
	t.Helper()
	states := map[string]*tls.ConnectionState{}
	for _, id := range ids {
		is := certs.DefaultAlfa
		is.Organisation.ID, is.SoftwareID = id, id
		states[id] = stateOf(t, is)
	}
	return states
}

// TestAFeedIsReadInTurnsOfOrganisations: one organisation asks for its feed 40 times at once, and another once, behind it.
func TestAFeedIsReadInTurnsOfOrganisations(t *testing.T) {
	greedy, modest := uuid.NewString(), uuid.NewString()
	states := organisations(t, greedy, modest)
	synctest.Test(t, func(t *testing.T) {
		c := &readCounter{now: map[notice.ClientID]int{}}
		public, _ := rebuilt(t, func(cfg *status.PublicConfig, s *stub) {
			cfg.Resources, cfg.Tokens, cfg.Extension = everybody{s}, everybody{s}, &status.Extension{Feed: c}
		})
		ask := func(id string) int {
			w, _ := try(public, states[id], http.MethodGet, events, bearerOf(id, states[id]))
			return w.Code
		}
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() { require.Equal(t, http.StatusOK, ask(greedy)) })
		}
		synctest.Wait()
		began := time.Now()
		require.Equal(t, http.StatusOK, ask(modest))
		require.LessOrEqual(t, time.Since(began), 200*time.Millisecond, "it waits for one read of the other at most")
		all.Wait()
		require.Equal(t, []int{2, 1}, []int{c.most, c.each})
	})
}

// TestLongPollsOfOneOrganisationLeaveOthersTheirShare: an organisation takes a quarter of the room, and who comes when all is taken
// waits within an equal share.
func TestLongPollsOfOneOrganisationLeaveOthersTheirShare(t *testing.T) {
	ids := make([]string, 6)
	for i := range ids {
		ids[i] = uuid.NewString()
	}
	states := organisations(t, ids...)
	synctest.Test(t, func(t *testing.T) {
		public, _ := rebuilt(t, func(cfg *status.PublicConfig, s *stub) {
			cfg.Resources, cfg.Tokens, cfg.Extension = everybody{s}, everybody{s}, &status.Extension{Feed: &counted{}}
			cfg.Limits.Waiting, cfg.Limits.ClientWaiting = 16, 3
		})
		var all sync.WaitGroup
		answers := make([]map[int]int, len(ids))
		ask := func(i, calls int) {
			answers[i] = map[int]int{}
			var mu sync.Mutex
			for range calls {
				all.Go(func() {
					w, _ := try(public, states[ids[i]], http.MethodGet, events+"?wait=20", bearerOf(ids[i], states[ids[i]]))
					mu.Lock()
					defer mu.Unlock()
					answers[i][w.Code]++
				})
			}
			synctest.Wait()
		}
		for i := range 5 {
			ask(i, 4) // three wait: 15 of the 16
		}
		ask(5, 4) // of six organisations each may have 16/6
		all.Wait()
		for i := range 5 {
			require.Equal(t, map[int]int{http.StatusNoContent: 3, 529: 1}, answers[i])
		}
		require.Equal(t, map[int]int{http.StatusNoContent: 2, 529: 2}, answers[5])
		time.Sleep(time.Second) // virtual: the watch sees that nobody waits, and ends
	})
}

// TestSoftwaresOfOneOrganisationShareAQuarterOfTheRoomForLongPolls has six of them.
func TestSoftwaresOfOneOrganisationShareAQuarterOfTheRoomForLongPolls(t *testing.T) {
	states := map[string]*tls.ConnectionState{}
	is := certs.DefaultAlfa
	is.Organisation.ID = uuid.NewString()
	for range 6 {
		is.SoftwareID = uuid.NewString()
		states[is.SoftwareID] = stateOf(t, is)
	}
	synctest.Test(t, func(t *testing.T) {
		public, _ := rebuilt(t, func(cfg *status.PublicConfig, s *stub) {
			cfg.Resources, cfg.Tokens, cfg.Extension = softwareOf{everybody{s}, is.Organisation.ID}, everybody{s}, &status.Extension{Feed: &counted{}}
			cfg.Limits.Waiting, cfg.Limits.ClientWaiting = 16, 2
		})
		var all sync.WaitGroup
		var waited, refused atomic.Int64
		for id, state := range states {
			for range 2 {
				all.Go(func() {
					w, _ := try(public, state, http.MethodGet, events+"?wait=20", bearerOf(id, state))
					switch w.Code {
					case http.StatusNoContent:
						waited.Add(1)
					case 529:
						refused.Add(1)
					}
				})
			}
		}
		all.Wait()
		require.Equal(t, []int64{4, 8}, []int64{waited.Load(), refused.Load()})
		time.Sleep(time.Second) // virtual: the watch sees that nobody waits, and ends
	})
}

// softwareOf is everybody with softwares of one organisation.
type softwareOf struct {
	everybody
	organisation string
}

func (s softwareOf) Read(_ context.Context, q notice.Question) (notice.PollReading, error) {
	return notice.PollReading{Initiator: &notice.Initiator{Client: q.Client, OrganisationID: s.organisation, SoftwareID: string(q.Client)}}, nil
}
