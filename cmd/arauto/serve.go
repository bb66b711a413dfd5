package main

import (
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/gateway"
	"github.com/arauto/arauto/internal/logging"
)

// lastLines limits how long the end waits for the reader of the log.
const lastLines = time.Second

func serveCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "serve", Short: "run the gateway", Args: cobra.NoArgs,
		Long: "Run one replica of the gateway. Any number of replicas may share one database. SIGTERM drains within 20 s.",
	}
	settings := configFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Read(*settings, w.environ)
		if err != nil {
			return err
		}
		signal.Ignore(syscall.SIGPIPE) // the reader of our log may go away, and be replaced
		out := logging.NewLogWriter(w.stdout)
		defer out.Close(lastLines)
		g, err := gateway.New(cmd.Context(), cfg, version, logging.NewLog(out))
		if err != nil {
			return err
		}
		g.CountLost(out)
		return g.Run(cmd.Context())
	}
	return c
}
