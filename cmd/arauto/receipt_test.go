package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/timing"
)

// account is what `arauto audit breaches` says of all there is: the account, and each breach by its resource.
func (h *house) account() (timing.TimingSummary, map[string]timing.Timing) {
	h.t.Helper()
	got := call(h.t, time.Minute, nil, "audit", "breaches", "--database-url", h.Database, "--format", "json",
		"--from", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), "--to", time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	require.Zero(h.t, got.code, got.errors)
	breaches := map[string]timing.Timing{}
	var total timing.TimingSummary
	for _, text := range strings.Split(strings.TrimSpace(got.out), "\n") {
		var line struct {
			Breach *timing.Timing `json:"breach"`
			Report *struct {
				Total struct {
					Late     int64                  `json:"late"`
					LateOurs int64                  `json:"lateOurs"`
					LateBy   map[notice.Delay]int64 `json:"lateBy"`
				} `json:"total"`
			} `json:"report"`
		}
		require.NoError(h.t, json.Unmarshal([]byte(text), &line), text)
		if line.Breach != nil {
			breaches[line.Breach.ResourceID] = *line.Breach
			continue
		}
		total.Late, total.LateOurs, total.LateBy = line.Report.Total.Late, line.Report.Total.LateOurs, line.Report.Total.LateBy
	}
	return total, breaches
}

// TestWhatWeRefusedIsNotCalledTheCoresFault is F24: the database is away for more than 5 s, the gateway is restarted
// meanwhile, and the core is answered 503 before and after that. What it hands in again is judged from its first call.
func TestWhatWeRefusedIsNotCalledTheCoresFault(t *testing.T) {
	t.Parallel()
	h := open(t, stage.Options{Durable: true, Settings: unhurried})
	require.NoError(t, h.Server.Kill())
	killed, refusals := time.Now(), 0
	first := payment("good", "first", 1, ofb.PDNG)
	for ; time.Since(killed) < 4*time.Second; refusals++ {
		h.refusedChange(first)
	}
	require.NoError(t, h.replica.Stop(), "it drains without a database")
	r, err := h.Launch(t.Context())
	require.NoError(t, err)
	h.replica = r
	h.talkTo(r)
	second := payment("good", "second", 1, ofb.PDNG)
	h.refusedChange(second)
	pause(t, time.Until(killed.Add(5*time.Second)))
	require.NoError(t, h.Server.Restart(t.Context()))
	h.untilReady()

	late := payment("good", "late", 1, ofb.PDNG)
	late.OccurredAt = time.Now().Add(-3 * time.Minute)
	for _, c := range []stage.Change{first, second, late} {
		a, err := h.core.Load().Change(t.Context(), c)
		require.NoError(t, h.ledger.Note(c, a, err))
		require.NoError(t, err)
		require.Equal(t, "applied", a.Outcome)
	}
	var total timing.TimingSummary
	var breaches map[string]timing.Timing
	require.Eventually(t, func() bool { // the traces are recorded within a second of the database's return
		total, breaches = h.account()
		return total.LateBy[notice.DelayUnavailable] == 2
	}, patience, 200*time.Millisecond, "%+v", &total)
	require.EqualValues(t, 3, total.Late)
	require.EqualValues(t, 2, total.LateOurs)
	require.Equal(t, map[notice.Delay]int64{notice.DelayUnavailable: 2, notice.DelayCore: 1}, total.LateBy, "one was told late by the core, three minutes after it happened")
	for id, c := range map[string]stage.Change{"first": first, "second": second} {
		p := breaches[idOf(c)]
		require.Equal(t, notice.DelayUnavailable, p.First.Cause, id)
		require.Equal(t, history.RefusedUnavailable, p.RefusedFor, id)
		require.WithinRange(t, p.FirstAt.Time, c.OccurredAt.Add(-5*time.Second), c.OccurredAt.Add(1500*time.Millisecond), id)
	}
	require.EqualValues(t, refusals, breaches[idOf(first)].Refusals)
	require.Equal(t, notice.DelayCore, breaches[idOf(late)].First.Cause)
	h.reconcile()
}

// refusedChange hands in a change that must be answered 503.
func (h *house) refusedChange(c stage.Change) {
	h.t.Helper()
	a, err := h.core.Load().Change(h.t.Context(), c)
	require.NoError(h.t, h.ledger.Note(c, a, err))
	var refusal *stage.Refusal
	require.ErrorAs(h.t, err, &refusal)
	require.Equal(h.t, http.StatusServiceUnavailable, refusal.Status)
}

// idOf is the id of a payment.
func idOf(c stage.Change) string {
	var data struct {
		ID string `json:"paymentId"`
	}
	_ = json.Unmarshal(c.Data, &data) // it was written by us
	return data.ID
}
