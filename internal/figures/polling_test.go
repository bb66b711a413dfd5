package figures

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// watch feeds facts of one resource, at seconds from a beginning.
func watch(p *Polling, client notice.ClientID, id string, facts ...PollingFact) {
	for _, f := range facts {
		f.Client, f.Key = client, notice.Key{Kind: ofb.PixPayment, ID: id}
		p.Add(f)
	}
}

var zero = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func at(seconds float64, what PollingWhat, status ofb.Status) PollingFact {
	return PollingFact{At: zero.Add(time.Duration(seconds * float64(time.Second))), What: what, Status: status}
}

func TestEachQueryIsInOneClass(t *testing.T) {
	p := &Polling{}
	watch(p, "alfa", "p1",
		at(0, PollingChange, ofb.RCVD), at(1, PollingQuery, ofb.RCVD), at(3, PollingQuery, ofb.RCVD), // before
		at(4, PollingChange, ofb.PDNG), at(4.1, PollingPush, ""),
		at(5, PollingQuery, ofb.PDNG),   // the push's own
		at(100, PollingQuery, ofb.PDNG), // later
		at(200, PollingChange, ofb.ACSC), at(200.1, PollingPush, ""),
		at(201, PollingQuery, ofb.ACSC), at(202, PollingQuery, ofb.ACSC)) // its own, and one that could not tell anything new
	r := p.Report()
	require.Len(t, r.Clients, 1)
	c := r.Clients[0]
	require.Equal(t, []int64{1, 1, 2, 6}, []int64{c.Resources, c.Pushed, c.Pushes, c.Queries})
	require.Equal(t, []int64{2, 2, 1, 1}, []int64{c.Before, c.Own, c.Later, c.Final})
	require.Nil(t, c.Cadence, "two queries tell no cadence")
	require.Nil(t, c.Avoided, "what is not known is not guessed")
	require.Nil(t, c.AvoidedAtOthers)
	require.EqualValues(t, 6, r.Told.Queries)
	require.Zero(t, r.Untold.Queries)
}

func TestWhatPushesSavedIsMeasuredAtTheClientsOwnCadence(t *testing.T) {
	p := &Polling{}
	for n := range 3 { // alfa asks each 2 s while no push has come, 10 times each
		id := string(rune('a' + n))
		watch(p, "alfa", id, at(0, PollingChange, ofb.RCVD))
		for i := range 10 {
			watch(p, "alfa", id, at(float64(2*i), PollingQuery, ofb.RCVD))
		}
	}
	watch(p, "alfa", "told", at(0, PollingChange, ofb.RCVD), at(100, PollingChange, ofb.ACSC), at(100.2, PollingPush, ""), at(101, PollingQuery, ofb.ACSC))
	watch(p, "beta", "x", at(0, PollingChange, ofb.RCVD))
	for i := range 30 {
		watch(p, "beta", "x", at(float64(i), PollingQuery, ofb.RCVD))
	}
	r := p.Report()
	alfa, beta := r.Clients[0], r.Clients[1]
	require.EqualValues(t, 2000, *alfa.Cadence)
	require.EqualValues(t, 10-1, *alfa.Avoided, "50 queries would fit, but it asks 10 times for a resource, and asked once for this one")
	require.EqualValues(t, 1000, *r.UntoldCadence)
	require.EqualValues(t, 30-1, *alfa.AvoidedAtOthers, "100 queries would fit, but the others ask 30 times")
	require.EqualValues(t, 1000, *beta.Cadence)
	require.Nil(t, beta.Avoided, "nothing was pushed to it")
}

// TestOneClientThatAsksALotForOneResourceSaysLittleOfOthers: what was never asked for counts as not asked for.
func TestOneClientThatAsksALotForOneResourceSaysLittleOfOthers(t *testing.T) {
	p := &Polling{}
	for n := range 1000 {
		id := fmt.Sprintf("p-%04d", n)
		watch(p, "asks", id, at(0, PollingChange, ofb.RCVD), at(5, PollingChange, ofb.ACSC))
		if n == 0 {
			for i := range 21 {
				watch(p, "asks", id, at(10+float64(i), PollingQuery, ofb.RCVD))
			}
		}
	}
	for n := range 1000 {
		watch(p, "told", fmt.Sprintf("c-%04d", n), at(0, PollingChange, ofb.RCVD), at(3600, PollingChange, ofb.ACSC), at(3600.1, PollingPush, ""))
	}
	r := p.Report()
	require.EqualValues(t, 1000, *r.UntoldCadence)
	require.EqualValues(t, 21, *r.Clients[1].AvoidedAtOthers, "0.021 queries for each of 1,000 resources, and not 3,600,000")
	require.Nil(t, r.Clients[1].Avoided, "it never asked without a push")
}

// TestWithoutAResourceWithoutAPushNothingIsEstimated: a cadence alone does not say when a client stops asking.
func TestWithoutAResourceWithoutAPushNothingIsEstimated(t *testing.T) {
	p := &Polling{}
	for n := range 3 {
		id := string(rune('a' + n))
		for i := range 10 {
			watch(p, "alfa", id, at(float64(2*i), PollingQuery, ofb.RCVD))
		}
		watch(p, "alfa", id, at(20, PollingChange, ofb.ACSC), at(20.1, PollingPush, ""))
	}
	r := p.Report()
	require.EqualValues(t, 2000, *r.Clients[0].Cadence)
	require.Nil(t, r.Clients[0].Avoided)
}

func TestALifeAndAGapAreBounded(t *testing.T) {
	p := &Polling{}
	watch(p, "alfa", "year", at(0, PollingChange, ofb.RCVD), at(365*86400, PollingChange, ofb.ACSC), at(365*86400+1, PollingPush, ""))
	p.close()
	often := &PollingSums{gaps: leastGaps, gapped: leastGaps * time.Second, Resources: 1, asked: 10_000}
	avoided, known := p.clients["alfa"].Avoided(often)
	require.True(t, known)
	require.EqualValues(t, 3600, avoided)
	q := &Polling{}
	watch(q, "alfa", "p", at(0, PollingQuery, ofb.RCVD), at(4000, PollingQuery, ofb.RCVD))
	q.close()
	require.Zero(t, q.clients["alfa"].gaps, "more than an hour apart is no cadence")
}
