package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
)

// TestFiveInitiatorsThatHangHoldUpNobodyElse is found.md F12 with real sockets: ten initiators of which five accept each
// request and never answer, half of the traffic theirs, through one stream and by single changes, with 256 slots. Within
// 7 s those that hang want all slots. The other five must not notice, and intake must go on. The bounds tell the fault,
// which is many seconds for most, from a machine that is busy.
func TestFiveInitiatorsThatHangHoldUpNobodyElse(t *testing.T) {
	const rate, during = 80, 12 * time.Second
	h := open(t, stage.Options{Settings: append([]string{"ARAUTO_DISPATCH_SLOTS=256"}, unhurried...)})
	h.slow.Answer("/dead-", standin.Answer{Delay: time.Hour})
	var clients []string
	for n := range 5 {
		for name, at := range map[string]*standin.Initiator{"well-": h.good, "dead-": h.slow} {
			client := fmt.Sprint(name, n)
			require.NoError(t, h.core.Load().Register(t.Context(), client, stage.Registration{
				OrganisationID: certs.DefaultAlfa.Organisation.ID, SoftwareID: certs.DefaultAlfa.SoftwareID, Name: client, WebhookURIs: []string{at.BaseURI("/" + client)},
			}))
			clients = append(clients, client)
		}
	}
	slices.Sort(clients)
	for n, client := range clients { // each answers once, so that it is known; a day like any other
		h.slow.Answer(fmt.Sprintf("first-%03d", n), standin.Accept)
		_, err := h.core.Load().Change(t.Context(), payment(client, fmt.Sprintf("first-%03d", n), 1, ofb.ACSC))
		require.NoError(t, err)
	}

	var mu sync.Mutex
	sent := map[string]time.Time{}
	lines := make(chan []byte)
	answered, refused := 0, 0
	var both sync.WaitGroup
	both.Go(func() {
		err := h.core.Load().Stream(context.WithoutCancel(t.Context()), lines, func(a stage.Accepted) {
			mu.Lock()
			defer mu.Unlock()
			if answered++; a.Status != http.StatusOK {
				refused++
			}
		})
		if err != nil {
			t.Errorf("the stream broke: %v", err)
		}
	})
	began := time.Now()
	for n := range rate * int(during/time.Second) {
		client, id := clients[n%len(clients)], fmt.Sprintf("iso-%05d", n)
		change := payment(client, id, 1, ofb.ACSC)
		if strings.HasPrefix(client, "well") {
			mu.Lock()
			sent[id] = time.Now()
			mu.Unlock()
		}
		if n%8 == 7 { // a single change beside the stream
			both.Go(func() {
				_, err := h.core.Load().Change(t.Context(), change)
				if err != nil {
					t.Errorf("a single change was refused: %v", err)
				}
			})
		} else {
			line, err := json.Marshal(change)
			require.NoError(t, err)
			lines <- append(line, '\n')
		}
		<-time.After(time.Until(began.Add(time.Duration(n+1) * time.Second / rate)))
	}
	took := time.Since(began)
	close(lines)
	both.Wait()

	got := map[string]time.Time{}
	require.Eventually(t, func() bool {
		for _, p := range h.good.Requests() {
			got[p.Target[strings.LastIndexByte(p.Target, '/')+1:]] = p.At
		}
		for id := range sent {
			if got[id].IsZero() {
				return false
			}
		}
		return true
	}, patience, 100*time.Millisecond, "those that answer are told")
	var waits stage.Waits
	for id, at := range sent {
		waits = append(waits, got[id].Sub(at))
	}
	slices.Sort(waits)
	late := waits.Over(1500 * time.Millisecond)
	t.Logf("handed in within %s, %d answered in the stream; those that answer, from sent to received: %s, %d of %d over 1.5 s", took, answered, waits, late, len(waits))
	require.Zero(t, refused, "lines of the stream")
	require.Less(t, took, 2*during, "the stream was held up")
	require.Less(t, waits[len(waits)/2], time.Second)
	require.Less(t, late, len(waits)/10)

	figures, err := h.replica.Metrics(t.Context())
	require.NoError(t, err)
	require.NotRegexp(t, `(?m)^arauto_changes_refused_total\{why="(behind|busy)"\} [1-9]`, string(bytes.TrimSpace([]byte(figures))))
}
