package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// outageOf is a database that stores nothing between two instants.
type outageOf struct {
	mu    sync.Mutex
	until time.Time
	asked int
	why   string
}

func (o *outageOf) err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Now().Before(o.until) {
		return errors.New(o.why)
	}
	return nil
}

func (o *outageOf) storable(context.Context) error {
	err := o.err()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	return err
}

// logged counts lines of a log by their message.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(b))
	return len(b), nil
}

func (l *logged) count(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// TestAnOutageOfOursSpendsNoDelivery: however long it lasts, the session is kept, nothing is told twice, nothing more is
// taken and nothing acknowledged. The log names the cause once a minute.
func TestAnOutageOfOursSpendsNoDelivery(t *testing.T) {
	for _, lasts := range []time.Duration{time.Second, 5 * time.Minute, 25 * time.Hour} {
		t.Run(lasts.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, v, w, log := &origin{records: numbered(300), batch: 10}, newVault(), &witness{}, &logged{}
				database := &outageOf{why: "rights"}
				v.commit = func(string) error { return database.err() }
				o.during = func(_, told int) error {
					if told == 100 {
						<-time.After(time.Second)
						database.mu.Lock()
						database.until = time.Now().Add(lasts)
						database.mu.Unlock()
					}
					return nil
				}
				s, stop := follow(t.Context(), t, Config{
					Mapping: mustParse(t, bank), Reader: o, Sink: v, Registrar: v, Observer: w, Storable: database.storable,
					Log: slog.New(slog.NewTextHandler(log, nil)),
				})
				<-time.After(time.Second + lasts/2)
				synctest.Wait()
				require.Equal(t, 100, o.ackedNow())
				require.Equal(t, Waiting, s.Status().State)
				require.Contains(t, s.Status().LastError, "rights")
				o.hand.Lag(0, lasts)
				require.Equal(t, Waiting, s.Status().State, "that the origin is there does not mean that we read it")
				<-time.After(lasts/2 + 10*time.Second)
				synctest.Wait()
				require.Equal(t, Running, s.Status().State)
				stop()
				require.Equal(t, 300, o.ackedNow())
				require.Empty(t, o.faults)
				require.Empty(t, v.rejected)
				require.Len(t, o.readTimes(), 1, "the session was kept")
				for i := range 300 {
					require.Equal(t, 1, v.committed[fmt.Sprint("p-", i)])
				}
				require.Equal(t, "running, waiting, running", w.story())
				require.LessOrEqual(t, log.count("source on hold"), int(lasts/time.Minute)+1)
				require.Positive(t, log.count("source on hold"))
				require.Equal(t, 1, log.count("source resumed"))
				require.LessOrEqual(t, database.asked, int(lasts/longestPause)+10, "no spinning")
				require.LessOrEqual(t, len(v.order), 300+200+int(lasts/longestPause), "nor with the records")
			})
		})
	}
}

// TestWhatComesLaterDoesNotOvertakeWhatIsHeld: each resource's revisions are stored in their order.
func TestWhatComesLaterDoesNotOvertakeWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, v := &origin{records: numbered(50), batch: 5}, newVault()
		v.takes = 50 * time.Millisecond
		var order []string
		calls := 0
		v.commit = func(id string) error {
			if calls++; calls > 7 && calls < 40 {
				return errors.New("the database is away")
			}
			order = append(order, id)
			return nil
		}
		_, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: v, Registrar: v})
		<-time.After(10 * time.Minute)
		stop()
		require.Equal(t, 50, o.ackedNow())
		for i, id := range order {
			require.Equal(t, fmt.Sprint("p-", i), id)
		}
	})
}

// TestNothingIsReadWhileOurDatabaseCannotStore: a session that the origin ends during an outage begins again only after
// it, and one that was never begun waits as well.
func TestNothingIsReadWhileOurDatabaseCannotStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, v, w, log := &origin{records: numbered(10)}, newVault(), &witness{}, &logged{}
		database := &outageOf{why: "password authentication failed", until: time.Now().Add(time.Hour)}
		v.commit = func(string) error { return database.err() }
		s, stop := follow(t.Context(), t, Config{
			Mapping: mustParse(t, bank), Reader: o, Sink: v, Registrar: v, Observer: w, Storable: database.storable, Log: slog.New(slog.NewTextHandler(log, nil)),
		})
		<-time.After(59 * time.Minute)
		require.Empty(t, o.readTimes())
		require.Equal(t, Waiting, s.Status().State)
		require.Equal(t, "password authentication failed", s.Status().LastError)
		require.InDelta(t, 59, log.count("source waits"), 1)
		<-time.After(2 * time.Minute)
		require.Len(t, o.readTimes(), 1)
		require.Equal(t, 10, o.ackedNow())
		stop()
	})
}

// TestAHoldEndsWithItsSession: a pause by an operator, the end of the process and the loss of the origin are not held up.
func TestAHoldEndsWithItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, v, who := &origin{records: numbered(10)}, newVault(), &operator{}
		database := &outageOf{why: "away", until: time.Now().Add(time.Hour)}
		v.commit = func(string) error { return database.err() }
		s, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: v, Registrar: v, Control: who})
		<-time.After(time.Minute)
		require.Equal(t, Waiting, s.Status().State)
		who.set(true, nil)
		<-time.After(2 * time.Second)
		require.Equal(t, Paused, s.Status().State)
		who.set(false, nil)
		<-time.After(2 * time.Second)
		require.Len(t, o.readTimes(), 2)
		stop()
		require.Zero(t, o.ackedNow())
		require.Empty(t, v.rejected)
	})
}
