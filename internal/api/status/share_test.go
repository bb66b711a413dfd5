package status_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/notice"
)

// stateOf is a connection with the certificate of a participant.
func stateOf(t *testing.T, is certs.Participant) *tls.ConnectionState {
	t.Helper()
	leaf := mtlstest.Leaf(t, mtlstest.PKI(t).InitiatorBRCAC(is))
	return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf.Certificate}}
}

// softwares are connections of so many softwares of one organisation that nobody else belongs to.
func softwares(t *testing.T, n int) []*tls.ConnectionState {
	t.Helper()
	is := certs.DefaultAlfa
	is.Organisation.ID = uuid.NewString()
	out := make([]*tls.ConnectionState, n)
	for i := range out {
		is.SoftwareID = uuid.NewString()
		out[i] = stateOf(t, is)
	}
	return out
}

// noToken is a header without a token.
func noToken() http.Header { return http.Header{"X-Fapi-Interaction-Id": {uuid.NewString()}} }

// TestTheQuietAreServedHoweverManyAskAsFastAsTheyMay: organisations with several softwares each ask without a token, far
// beyond the limit of all; one more that stays within its share is served each time, and no more than the limit is served.
func TestTheQuietAreServedHoweverManyAskAsFastAsTheyMay(t *testing.T) {
	const seconds, limit, each = 4, 300, 2
	quiet := softwares(t, 1)[0]
	var all []*tls.ConnectionState
	for range 5 {
		all = append(all, softwares(t, each)...)
	}
	for _, greedy := range []int{1, 2, 5} {
		busy := all[:greedy*each]
		synctest.Test(t, func(t *testing.T) {
			public, _ := rebuilt(t, func(c *status.PublicConfig, _ *stub) { c.Limits = status.Limits{Rate: limit} })
			served := 0
			ask := func(state *tls.ConnectionState) int {
				w, _ := try(public, state, http.MethodGet, anyPayment, noToken())
				if w.Code != 529 {
					served++
				}
				return w.Code
			}
			for tick := range seconds * 50 {
				for _, state := range busy {
					for range 6 { // 300/s of each software
						ask(state)
					}
				}
				if tick%2 == 0 { // 25/s
					require.Equal(t, http.StatusUnauthorized, ask(quiet), "%d greedy, tick %d", greedy, tick)
				}
				<-time.After(20 * time.Millisecond) // virtual
			}
			require.LessOrEqual(t, served, (seconds+2)*limit, "the limit of all holds over time")
			require.GreaterOrEqual(t, served, seconds*limit*9/10, "what the quiet leave is used")
		})
	}
}

// TestAnOrganisationThatHoldsEverythingUnderWayLeavesOthersTheirShare is the same about queries at a time.
func TestAnOrganisationThatHoldsEverythingUnderWayLeavesOthersTheirShare(t *testing.T) {
	mtlstest.PKI(t)
	quiet := softwares(t, 1)[0]
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		public, state := rebuilt(t, func(c *status.PublicConfig, s *stub) {
			c.Resources, c.Limits = slow{s, release}, status.Limits{InFlight: 4}
		})
		var asking sync.WaitGroup
		for range 4 {
			asking.Go(func() {
				w, _ := try(public, state, http.MethodGet, anyPayment, goodHeader())
				require.Equal(t, http.StatusOK, w.Code)
			})
		}
		synctest.Wait()
		w, _ := try(public, quiet, http.MethodGet, anyPayment, goodHeader())
		require.Equal(t, http.StatusUnauthorized, w.Code, "the token is another's: it was looked at")
		w, _ = try(public, state, http.MethodGet, anyPayment, goodHeader())
		require.Equal(t, 529, w.Code)
		close(release)
		asking.Wait()
	})
}

// kept are the records that a history was given.
type kept struct {
	*stub
	mu     sync.Mutex
	polls  []notice.Poll
	broken bool
}

func (k *kept) Record(_ context.Context, p notice.Poll) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken {
		return errors.New("no history")
	}
	k.polls = append(k.polls, p)
	return nil
}

// of counts the records of a certificate, and the refusals that they stand for.
func (k *kept) of(state *tls.ConnectionState) (records, refusals int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	serial := state.PeerCertificates[0].SerialNumber.Text(16)
	for _, p := range k.polls {
		if p.Facts.Certificate == serial {
			records++
			refusals += 1 + p.Facts.Suppressed
		}
	}
	return records, refusals
}

// TestRefusalsWithoutATokenAreCountedAndNotRecordedOneByOne: a certificate is enough to send them, and their records are kept
// for years.
func TestRefusalsWithoutATokenAreCountedAndNotRecordedOneByOne(t *testing.T) {
	mtlstest.PKI(t)
	other := softwares(t, 1)[0]
	synctest.Test(t, func(t *testing.T) {
		var history *kept
		public, state := rebuilt(t, func(c *status.PublicConfig, s *stub) { history = &kept{stub: s}; c.Polls = history })
		storm := func(n int) {
			for range n {
				w, _ := try(public, state, http.MethodGet, anyPayment, noToken())
				require.Equal(t, http.StatusUnauthorized, w.Code)
			}
		}
		requireOf := func(who *tls.ConnectionState, records, refusals int64) {
			t.Helper()
			haveRecords, haveRefusals := history.of(who)
			require.Equal(t, [2]int64{records, refusals}, [2]int64{haveRecords, haveRefusals})
		}
		storm(300)
		requireOf(state, 10, 10)
		w, _ := try(public, other, http.MethodGet, anyPayment, noToken())
		require.Equal(t, http.StatusUnauthorized, w.Code)
		requireOf(other, 1, 1)
		w, _ = try(public, state, http.MethodGet, "/nowhere", noToken())
		require.Equal(t, http.StatusNotFound, w.Code)
		requireOf(state, 11, 11) // another code has its own count
		require.NoError(t, public.RecordRefused(t.Context(), false))
		requireOf(state, 11, 11) // the minute is not over

		<-time.After(time.Minute) // virtual
		storm(1)
		requireOf(state, 12, 302) // the next refusal has the number of those counted
		storm(100)
		<-time.After(time.Minute)
		history.broken = true
		require.Error(t, public.RecordRefused(t.Context(), false))
		history.broken = false
		require.NoError(t, public.RecordRefused(t.Context(), false))
		requireOf(state, 22, 402) // no next one came: the last of those counted is recorded, with the number of the others
		require.NoError(t, public.RecordRefused(t.Context(), true))
		requireOf(state, 22, 402)

		storm(15)
		require.NoError(t, public.RecordRefused(t.Context(), true)) // at the end
		requireOf(state, 33, 417)

		for range 30 { // with a token that was accepted, each is recorded
			w, _ := try(public, state, http.MethodGet, "/open-banking/payments/v4/pix/payments/bad_id", goodHeader())
			require.Equal(t, http.StatusBadRequest, w.Code)
		}
		requireOf(state, 63, 447)
	})
}

// TestTheLastRefusalsByALimitAreCountedToo: nobody asks after them.
func TestTheLastRefusalsByALimitAreCountedToo(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		var history *kept
		public, state := rebuilt(t, func(c *status.PublicConfig, s *stub) {
			history = &kept{stub: s}
			c.Polls, c.Limits = history, status.Limits{ClientRate: 1}
		})
		for range 50 {
			_, _ = try(public, state, http.MethodGet, anyPayment, goodHeader())
		}
		records, refusals := history.of(state)
		require.Equal(t, [2]int64{2, 2}, [2]int64{records, refusals}, "one answer and one refusal")
		<-time.After(time.Second)
		require.NoError(t, public.RecordRefused(t.Context(), false))
		records, refusals = history.of(state)
		require.Equal(t, [2]int64{3, 50}, [2]int64{records, refusals})
	})
}

// TestRefusedCallsOfTheExtensionAreCountedApart: what a record says of suppressed status queries has no refused preflight in it.
func TestRefusedCallsOfTheExtensionAreCountedApart(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		var k *kept
		public, state := rebuilt(t, func(c *status.PublicConfig, s *stub) {
			k = &kept{stub: s}
			c.Polls, c.Limits, c.Extension = k, status.Limits{ClientRate: 4}, &status.Extension{Preflights: &acts{}}
		})
		for i := range 5 { // the first is answered, the second refused and recorded, the others counted; the last is beyond the client's rate
			w, _ := try(public, state, http.MethodPost, "/arauto/v1/preflight", goodHeader())
			require.Equal(t, []int{200, 529, 529, 529, 529}[i], w.Code)
		}
		w, _ := try(public, state, http.MethodGet, anyPayment, goodHeader())
		require.Equal(t, 529, w.Code)
		require.NoError(t, public.RecordRefused(t.Context(), true))
		got := map[string]int64{}
		for _, p := range k.polls {
			if p.Facts.HTTPStatus == 529 {
				got[p.Facts.Operation] += 1 + p.Facts.Suppressed
			}
		}
		require.Equal(t, map[string]int64{"extension-preflight": 4, "": 1}, got)
	})
}
