package gateway

import (
	"fmt"
	"math"
	"runtime/debug"
	"syscall"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/dispatch"
)

// descriptors is how the process's open files are shared out, so that no flood of connections from one side takes what
// another side needs (cases E7). Half of what is beyond base is for connections to initiators, the other half for
// connections from outside and inside.
type descriptors struct {
	limit    uint64 // RLIMIT_NOFILE, as Go raised it at start
	outbound int    // connections to initiators, idle ones included
	public   int    // connections from initiators
	internal int    // connections of the bank's own systems

	handshakes int // of public, at most so many that have not made their handshake
}

const (
	// base is set aside for the database (26), files and spool, key sets and lists that are fetched, sources, names that
	// are looked up, the ops listener and its reserve; dispatch.Slots counts with the same.
	base = 128
	// fewest is the limit below which nothing is left worth serving with.
	fewest = base + 64
	// comfortable is the limit below which a start is told to be short of descriptors: 256 attempts at a time.
	comfortable = base + 512

	opsConnections = 16 // taken from base, so that the ops listener can be reached whatever the others hold
	overflow       = 8  // taken from base: connections beyond those of the internal listener that are answered 503
	mostPublic     = 8192
	mostInternal   = 2048
)

// openFiles reads the limit. Go has raised it to the hard one when the process started.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 1024
	}
	return uint64(limit.Cur) //nolint:unconvert // signed on some systems
}

// slots is how many attempts may be under way at once.
func slots(c *config.Config) int {
	if c.Dispatch.Slots > 0 {
		return c.Dispatch.Slots
	}
	budget := debug.SetMemoryLimit(-1) // GOMEMLIMIT, or as good as none
	if budget > 1<<40 {
		budget = 512 << 20
	}
	return dispatch.Slots(openFiles(), budget)
}

// share divides the limit; the error says what to raise when it is too small for the slots.
func share(limit uint64, slots int) (descriptors, error) {
	if limit < fewest {
		return descriptors{}, &config.Error{Problems: []string{fmt.Sprintf("open files: the limit is %d; raise it (ulimit -n, LimitNOFILE=) to %d or more", limit, fewest)}}
	}
	half := int(min(limit-base, math.MaxInt32) / 2)
	if slots > half {
		return descriptors{}, &config.Error{Problems: []string{fmt.Sprintf(
			"dispatch.slots (ARAUTO_DISPATCH_SLOTS): is %d, and a limit of %d open files affords %d; raise the limit (ulimit -n, LimitNOFILE=) to %d, or lower the slots",
			slots, limit, dispatch.Slots(limit, 0), base+2*slots)}}
	}
	public := min(mostPublic, half-half/4)
	return descriptors{limit: limit, outbound: half, public: public, internal: min(mostInternal, half/4), handshakes: public / 4}, nil
}

// small tells that the limit is one that a start should warn of.
func (d descriptors) small() bool { return d.limit < comfortable }
