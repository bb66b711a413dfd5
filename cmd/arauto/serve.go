package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/gateway"
)

func serveCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "serve", Short: "run the gateway", Args: cobra.NoArgs,
		Long: "Run one replica of the gateway. Any number of replicas may share one database. SIGTERM drains within 20 s.",
	}
	config := configFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := gateway.ReadConfig(*config, w.environ)
		if err != nil {
			return err
		}
		log := slog.New(slog.NewJSONHandler(w.stdout, nil))
		g, err := gateway.New(cmd.Context(), cfg, version, log)
		if err != nil {
			return err
		}
		return g.Run(cmd.Context())
	}
	return c
}
