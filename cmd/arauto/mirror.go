package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/metrics"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/tiles"
	"github.com/arauto/arauto/internal/trust"
)

func mirrorCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "mirror --from URL --log VKEY --out FOLDER", Short: "follow a published log, verify all of it, and keep a copy", Args: cobra.NoArgs,
		Long: "Follow a log that is published in the form of C2SP tlog-tiles, and keep a verified copy in FOLDER. Every new checkpoint must be signed\n" +
			"with the key of the log, have the cosignatures that --policy demands, and extend the copy. Prints \"ok SIZE ROOT\" after each round that\n" +
			"found something new. A history that does not extend the copy prints BAD, is kept as proof in FOLDER/forks, and exits 1; with\n" +
			"--metrics-addr it first goes on to show that figure until it is told to end.\n" +
			"The first round of a run reads the whole copy: every hash, and with --entries every entry, which it compares with its leaf. A bundle of\n" +
			"entries that is damaged or missing is fetched again, and a note says so; what cannot be fetched again is named, with exit code 1.",
	}
	m := &mirrorOptions{out: w}
	c.Flags().StringVar(&m.from, "from", "", "the published log: an http(s) URL, or a folder (required)")
	c.Flags().StringVar(&m.log, "log", "", "the verifier key (vkey) of the log (required)")
	c.Flags().StringVar(&m.dir, "out", "", "the folder of the copy (required)")
	c.Flags().StringVar(&m.policy, "policy", "", "a file that names the witnesses and which of them must have vouched")
	c.Flags().StringVar(&m.ca, "ca", "", "the authority of the server's certificate, PEM; empty: those of the system")
	c.Flags().StringVar(&m.token, "token-file", "", "the file of a bearer token, mode 0600 or 0400")
	c.Flags().BoolVar(&m.entries, "entries", false, "also copy the entries and compare each with its leaf")
	c.Flags().BoolVar(&m.once, "once", false, "end after one round")
	c.Flags().StringVar(&m.figures, "metrics-addr", "", "an address, host:port, at which Prometheus reads how the mirror is; empty: none")
	c.Flags().DurationVar(&m.every, "every", time.Minute, "the time between two rounds, 1s or more")
	c.RunE = func(cmd *cobra.Command, _ []string) error { return m.run(cmd.Context()) }
	return c
}

// mirrorOptions are the flags of the command.
type mirrorOptions struct {
	out                               world
	from, log, dir, policy, ca, token string
	figures                           string // the address of the metrics; empty: none
	entries, once                     bool
	every                             time.Duration
}

// staleAfter is the time without a new checkpoint after which the mirror says so, once for each new such time.
const staleAfter = time.Hour

func (o *mirrorOptions) run(ctx context.Context) error {
	m, err := o.open()
	if err != nil {
		return err
	}
	unlock, err := tiles.Lock(o.dir)
	if err != nil {
		return wrongUse("--out: %v", err)
	}
	defer unlock()
	figures := metrics.NewMirrorObserver(time.Now())
	if o.figures != "" {
		end, err := o.serve(ctx, figures.Handler())
		if err != nil {
			return err
		}
		defer end()
	}
	grew, told := time.Now(), false
	for first := true; ; first = false {
		done, err := m.Round(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, tiles.ErrFork):
			figures.Forked()
			fmt.Fprintf(o.out.stdout, "BAD seq=%d %v\n", done.Size, err)
			if o.figures != "" && !o.once { // the figure must be seen
				<-ctx.Done()
			}
			return errFailed
		case err != nil && o.once:
			return err
		case err != nil:
			figures.Failed()
			fmt.Fprintln(o.out.stderr, "note:", err)
		default:
			figures.Verified(done.Size, done.Size > done.Old)
			if done.Size > done.Old || first {
				fmt.Fprintln(o.out.stdout, "ok", done.Size, done.Root)
				grew, told = time.Now(), false
			}
		}
		for _, name := range done.Damaged {
			fmt.Fprintf(o.out.stderr, "note: %s was damaged in the copy, and was fetched again\n", name)
		}
		if done.Missing > 0 {
			fmt.Fprintf(o.out.stderr, "note: %d bundles of entries were missing in the copy, and were fetched\n", done.Missing)
		}
		if done.Left > 0 {
			fmt.Fprintf(o.out.stderr, "note: %d bundles of entries are not published\n", done.Left)
		}
		if still := time.Since(grew); still > staleAfter && !told {
			told = true
			fmt.Fprintf(o.out.stderr, "note: no new checkpoint for %s\n", still.Round(time.Minute))
		}
		if o.once {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(o.every):
		}
	}
}

// serve shows the figures of the mirror until end is called.
func (o *mirrorOptions) serve(ctx context.Context, figures http.Handler) (end func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.figures)
	if err != nil {
		return nil, wrongUse("--metrics-addr: %v; name an address of this machine and a free port", err)
	}
	fmt.Fprintf(o.out.stdout, "mirror: metrics on http://%s/metrics\n", listener.Addr())
	routes := http.NewServeMux()
	routes.Handle("GET /metrics", figures)
	server := &http.Server{Handler: routes, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go func() { _ = server.Serve(listener) }() // ends with the command
	return func() { _ = server.Close() }, nil
}

// sameFolder tells whether two names are of one folder that is there.
func sameFolder(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// open judges the flags.
func (o *mirrorOptions) open() (*tiles.Mirror, error) {
	for flag, missing := range map[string]bool{"--from": o.from == "", "--log": o.log == "", "--out": o.dir == ""} {
		if missing {
			return nil, wrongUse("mirror: %s is not set; see arauto mirror --help", flag)
		}
	}
	if sameFolder(o.from, o.dir) {
		return nil, wrongUse("--out: %s is the published log itself; name a folder for the copy", o.dir)
	}
	if o.every < time.Second {
		return nil, wrongUse("--every: %s is too short; use 1s or more", o.every)
	}
	m := &tiles.Mirror{Dir: o.dir, Entries: o.entries, Remote: tiles.Folder(o.from)}
	var err error
	if m.Log, err = audit.ParseLogKey(o.log); err != nil {
		return nil, wrongUse("--log: %q: %v", o.log, err)
	}
	if o.policy != "" {
		text, err := os.ReadFile(o.policy)
		if err != nil {
			return nil, wrongUse("--policy: %v", err)
		}
		if m.Policy, err = audit.ParsePolicy(text); err != nil {
			return nil, wrongUse("--policy: %s: %v", o.policy, err)
		}
	}
	if !strings.HasPrefix(o.from, "http://") && !strings.HasPrefix(o.from, "https://") {
		return m, nil
	}
	site := &tiles.Site{URL: strings.TrimRight(o.from, "/")}
	if o.token != "" {
		if !strings.HasPrefix(o.from, "https://") {
			return nil, wrongUse("--token-file: a token is sent over https only; use an https URL in --from")
		}
		text, err := mtls.ReadKeyFile(o.token)
		if err != nil {
			return nil, wrongUse("--token-file: %v", err)
		}
		site.Token = strings.TrimSpace(string(text))
	}
	var roots *mtls.Anchors
	if o.ca != "" {
		if roots, err = mtls.LoadAnchors(o.ca); err != nil {
			return nil, wrongUse("--ca: %v", err)
		}
	}
	site.Client = trust.NewAnchorClient(roots, 30*time.Second)
	m.Remote = site
	return m, nil
}
