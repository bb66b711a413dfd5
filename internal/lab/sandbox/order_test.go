package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// slowGateway takes changes, and ends the first attempt of each notification a while after it was made.
type slowGateway struct {
	mu    sync.Mutex
	made  map[string]time.Time // notifications
	order []string             // kinds of changes, and "arrived" when an attempt was first read as ended
	ended map[string]bool
}

// attemptTakes is longer than any pause between two steps that a busy machine would leave room for.
const attemptTakes = time.Second

func (g *slowGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Method == http.MethodPost {
		var c stage.Change
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		id := fmt.Sprintf("n%d", len(g.made))
		g.made[id] = time.Now()
		g.order = append(g.order, c.Kind)
		answerJSON(w, http.StatusOK, map[string]any{"outcome": "applied", "notifications": []map[string]string{{"id": id}}})
		return
	}
	id := r.URL.Path[len("/internal/v1/notifications/"):]
	n := stage.Notification{ID: id, State: "pending", Attempts: []stage.Attempt{{Number: 1}}}
	if now := time.Now(); now.Sub(g.made[id]) > attemptTakes {
		if n.State, n.Attempts[0].EndedAt = "delivered", &now; !g.ended[id] {
			g.ended[id] = true
			g.order = append(g.order, "arrived")
		}
	}
	answerJSON(w, http.StatusOK, n)
}

// moving is a gateway that takes changes; while the notification of one is read, the resources go on to ACSC.
type moving struct{ b *bank }

func (g moving) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		answerJSON(w, http.StatusOK, map[string]any{"outcome": "applied", "notifications": []map[string]string{{"id": "n"}}})
		return
	}
	g.b.mu.Lock()
	defer g.b.mu.Unlock()
	for _, one := range g.b.resources {
		one.mu.Lock()
		one.status = ofb.ACSC
		one.mu.Unlock()
	}
	answerJSON(w, http.StatusOK, stage.Notification{ID: "n", State: "delivered"})
}

// newBank is a stand-in core with one client before a gateway.
func newBank(t *testing.T, gateway func(*bank) http.Handler) *bank {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	b := &bank{ctx: ctx, say: func(Event) {}, resources: map[string]*resource{}, way: &way{clients: map[string]*client{firstClient: {ID: firstClient}}}}
	server := httptest.NewServer(gateway(b))
	t.Cleanup(server.Close)
	b.core = stage.NewCore(server.URL, func() (string, error) { return "", nil }, server.Client())
	t.Cleanup(func() { cancel(); b.tasks.Wait() })
	return b
}

// TestATriggerNamesTheStateThatItToldLast, and not one that the story reaches while the trigger waits for attempts.
func TestATriggerNamesTheStateThatItToldLast(t *testing.T) {
	b := newBank(t, func(b *bank) http.Handler { return moving{b} })
	made, err := b.trigger(t.Context(), Trigger{Kind: "pix-payment", Status: "SCHD"})
	require.NoError(t, err)
	require.Equal(t, "SCHD", made.Told[len(made.Told)-1].Status)
	require.Equal(t, "SCHD", made.Status)
}

// TestATriggerThatTheGatewayRefusesFailsAndIsNotWrongUse: only what is wrong with the request is ErrRefused.
func TestATriggerThatTheGatewayRefusesFailsAndIsNotWrongUse(t *testing.T) {
	b := newBank(t, func(*bank) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	})
	control := httptest.NewServer(b.control("token"))
	defer control.Close()
	s := &State{Control: control.URL, Token: "token"}
	_, err := s.Fire(t.Context(), Trigger{Kind: "pix-payment", Status: "ACSC"})
	require.ErrorIs(t, err, ErrFailed)
	require.NotErrorIs(t, err, ErrRefused)
	_, err = s.Fire(t.Context(), Trigger{Kind: "pix-payment", Status: "NONE"})
	require.ErrorIs(t, err, ErrRefused)
}

// TestWhatComesFirstHasArrivedBeforeTheOtherIsTold: the table promises the order of two notifications, however long the first one takes.
func TestWhatComesFirstHasArrivedBeforeTheOtherIsTold(t *testing.T) {
	for cents, order := range map[int][]string{
		5: {"payment-consent", "arrived", "pix-payment"},
		6: {"pix-payment", "arrived", "payment-consent"},
	} {
		t.Run(fmt.Sprint(cents), func(t *testing.T) {
			t.Parallel()
			g := &slowGateway{made: map[string]time.Time{}, ended: map[string]bool{}}
			server := httptest.NewServer(g)
			t.Cleanup(server.Close)
			ctx, cancel := context.WithCancel(t.Context())
			core := stage.NewCore(server.URL, func() (string, error) { return "", nil }, server.Client())
			b := &bank{ctx: ctx, core: core, say: func(Event) {}, resources: map[string]*resource{}}
			t.Cleanup(func() { cancel(); b.tasks.Wait() })
			o := ByCents(ofb.PixPayment, cents)
			o.Steps = []Step{{To: ofb.RJCT}} // one notification
			consent := newResource(ofb.PaymentConsent, "v5", firstClient)
			consent.status = ofb.Authorised
			s := &story{}
			require.NoError(t, b.play(newResource(ofb.PixPayment, "v5", firstClient), consent, &o, s))
			g.mu.Lock()
			defer g.mu.Unlock()
			require.Equal(t, order, g.order[:min(3, len(g.order))])
		})
	}
}
