package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// neighbours measures, second by second, how much of the machine's processor time went to processes that are not ours: what is
// late while others take the processor says nothing of the product. Where there is no /proc, nobody else is seen.
type neighbours struct {
	mu   sync.Mutex
	busy []span        // in which others took more than their share
	sum  time.Duration // of all that was measured
}

// theirShare is how much of all processors others may take without being noticed.
const theirShare = 0.2

// backlog is how long after a busy time its backlog may be felt.
const backlog = 5 * time.Second

// watch measures until ctx ends.
func (n *neighbours) watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	total, ours, at := spent(), spentByUs(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		totalNow, oursNow, now := spent(), spentByUs(), time.Now()
		others := (totalNow - total) - max(0, oursNow-ours) // processes of ours that ended take their time with them
		n.mu.Lock()
		n.sum += now.Sub(at)
		if others.Seconds() > theirShare*now.Sub(at).Seconds()*float64(runtime.NumCPU()) {
			n.busy = append(n.busy, span{at, now})
		}
		n.mu.Unlock()
		total, ours, at = totalNow, oursNow, now
	}
}

// between tells whether others were busy between two instants, or shortly before.
func (n *neighbours) between(from, to time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.busy, func(s span) bool { return s.to.After(from.Add(-backlog)) && s.from.Before(to) })
}

// times are how long others were busy, of how long was measured.
func (n *neighbours) times() (busy, all time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.busy {
		busy += s.to.Sub(s.from)
	}
	return busy, n.sum
}

// tickLength is the unit of /proc: a hundredth of a second on every Linux there is.
const tickLength = 10 * time.Millisecond

// spent is the processor time of the whole machine, stolen time included.
func spent() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var sum int64
	for i, field := range strings.Fields(line) {
		const idle, wait = 4, 5
		if n, err := strconv.ParseInt(field, 10, 64); err == nil && i != idle && i != wait && i <= 8 {
			sum += n
		}
	}
	return time.Duration(sum) * tickLength
}

// spentByUs is the processor time of this process and of all that come from it: replicas, PostgreSQL.
func spentByUs() time.Duration {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	type process struct {
		parent int
		ticks  int64
	}
	all := make(map[int]process, len(stats))
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // gone meanwhile
		}
		// pid (name, in which anything may stand) state ppid … utime stime
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		const parent, user, system = 1, 11, 12
		if len(fields) <= system {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		var p process
		p.parent, _ = strconv.Atoi(fields[parent])
		for _, at := range []int{user, system} {
			n, _ := strconv.ParseInt(fields[at], 10, 64)
			p.ticks += n
		}
		all[pid] = p
	}
	var sum int64
	for pid, p := range all {
		for up := pid; up > 1; up = all[up].parent {
			if up == os.Getpid() {
				sum += p.ticks
				break
			}
		}
	}
	return time.Duration(sum) * tickLength
}
