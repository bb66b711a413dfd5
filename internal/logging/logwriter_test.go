package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// gate is a reader of the log that stops taking it, as a full pipe does, or refuses it, as a full disk does.
type gate struct {
	taken bytes.Buffer
	shut  chan struct{} // not nil: writes wait until it is closed
	full  bool
}

func (g *gate) Write(b []byte) (int, error) {
	if g.shut != nil {
		<-g.shut
	}
	if g.full {
		n, _ := g.taken.Write(b[:len(b)/2])
		return n, errors.New("no space left on device")
	}
	return g.taken.Write(b)
}

// messages are those of the whole lines that were taken.
func (g *gate) messages() (out []string) {
	for line := range strings.Lines(g.taken.String()) {
		var l struct {
			Msg  string
			Lost int
			N    *int
		}
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg != "" {
			switch {
			case l.Lost > 0:
				l.Msg = fmt.Sprint("lost ", l.Lost)
			case l.N != nil:
				l.Msg = fmt.Sprint("line ", *l.N)
			}
			out = append(out, l.Msg)
		}
	}
	return out
}

func TestABlockedLogHoldsUpNobodyAndWhatIsLostIsCountedAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{shut: make(chan struct{})}
		o := newLogWriter(g, 1000)
		log := slog.New(slog.NewJSONHandler(o, nil))
		log.Info("taken by the writer")
		synctest.Wait()
		for n := range 100 { // nobody reads, and none of this waits
			log.Info("line", "n", n)
		}
		lost := o.Lost()
		require.Positive(t, lost)
		require.Less(t, lost, 100)
		close(g.shut)
		synctest.Wait()
		said := g.messages()
		require.Equal(t, []string{"taken by the writer", "line 0"}, said[:2])
		require.Equal(t, fmt.Sprint("line ", 99-lost), said[len(said)-2], "the oldest were kept, in order")
		require.Equal(t, fmt.Sprint("lost ", lost), said[len(said)-1])
		log.Info("after")
		o.Close(time.Minute)
		require.Equal(t, "after", g.messages()[len(said)])
		require.Equal(t, lost, o.Lost())
		log.Info("too late")
		require.Equal(t, lost+1, o.Lost())
	})
}

func TestAFullDiskLosesLinesOfTheLogAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{full: true}
		o := newLogWriter(g, 1000)
		log := slog.New(slog.NewJSONHandler(o, nil))
		for n := range 3 {
			log.Info("line", "n", n)
			synctest.Wait()
		}
		require.Equal(t, 3, o.Lost())
		g.full = false
		log.Info("there is room again")
		synctest.Wait()
		require.Equal(t, []string{"there is room again", "lost 3"}, g.messages())
		o.Close(time.Minute)
		require.Equal(t, 3, o.Lost())
	})
}

func TestTheEndWaitsForABlockedLogNoLongerThanItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{shut: make(chan struct{})}
		o := newLogWriter(g, 1000)
		_, err := o.Write([]byte("{}\n"))
		require.NoError(t, err)
		began := time.Now()
		o.Close(2 * time.Second)
		require.Equal(t, 2*time.Second, time.Since(began))
		close(g.shut)
	})
}
