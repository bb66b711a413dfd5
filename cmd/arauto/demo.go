package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/lab/demo"
)

func demoCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "demo", Short: "play three deliveries on this machine; needs PostgreSQL's programs only", Args: cobra.NoArgs,
		Long: "Start a temporary PostgreSQL and PKI, the gateway, two stand-in initiators and a stand-in core. Then play three payment\n" +
			"changes: delivered at the first attempt; refused, then delivered at the second; given up after the third. The demo ends\n" +
			"within two minutes. It prints \"demo: ok\" only if everything happened as the rules say.",
	}
	keep := c.Flags().Bool("keep", false, "leave everything running until interrupted, with the addresses printed")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		self, err := os.Executable()
		if err == nil {
			err = demo.Run(cmd.Context(), w.stdout, self, *keep)
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
