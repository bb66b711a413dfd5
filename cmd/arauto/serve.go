package main

import (
	"log/slog"
	"os"
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
		if err != nil && cfg != nil {
			err = cfg.Check() // what Read told, and all else that is wrong
		}
		if err != nil {
			return err
		}
		signal.Ignore(syscall.SIGPIPE) // the reader of our log may go away, and be replaced
		out := logging.NewLogWriter(w.stdout)
		defer out.Close(lastLines)
		log := logging.NewLog(out)
		g, err := gateway.New(cmd.Context(), cfg, version, log)
		if err != nil {
			return err
		}
		g.CountLost(out)
		defer outliveHangup(log)()
		return g.Run(cmd.Context())
	}
	return c
}

// outliveHangup keeps SIGHUP from ending the process until its result is called: who sends it means that files be read again, or has
// closed a terminal, and an end without a drain would leave the outcome of attempts under way unknown (cases P5). There is nothing to
// be read again: files are looked at every few seconds, and settings at the start only.
func outliveHangup(log *slog.Logger) (end func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for range hangups {
			log.Info("SIGHUP has no effect: certificates, keys and lists are read again by themselves, other settings at the next start")
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
	}
}
