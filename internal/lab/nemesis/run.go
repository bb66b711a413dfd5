package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/stage"
)

// nemesis is one run.
type nemesis struct {
	*world
	options
	receivers    []*receiver
	clients      []*client
	certificates [2]certs.Leaf // with which initiators ask
	load         *load
	polls        polls
	brands       *twoBrands
	ledger       *stage.SubmissionLog
	turn         atomic.Uint64
	impossible   []string // faults
}

// play is the whole run. The error is the last line.
func play(ctx context.Context, out io.Writer, o options) (err error) {
	a := &account{began: time.Now(), out: out}
	a.say("nemesis", "seed %d, %.1f minutes of faults, %.0f changes a second, %d replicas", o.seed, o.minutes, o.rate, replicaCount)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go a.neighbours.watch(watching)
	w, err := openWorld(ctx, a, o)
	if err != nil {
		return fmt.Errorf("to set up: %w", err)
	}
	defer func() {
		keep := o.keep || err != nil
		if keep {
			a.say("nemesis", "what is left is in %s", w.dir)
		}
		err = errors.Join(err, w.close(keep))
	}()
	n := &nemesis{world: w, options: o, polls: polls{tokens: map[string]token{}}}
	if err := n.prepare(ctx); err != nil {
		return fmt.Errorf("to set up: %w", err)
	}
	defer func() {
		for _, v := range n.receivers {
			v.Close()
		}
		n.brands.receiver.Close()
	}()
	s, err := n.openSchedule(rand.New(rand.NewPCG(o.seed, 1)))
	if err != nil {
		return err
	}
	if err := n.unleash(ctx, s); err != nil {
		return err
	}
	return n.verify(ctx, s)
}

// prepare makes everything that is not the product: ledger, receivers, clients, those who ask.
func (n *nemesis) prepare(ctx context.Context) (err error) {
	if n.ledger, err = stage.OpenSubmissionLog(n.book()); err != nil {
		return err
	}
	if n.receivers, err = n.openReceivers(); err != nil {
		return err
	}
	if err := n.openClients(ctx); err != nil {
		return err
	}
	if err := n.openBankClient(ctx); err != nil {
		return err
	}
	if err := n.openBrands(ctx); err != nil {
		return err
	}
	n.load = &load{seed: n.seed, brand: n.ouro.Name, clients: n.clients, known: map[string]*resource{}, hot: map[string]*hot{}}
	for which := range n.polls.askers {
		if err := n.openAsker(which); err != nil {
			return err
		}
	}
	n.say("nemesis", "two brands, %[1]s and %[2]s; %[3]d clients of %[1]s at %[4]d receivers are registered, the last receiver misbehaves on every connection; two more clients are at both brands", n.ouro.Name, n.prata.Name, clientCount, receiverCount)
	return nil
}

func (n *nemesis) book() string { return filepath.Join(n.dir, "ledger.ndjson") }

// unleash runs the load, lets a calm minute's beginning pass, lets the faults loose, and ends the load.
func (n *nemesis) unleash(ctx context.Context, s *schedule) error {
	loading, endLoad := context.WithCancel(ctx)
	defer endLoad()
	var all sync.WaitGroup
	var fed, misbehaved, worked, branded error
	all.Go(func() { fed = n.feed(loading) })
	all.Go(func() { branded = n.brands.work(ctx, loading) })
	if n.bank != nil {
		all.Go(func() { worked = n.bank.work(loading, rand.New(rand.NewPCG(n.seed, 4))) })
	}
	all.Go(func() { n.ask(loading, rand.New(rand.NewPCG(n.seed, 2))) })
	all.Go(func() {
		misbehaved = n.misbehave(loading, n.receivers[receiverCount-1], rand.New(rand.NewPCG(n.seed, 3)))
	})
	const calm = 15 * time.Second
	n.say("nemesis", "load runs; calm for %s", calm)
	rest(ctx, calm)
	for _, r := range n.replicas {
		f, err := r.weigh(ctx)
		if err != nil {
			return err
		}
		r.first = f
		n.say("nemesis", "%s under load: %s", r.process.Load().Name, f)
	}
	troubled := n.trouble(ctx, s)
	rest(ctx, grace)
	endLoad()
	n.say("nemesis", "no more faults and no more load; changes without an answer are handed in until they have one")
	all.Wait()
	if err := errors.Join(troubled, fed, misbehaved, worked, branded); err != nil {
		return err
	}
	n.say("nemesis", "%d changes acknowledged; %d of %d tries had no answer; %d of %d polls were refused or not answered",
		n.account.acknowledged.Load(), n.unanswered.Load(), n.tries.Load(), n.unasked.Load(), n.asked.Load())
	return nil
}

// verify waits for quiet and examines everything.
func (n *nemesis) verify(ctx context.Context, s *schedule) error {
	limited, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if err := n.examine(limited); err != nil {
		return fmt.Errorf("the verification could not be made: %w", err)
	}
	n.faultTable(s)
	if len(n.faults()) == 0 {
		if err := n.setBack(limited); err != nil {
			return fmt.Errorf("the database could not be set back: %w", err)
		}
	}
	wrong := n.faults()
	if err := n.keepTimeline(wrong); err != nil {
		return err
	}
	if len(wrong) > 0 {
		first, _, _ := strings.Cut(wrong[0], "\n")
		return fmt.Errorf("with %d wrong results (seed %d), the first: %s", len(wrong), n.seed, first)
	}
	return nil
}

// faultTable prints how often each fault struck, and how much of the load felt it.
func (n *nemesis) faultTable(s *schedule) {
	n.say("nemesis", "what the faults did to those outside, while they lasted:")
	for _, f := range s.all {
		times, lasted := 0, time.Duration(0)
		var tries, unanswered, asked, unasked int64
		for _, w := range n.windows {
			if w.fault == f {
				times++
				lasted += w.to.Sub(w.from)
				tries, unanswered, asked, unasked = tries+w.tries, unanswered+w.unanswered, asked+w.asked, unasked+w.unasked
			}
		}
		n.print("    %-20s %2d times, %6.1f s; %5d of %5d tries without an answer; %5d of %5d polls refused or unanswered\n",
			f.name, times, lasted.Seconds(), unanswered, tries, unasked, asked)
	}
	if busy, all := n.neighbours.times(); busy > 0 {
		n.print("    other processes took the machine for %.0f of %.0f s; what was late then is not held against the product\n", busy.Seconds(), all.Seconds())
	}
	for _, f := range s.all {
		switch skipped := s.skipped[f.name]; {
		case s.struck[f.name] == 0:
			n.print("    NOT STRUCK in this time: %s\n", f.name)
		case skipped > 0:
			n.print("    %s found nothing to strike %d times\n", f.name, skipped)
		}
	}
	for _, name := range n.impossible {
		n.print("    NOT POSSIBLE ON THIS MACHINE: %s\n", name)
	}
}

// keepTimeline writes the faults and the wrong results into the folder.
func (n *nemesis) keepTimeline(wrong []string) error {
	return os.WriteFile(filepath.Join(n.dir, "timeline.txt"), []byte(n.timeline(n.windows)+"\n"+strings.Join(wrong, "\n")+"\n"), 0o600)
}
