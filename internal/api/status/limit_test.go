package status_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/spool"
)

// slow stands for a part of ours that answers when it is told to, or not at all.
type slow struct {
	*stub
	release chan struct{}
}

func (s slow) wait(ctx context.Context) error {
	select {
	case <-s.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s slow) Read(ctx context.Context, q notice.Question) (notice.PollReading, error) {
	if err := s.wait(ctx); err != nil {
		return notice.PollReading{}, err
	}
	return s.stub.Read(ctx, q)
}

// slowTokens keeps the caller waiting before anything else is known.
type slowTokens struct{ slow }

func (s slowTokens) Verify(ctx context.Context, token string) (jws.AccessToken, error) {
	if err := s.wait(ctx); err != nil {
		return jws.AccessToken{}, err
	}
	return s.stub.Verify(ctx, token)
}

const anyPayment = "/open-banking/payments/v4/pix/payments/a"

// rebuilt is a handler like stubbed, changed.
func rebuilt(t *testing.T, change func(*status.PublicConfig, *stub)) (*status.Public, *tls.ConnectionState) {
	t.Helper()
	_, s, state := stubbed(t)
	c := stubConfig(t, s)
	change(&c, s)
	public, err := status.NewPublic(c)
	require.NoError(t, err)
	return public, state
}

func TestAQueryThatTakesTooLongIs504AndASlowDatabaseIs503(t *testing.T) {
	for name, want := range map[string]struct {
		status int
		after  time.Duration
		change func(*status.PublicConfig, *stub)
	}{
		"token":    {http.StatusGatewayTimeout, 15 * time.Second, func(c *status.PublicConfig, s *stub) { c.Tokens = slowTokens{slow{s, make(chan struct{})}} }},
		"database": {http.StatusServiceUnavailable, 2200 * time.Millisecond, func(c *status.PublicConfig, s *stub) { c.Resources = slow{s, make(chan struct{})} }},
	} {
		t.Run(name, func(t *testing.T) {
			mtlstest.PKI(t) // is everybody's, not the bubble's
			synctest.Test(t, func(t *testing.T) {
				public, state := rebuilt(t, want.change)
				began := time.Now()
				w, _ := try(public, state, http.MethodGet, anyPayment, goodHeader())
				require.Equal(t, want.status, w.Code)
				require.Equal(t, want.after, time.Since(began))
				require.Contains(t, w.Body.String(), `"requestDateTime"`)
			})
		})
	}
}

func TestSoManyQueriesAreUnderWayAtATime(t *testing.T) {
	for limit, limits := range map[string]status.Limits{
		"client-in-flight": {ClientInFlight: 3}, "in-flight": {InFlight: 3},
	} {
		shed := &shedding{}
		mtlstest.PKI(t)
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			public, state := rebuilt(t, func(c *status.PublicConfig, s *stub) {
				c.Resources, c.Limits, c.PublicObserver = slow{s, release}, limits, shed
			})
			var asking sync.WaitGroup
			for range 3 {
				asking.Go(func() {
					w, _ := try(public, state, http.MethodGet, anyPayment, goodHeader())
					require.Equal(t, http.StatusOK, w.Code)
				})
			}
			synctest.Wait()
			w, _ := try(public, state, http.MethodGet, anyPayment, goodHeader())
			require.Equal(t, 529, w.Code)
			require.NotEmpty(t, w.Header().Get("Retry-After"))
			go close(release)
			asking.Wait()
			w, _ = try(public, state, http.MethodGet, anyPayment, goodHeader())
			require.Equal(t, http.StatusOK, w.Code, "there is room again")
		})
		require.Equal(t, []string{limit}, shed.limits)
	}
}

// shedding notes refusals by a limit.
type shedding struct{ limits []string }

func (s *shedding) Shed(limit string)          { s.limits = append(s.limits, limit) }
func (*shedding) Polled(ofb.Kind, int, string) {}
func (*shedding) Unrecorded(int)               {}

func TestTheCeilingOfAllClientsHolds(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		public, state := rebuilt(t, func(c *status.PublicConfig, _ *stub) { c.Limits = status.Limits{Rate: 300, ClientRate: 10_000} })
		statuses := map[int]int{}
		ask := func(n int) {
			for range n {
				w, _ := try(public, state, http.MethodGet, "/nowhere", goodHeader())
				statuses[w.Code]++
			}
		}
		ask(400)
		require.Equal(t, map[int]int{404: 300, 529: 100}, statuses)
		<-time.After(time.Second) // virtual
		ask(400)
		require.Equal(t, map[int]int{404: 600, 529: 200}, statuses)
	})
}

// bomb panics where the database would be asked.
type bomb struct{ *stub }

func (bomb) Read(context.Context, notice.Question) (notice.PollReading, error) {
	panic("CPF 99999999999")
}

func TestAPanicIsA500WithARecordAndWithoutItsReason(t *testing.T) {
	var kept *stub
	public, state := rebuilt(t, func(c *status.PublicConfig, s *stub) { c.Resources, kept = bomb{s}, s })
	w, _ := try(public, state, http.MethodGet, anyPayment, goodHeader())
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.NotContains(t, w.Body.String(), "99999999999")
	require.Equal(t, 1, kept.polls)
}

func TestTheServerWaitsForNobody(t *testing.T) {
	public, _, _ := stubbed(t)
	server := public.Server(&tls.Config{MinVersion: tls.VersionTLS12})
	require.Equal(t, 10*time.Second, server.ReadHeaderTimeout) // of the handshake as well (cases H4)
	require.Greater(t, server.ReadTimeout, 15*time.Second, "or it would cut off queries that are being answered")
	require.Positive(t, server.WriteTimeout)
	require.Positive(t, server.IdleTimeout)
	require.True(t, server.Protocols.HTTP1() && !server.Protocols.HTTP2())
}

// rotating changes its key after the first answer.
type rotating struct {
	mu   sync.Mutex
	keys []*jws.AnswerSigner
}

func (r *rotating) Active() (*jws.AnswerSigner, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.keys[0]
	if len(r.keys) > 1 {
		r.keys = r.keys[1:]
	}
	return now, nil
}

// TestEachAnswerIsSignedWithTheKeyOfTheMoment is what case J5 asks of this package.
func TestEachAnswerIsSignedWithTheKeyOfTheMoment(t *testing.T) {
	d := openDesk(t, func(c *status.PublicConfig, _ *spool.Config) {
		old, err := c.Keys.Active()
		require.NoError(t, err)
		fresh, err := jws.NewSigner(sealKey(t), "seal-2")
		require.NoError(t, err)
		c.Keys = &rotating{keys: []*jws.AnswerSigner{old, fresh}}
	}).both()
	id, document := sample(ofb.PixPayment, "v4", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, document)
	path := "/open-banking/payments/v4/pix/payments/" + id
	d.open(d.alfa.get(path))
	require.Equal(t, "seal-2", d.header(d.alfa.get(path))["kid"])
	entries := d.entries()
	require.Equal(t, []string{sealKID, "seal-2"}, []string{entries[0].facts.KID, entries[1].facts.KID})
}

// TestNoTwoAnswersHaveTheSameJTI verifies many answers, asked for at once, by hand (case J4 in small).
func TestNoTwoAnswersHaveTheSameJTI(t *testing.T) {
	d := openDesk(t).both()
	id, document := sample(ofb.Enrollment, "v2", ofb.Authorised, 1, openapitest.Complete())
	d.accept(clientAlfa, ofb.Enrollment, "v2", 1, document)
	path := "/open-banking/enrollments/v2/enrollments/" + ofb.EscapeID(id)
	var mu sync.Mutex
	seen := map[string]bool{}
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for range 50 {
				s := d.open(d.alfa.get(path))
				mu.Lock()
				seen[s.JTI] = true
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	require.Len(t, seen, 400)
	for _, e := range d.entries() {
		require.True(t, seen[e.facts.JTI])
	}
}
