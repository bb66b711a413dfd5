package zoo_test

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/keystock"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/zoo"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/webhook"
)

const (
	// requireZoo names the receivers that must be there, separated by spaces: their absence fails the test, and they are
	// fetched from Debian where they are not installed. "all" names every receiver.
	requireZoo = "ARAUTO_REQUIRE_ZOO"
	page       = "../../../docs/testing.md"
	idleLimit  = 2 * time.Second // of every receiver
)

var update = flag.Bool("update", false, "write the table in docs/testing.md anew; review its diff")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// find finds a receiver's program. The error is for those that are not required.
func find(t *testing.T, r zoo.Receiver) (zoo.Program, error) {
	t.Helper()
	wanted := strings.Fields(os.Getenv(requireZoo))
	required := slices.Contains(wanted, "all") || slices.Contains(wanted, string(r))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	p, err := zoo.Find(ctx, r, required)
	if errors.Is(err, zoo.ErrMissing) && !required {
		return p, fmt.Errorf("%w; %s=%q fetches it where apt-get can", err, requireZoo, r)
	}
	require.NoError(t, err)
	return p, nil
}

// program finds a receiver's program, or skips the test with a clear word.
func program(t *testing.T, r zoo.Receiver) zoo.Program {
	t.Helper()
	p, err := find(t, r)
	if err != nil {
		t.Skip(err)
	}
	return p
}

// start runs a receiver that accepts client certificates of the authorities given.
func start(t *testing.T, p zoo.Program, backend *zoo.Backend, authorities ...*certs.CA) *zoo.Running {
	t.Helper()
	files := mtlstest.Write(t, mtlstest.Leaf(t, mtlstest.PKI(t).Server(certs.DefaultAlfa.Organisation)))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := p.Start(ctx, zoo.Options{
		Dir: t.TempDir(), Certificate: files.Cert, Key: files.Key, ClientCAs: mtlstest.AnchorsFile(t, authorities...),
		KeepAlive: idleLimit, Backend: backend.Addr,
	})
	require.NoError(t, err)
	t.Cleanup(r.Stop)
	return r
}

func startBackend(t *testing.T) *zoo.Backend {
	t.Helper()
	b, err := zoo.StartBackend(t.Context())
	require.NoError(t, err)
	t.Cleanup(b.Stop)
	return b
}

// closings tells when connections were closed.
type closings struct {
	more chan struct{} // has an element when there is a new one
}

func newClosings() *closings { return &closings{more: make(chan struct{}, 1)} }

func (c *closings) Attempted(notice.ClientID, *notice.Result) {}
func (c *closings) Dialled(error)                             {}
func (c *closings) Connections(int)                           {}
func (c *closings) Closed(webhook.CloseReason) {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// await returns when a connection was closed.
func (c *closings) await(t *testing.T) {
	t.Helper()
	select {
	case <-c.more:
	case <-time.After(time.Minute):
		t.Error("the idle connection stays open")
	}
}

func newSender(t *testing.T, o webhook.Observer) *webhook.Sender {
	t.Helper()
	s := webhook.New(webhook.Config{
		Identity: mtlstest.HolderClient(t), Roots: mtlstest.Roots(t), Observer: o, Version: "zoo",
		Guard:   webhook.NewGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}, nil),
		Timeout: 15 * time.Second, Lease: 20 * time.Second,
	})
	t.Cleanup(s.Close)
	return s
}

// send makes one attempt with an interaction id of its own.
func send(t *testing.T, s *webhook.Sender, base string) notice.Result {
	t.Helper()
	a := notice.Attempt{
		Notification: notice.ID{1}, Token: notice.ID{2}, Client: "client-alfa", Kind: ofb.PixPayment, ResourceID: "pay-1",
		APIVersion: "v5", EventAt: time.Now(), Number: 1, BaseURI: base, ClaimedAt: time.Now(),
	}
	_, _ = rand.Read(a.Interaction[:])
	r, err := s.Send(t.Context(), a)
	if err != nil {
		t.Errorf("no attempt was made: %v", err)
	}
	return r
}

// TestEveryReceiverOfTheZooIsToldAsTheTableSays sends two attempts to every receiver in every behaviour and compares the
// results with the table in docs/testing.md.
func TestEveryReceiverOfTheZooIsToldAsTheTableSays(t *testing.T) {
	backend := startBackend(t)
	other, err := certs.New(certs.Options{SharedLeafKey: true, NewKey: keystock.New})
	require.NoError(t, err)
	var mu sync.Mutex
	rows := map[string]string{}
	t.Run("receivers", func(t *testing.T) {
		for _, name := range zoo.Receivers() {
			t.Run(string(name), func(t *testing.T) {
				t.Parallel()
				p := program(t, name)
				note := func(behaviour string, text string) {
					mu.Lock()
					defer mu.Unlock()
					rows[string(name)+" "+behaviour] = fmt.Sprintf("| %s | %s | %s |", name, behaviour, text)
				}
				trusting := start(t, p, backend, mtlstest.PKI(t).ClientCA, mtlstest.PKI(t).Root)
				for _, b := range name.Behaviours() {
					note(string(b), twice(t, trusting.Base(b)))
				}
				refusing := start(t, p, backend, other.ClientCA, other.Root)
				note("refuses our certificate", twice(t, refusing.Base(zoo.Good)))
				if t.Failed() {
					t.Logf("%s said: %s%s", name, trusting.Log(), refusing.Log())
				}
			})
		}
	})
	compare(t, rows)
}

// twice sends two attempts and tells the result of the first, and whether the second used its connection. The time between
// them suffices for the rest of an answer (250 ms at most), and for a connection that ends without announcement.
func twice(t *testing.T, base string) string {
	t.Helper()
	s := newSender(t, nil)
	first := send(t, s, base)
	apart := time.NewTimer(400 * time.Millisecond)
	<-apart.C
	second := send(t, s, base)
	require.Equal(t, first.Outcome, second.Outcome, "%s: %s, then %s", base, first.Detail, second.Detail)
	connection := "new"
	if second.Reused {
		connection = "kept"
	}
	detail := first.Detail
	for _, how := range []string{"the receiver closed the connection", "the receiver reset the connection"} {
		detail = strings.ReplaceAll(detail, how, "the receiver closed or reset the connection") // which, is a matter of chance
	}
	if detail == "" {
		detail = "–"
	}
	return fmt.Sprintf("`%s` | %s | %s", first.Outcome, detail, connection)
}

// compare holds the rows against those of the page, or writes them there. Receivers that are not here keep their rows.
func compare(t *testing.T, rows map[string]string) {
	t.Helper()
	const begin, end = "<!-- zoo -->\n", "<!-- end of zoo -->"
	content, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(content), begin)
	require.True(t, ok, "%s has no mark %q", page, begin)
	table, after, ok := strings.Cut(rest, end)
	require.True(t, ok, "%s has no mark %q", page, end)
	written := map[string]string{}
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 3 {
			written[strings.TrimSpace(cells[1])+" "+strings.TrimSpace(cells[2])] = strings.TrimSpace(line)
		}
	}
	if !*update {
		for key, row := range rows {
			require.Equal(t, written[key], row, "-update writes the table of %s anew", page)
		}
		return
	}
	var text strings.Builder
	text.WriteString("| receiver | behaviour | outcome | detail | second attempt's connection |\n|---|---|---|---|---|\n")
	for _, name := range zoo.Receivers() {
		for _, b := range append(name.Behaviours(), "refuses our certificate") {
			key := string(name) + " " + string(b)
			row, ok := rows[key]
			if !ok {
				row = written[key]
			}
			text.WriteString(row + "\n")
		}
	}
	require.NoError(t, os.WriteFile(page, []byte(before+begin+text.String()+end+after), 0o600))
}

// A receiver that ends its connections after each answer without an announcement looks like a good one at first: a request
// that is sent at once meets the end. After two such ends the sender keeps no connection to it.
func TestAReceiverThatEndsEachConnectionSilentlyCostsTwoAttemptsAtMost(t *testing.T) {
	backend := startBackend(t)
	for _, name := range []zoo.Receiver{zoo.Node, zoo.Python} {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			p := program(t, name)
			r := start(t, p, backend, mtlstest.PKI(t).ClientCA, mtlstest.PKI(t).Root)
			s := newSender(t, nil)
			burnt := 0
			for range 30 {
				if send(t, s, r.Base(zoo.SilentClose)).Outcome != notice.OutcomeDelivered {
					burnt++
				}
			}
			t.Logf("%d of 30 attempts burnt", burnt)
			require.LessOrEqual(t, burnt, 2)
		})
	}
}

// TestNoAttemptIsBurntAroundAReceiversIdleLimit sends attempts at distances around the time after which a receiver ends
// idle connections, 100 ms of network away from it. The receiver is well all the time: every attempt must be delivered.
func TestNoAttemptIsBurntAroundAReceiversIdleLimit(t *testing.T) {
	backend := startBackend(t)
	gaps := []time.Duration{
		idleLimit - 300*time.Millisecond, idleLimit - 100*time.Millisecond, idleLimit - 60*time.Millisecond,
		idleLimit - 20*time.Millisecond, idleLimit, idleLimit + 20*time.Millisecond, idleLimit + 100*time.Millisecond,
		idleLimit + 900*time.Millisecond, idleLimit + 980*time.Millisecond, // lighttpd counts whole seconds
	}
	var all sync.WaitGroup // everything at once: it is mostly waiting
	for _, name := range zoo.Receivers() {
		p, err := find(t, name)
		if err != nil {
			t.Logf("left out: %v", err)
			continue
		}
		r := start(t, p, backend, mtlstest.PKI(t).ClientCA, mtlstest.PKI(t).Root)
		relay, err := zoo.StartRelay(t.Context(), "127.0.0.1:0", net.JoinHostPort("127.0.0.1", fmt.Sprint(r.Port)), 50*time.Millisecond)
		require.NoError(t, err)
		t.Cleanup(relay.Stop)
		base := "https://" + net.JoinHostPort("localhost", fmt.Sprint(relay.Port())) + "/good"
		for _, gap := range gaps {
			o := newClosings()
			s := newSender(t, o)
			all.Go(func() {
				for n, wait := range []time.Duration{0, 0, gap, gap} {
					timer := time.NewTimer(wait) // the time between two attempts is what is measured
					<-timer.C
					if r := send(t, s, base); r.Outcome != notice.OutcomeDelivered {
						t.Errorf("%s: burnt %s after the answer: %s", name, gap, r.Detail)
					}
					if n == 0 {
						o.await(t)
					}
				}
			})
		}
	}
	all.Wait()
}
