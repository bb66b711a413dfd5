// Command nemesis breaks the product on purpose and then verifies its results.
//
// It puts the whole product up on this machine (package stage): three replicas, each with its own way to the database that
// can be cut or slowed, a PostgreSQL whose disk can fill up and whose clock can be moved, and receivers of which some
// always misbehave. A stand-in for the bank's core hands in changes all the time, and again when it gets no answer;
// initiators ask for states all the time. All of this is one brand's; beside it a smaller load tells two brands of the same ids, and
// asks both. Meanwhile, period after period, a few faults drawn from a seed strike at
// drawn instants and are healed. Then there is quiet until every chain has ended, and everything is reconciled:
// the core's ledger, what the receivers recorded, the database, the polls and the proof of the history.
//
//	main.go, run.go    the command; the play from beginning to end
//	account.go         what is printed, and the timeline of the faults
//	world.go           stage, volumes, replicas, proxies, clock
//	receiver.go        receivers and their scripts; clients and their registrations
//	load.go, poll.go   changes in; status queries
//	brand.go           a second brand, and the load that both have
//	bank.go            a core whose database log the replicas follow
//	fault*.go          the faults, and the schedule that draws them
//	examine*.go        the verification
//
// What makes one wrong result is printed with its ids and the faults around it, and the folder stays. `make nemesis` runs
// it; it is no part of the product and nothing of the product imports it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	o := options{}
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano())%1_000_000, "draws the faults and the load")
	flag.Float64Var(&o.minutes, "minutes", 10, "how long faults go on; quiet and check come after it")
	flag.Float64Var(&o.rate, "rate", 60, "changes handed in each second")
	flag.StringVar(&o.arauto, "arauto", "bin/arauto", "the product's binary")
	flag.BoolVar(&o.keep, "keep", false, "keep the folder in any case")
	only := flag.String("only", "", "these faults alone, comma-separated")
	flag.Parse()
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	out := os.Stdout
	err := play(ctx, out, o)
	stop()
	if err != nil {
		fmt.Fprintf(out, "nemesis: the same faults again: SEED=%d MINUTES=%g make nemesis\n", o.seed, o.minutes)
		fmt.Fprintln(out, "nemesis: FAILED", err)
		os.Exit(1)
	}
	fmt.Fprintln(out, "nemesis: ok")
}

// options are the command line.
type options struct {
	seed    uint64
	minutes float64
	rate    float64
	arauto  string
	keep    bool
	only    []string
}
