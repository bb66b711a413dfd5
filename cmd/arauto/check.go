package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/gateway"
)

func checkCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "check", Short: "validate settings, certificates and database, and report every problem", Args: cobra.NoArgs,
		Long: "Print the effective settings with their origin, secrets masked. Then check files, certificates, database and clock.\nNothing is changed. Exit code 2: serve would refuse to start.",
	}
	settings := configFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Read(*settings, w.environ)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(w.stdout, 0, 8, 2, ' ', 0)
		for _, e := range cfg.Effective() {
			fmt.Fprintf(table, "%s\t%s\t%s\t(%s)\n", e.Key, e.Value, e.Env, e.Origin)
		}
		if err := table.Flush(); err != nil {
			return err
		}
		findings, err := gateway.Examine(cmd.Context(), cfg, time.Now())
		for _, line := range findings {
			fmt.Fprintln(w.stdout, line)
		}
		if err == nil {
			fmt.Fprintln(w.stdout, "check: ok")
		}
		return err
	}
	return c
}
