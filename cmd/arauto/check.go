package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/gateway"
)

func checkCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "check", Short: "try everything that serve needs, and report every problem", Args: cobra.NoArgs,
		Long: `Print the effective settings with their origin, secrets masked. Then try what serve does before it serves: files, certificates, keys,
the key of the log and its registration, the state folder, the addresses of the listeners, sources, database and clock.
Nothing is changed. What is not tried is listed. With --source only a mapping is tried, with the rights and tables of its origin. It needs no setting;
those of --config and of the environment count, such as the profile and the versions of the API.
Exit code 2: serve would refuse to start. Exit code 1: it would start and not be ready, for instance because the database is away.`,
	}
	settings := configFlag(c)
	offline := c.Flags().Bool("offline", false, "settings and the files that they name alone: no database, no other host, no listener, no state folder")
	running := c.Flags().Bool("running", false, "a replica with these settings runs here: leave out the addresses of the listeners")
	source := c.Flags().String("source", "", "mapping file of a source: try this alone; it needs no setting")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if *offline && *running {
			return wrongUse("--offline and --running: use one of them; --offline leaves the listeners out as well")
		}
		if *source != "" && (*offline || *running) {
			return wrongUse("--source: it asks the source's origin and nothing of this machine; leave out --offline and --running")
		}
		cfg, err := config.Read(*settings, w.environ)
		if cfg == nil || err != nil && *source != "" {
			return err
		}
		if *source != "" {
			if err := checkSource(cmd.Context(), w.stdout, cfg, *source); err != nil {
				return err
			}
			fmt.Fprintln(w.stdout, "check: ok")
			return nil
		}
		table := tabwriter.NewWriter(w.stdout, 0, 8, 2, ' ', 0)
		for _, e := range cfg.Effective() {
			fmt.Fprintf(table, "%s\t%s\t%s\t(%s)\n", e.Key, e.Value, e.Env, e.Origin)
		}
		if err := table.Flush(); err != nil {
			return err
		}
		scope := gateway.Whole
		switch {
		case *offline:
			scope = gateway.Offline
		case *running:
			scope = gateway.Running
		}
		report, err := gateway.Examine(cmd.Context(), cfg, time.Now(), scope)
		for _, line := range report.Findings {
			fmt.Fprintln(w.stdout, line)
		}
		for _, line := range report.Unchecked {
			fmt.Fprintln(w.stdout, "not checked:", line)
		}
		for _, line := range report.NotReady {
			fmt.Fprintln(w.stderr, "arauto: not ready:", line)
		}
		switch {
		case err != nil:
			return err
		case len(report.NotReady) > 0:
			return errFailed
		}
		fmt.Fprintln(w.stdout, "check: ok")
		return nil
	}
	return c
}

// checkSource tries one mapping with its origin, and writes what was found. The error names every problem.
func checkSource(ctx context.Context, out io.Writer, cfg *config.Config, file string) error {
	cfg.Watch.Sources = []string{file}
	report, err := gateway.ExamineSources(ctx, cfg)
	for _, line := range report.Findings {
		fmt.Fprintln(out, line)
	}
	return err
}
