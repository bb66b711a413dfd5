package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/lab/demo"
)

func demoCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "demo", Short: "play three deliveries on this machine; needs PostgreSQL's programs only", Args: cobra.NoArgs,
		Long: "Start a temporary PostgreSQL and PKI, the gateway, two stand-in initiators and a stand-in core. Then play three payment\n" +
			"changes: delivered at the first attempt; refused, then delivered at the second; given up after the third. The demo ends\n" +
			"within two minutes. It prints \"demo: ok\" only if everything happened as the rules say. With --source it tries your mapping as\n" +
			"arauto check does, follows your core, and prints what the initiators receive.",
	}
	keep := c.Flags().Bool("keep", false, "leave everything running until interrupted, with the addresses printed")
	source := c.Flags().String("source", "", "mapping file of a source of your own, followed in place of the three changes until interrupted")
	client := c.Flags().String("client", "", "client id in your core under which the first stand-in initiator is registered; its own is alfa")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if *source != "" {
			var err error
			if *source, err = filepath.Abs(*source); err != nil {
				return fmt.Errorf("--source: %w", err)
			}
			cfg, err := config.Read("", nil) // a source stands for itself: the demo has settings of its own
			if err != nil {
				return err
			}
			cfg.Profile = config.Development
			if err := checkSource(cmd.Context(), w.stdout, cfg, *source); err != nil {
				return err
			}
		}
		self, err := os.Executable()
		if err == nil {
			if _, settings := config.WithoutSettings(w.environ); len(settings) > 0 {
				fmt.Fprintln(w.stdout, "demo: it has settings of its own; these variables have no effect:", strings.Join(settings, ", "))
			}
			command := func(args ...string) *exec.Cmd { return unset(exec.Command(self, args...)) } //nolint:gosec,noctx // our own binary; the demo ends it
			err = demo.Run(cmd.Context(), w.stdout, demo.Options{Command: command, Keep: *keep, Source: *source, Client: *client})
		}
		if err != nil {
			fmt.Fprintln(w.stdout, "demo: FAILED", err)
			return errFailed
		}
		fmt.Fprintln(w.stdout, "demo: ok")
		return nil
	}
	return c
}
