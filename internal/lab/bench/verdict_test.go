package bench

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The bounds of a quiet machine. A run beyond one of them has no verdict.
const (
	bareApart  = 0.10 // the bare loop before and after the gateway's run, of the faster one
	bareBelow  = 0.15 // the bare loop below that of the quiet machine, where that is known
	othersMost = 0.05 // processor time of other processes, of all processors' time
	stealMost  = 0.02 // processor time that the host gave to others
)

// conditions say how quiet the machine was during a run.
type conditions struct {
	Before, After float64 // POST/s of the bare loop
	Quiet         float64 // POST/s of the bare loop on this machine when it is quiet; 0: not known
	Others, Steal float64 // the highest shares of a phase, 0 to 1; NaN: not known
}

// noise returns why a run proves nothing; nothing for a quiet one. What is not known is noise: a run is quiet only if that was
// measured. Only the quiet machine's bare loop may be missing.
func (c conditions) noise() (reasons []string) {
	say := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	switch faster := max(c.Before, c.After); {
	case c.Before <= 0 || c.After <= 0:
		say("the bare loop was not measured before and after")
	case math.Abs(c.Before-c.After) > bareApart*faster:
		say("the bare loop did %.0f/s before and %.0f/s after; they must be within %.0f %%", c.Before, c.After, 100*bareApart)
	case faster < (1-bareBelow)*c.Quiet:
		say("the bare loop did at most %.0f/s; on the quiet machine it does %.0f/s, and %.0f %% less is the bound", faster, c.Quiet, 100*bareBelow)
	}
	for _, of := range []struct {
		what        string
		share, most float64
	}{{"other processes", c.Others, othersMost}, {"the host", c.Steal, stealMost}} {
		if math.IsNaN(of.share) {
			say("it is not known how much processor time %s took", of.what)
		} else if of.share > of.most {
			say("%s took %.1f %% of the processors; %.0f %% is the bound", of.what, 100*of.share, 100*of.most)
		}
	}
	return reasons
}

// measured are the figures that a verdict is about, of one run.
type measured struct {
	PerSecond, Bare float64       // notifications and bare POSTs
	CPU             time.Duration // of a notification, by all processes
	WAL             float64       // bytes of a notification, document included
	AckedP99        time.Duration // at 300/s, from the acknowledgement of a change to the receipt of its notification
	HandedP99       time.Duration // at 300/s, from handing a change in
	Memory          float64       // MiB of the gateway, the most during the run
}

// verdict is what became of one aim.
type verdict struct {
	Aim, Got string
	Met      bool
}

// The aims of a run.
const (
	shareAim  = 0.25
	cpuAim    = 205 * time.Microsecond
	walAim    = 2600
	ackedAim  = 2 * time.Millisecond
	handedAim = 12 * time.Millisecond
	memoryAim = 160
)

// share returns notifications a second as a share of the bare loop, 0 to 1.
func (m measured) share() float64 { return m.PerSecond / m.Bare }

// verdicts judges each aim by itself.
func (m measured) verdicts() []verdict {
	return []verdict{
		{fmt.Sprintf("at least %.0f %% of the bare loop", 100*shareAim), fmt.Sprintf("%.1f %%", 100*m.share()), m.share() >= shareAim},
		{fmt.Sprintf("at most %d µs of processor time a notification", cpuAim.Microseconds()), fmt.Sprintf("%d µs", m.CPU.Microseconds()), m.CPU <= cpuAim},
		{fmt.Sprintf("at most %d B of WAL a notification", walAim), fmt.Sprintf("%.0f B", m.WAL), m.WAL <= walAim},
		{fmt.Sprintf("acknowledged to received at 300/s: p99 at most %s", ackedAim), m.AckedP99.String(), m.AckedP99 <= ackedAim},
		{fmt.Sprintf("handed in to received at 300/s: p99 at most %s", handedAim), m.HandedP99.String(), m.HandedP99 <= handedAim},
		{fmt.Sprintf("at most %d MiB of memory", memoryAim), fmt.Sprintf("%.0f MiB", m.Memory), m.Memory <= memoryAim},
	}
}

// TestANoisyRunHasNoVerdict: each bound alone makes a run noisy, at the bound it is still quiet, and what is not known is noise.
func TestANoisyRunHasNoVerdict(t *testing.T) {
	quiet := conditions{Before: 40000, After: 38000, Quiet: 41000, Others: 0.01, Steal: 0.001}
	require.Empty(t, quiet.noise())
	for name, c := range map[string]struct {
		change func(*conditions)
		says   string
	}{
		"slower after":      {func(c *conditions) { c.After = 35000 }, "before and 35000/s after"},
		"slower before":     {func(c *conditions) { c.Before = 30000 }, "did 30000/s before"},
		"slow all along":    {func(c *conditions) { c.Before, c.After = 33000, 32000 }, "at most 33000/s"},
		"no bare loop":      {func(c *conditions) { c.After = 0 }, "not measured"},
		"others":            {func(c *conditions) { c.Others = 0.051 }, "other processes took 5.1 %"},
		"steal":             {func(c *conditions) { c.Steal = 0.03 }, "the host took 3.0 %"},
		"others not known":  {func(c *conditions) { c.Others = math.NaN() }, "not known how much processor time other processes"},
		"steal not known":   {func(c *conditions) { c.Steal = math.NaN() }, "not known how much processor time the host"},
		"others and before": {func(c *conditions) { c.Others, c.Before = 1, 1 }, "did 1/s before"},
	} {
		noisy := quiet
		c.change(&noisy)
		reasons := noisy.noise()
		require.NotEmpty(t, reasons, name)
		require.Contains(t, reasons[0], c.says, name)
	}
	edge := conditions{Before: 40000, After: 36000, Others: othersMost, Steal: stealMost}
	require.Empty(t, edge.noise(), "at the bounds, and without a figure of the quiet machine")
}

// TestEachAimIsJudgedByItself: a figure at its aim meets it, one beyond does not, and no aim hides another.
func TestEachAimIsJudgedByItself(t *testing.T) {
	at := measured{PerSecond: 10000, Bare: 40000, CPU: cpuAim, WAL: walAim, AckedP99: ackedAim, HandedP99: handedAim, Memory: memoryAim}
	for i, v := range at.verdicts() {
		require.True(t, v.Met, "aim %d: %s", i, v.Aim)
	}
	beyond := []func(*measured){
		func(m *measured) { m.PerSecond-- },
		func(m *measured) { m.CPU++ },
		func(m *measured) { m.WAL++ },
		func(m *measured) { m.AckedP99++ },
		func(m *measured) { m.HandedP99++ },
		func(m *measured) { m.Memory++ },
	}
	require.Len(t, at.verdicts(), len(beyond))
	for i, change := range beyond {
		m := at
		change(&m)
		for j, v := range m.verdicts() {
			require.Equal(t, i != j, v.Met, "aim %q after change %d", v.Aim, i)
		}
	}
}
