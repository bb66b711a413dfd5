// Command arauto is the gateway and everything that goes with it: one binary with subcommands, each in a file of its
// own. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/config"
)

// version is stamped by the build.
var version = "dev"

// world is what a command may touch, so that a test can call it as main does.
type world struct {
	environ        []string
	stdout, stderr io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, world{os.Environ(), os.Stdout, os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}

// The exit codes.
const (
	done   = 0
	failed = 1
	usage  = 2
)

// errFailed ends a command with exit code 1 that has already said why.
var errFailed = errors.New("failed")

// run executes one command line and returns its exit code.
func run(ctx context.Context, w world, args []string) int {
	root := rootCommand(w, args)
	ran := false
	root.PersistentPreRun = func(*cobra.Command, []string) { ran = true }
	err := helpForNothing(root, args)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	var wrong *config.Error
	switch {
	case err == nil:
		return done
	case errors.As(err, &wrong):
		for _, line := range wrong.Problems {
			fmt.Fprintln(w.stderr, "arauto:", line)
		}
		return usage
	case errors.Is(err, errFailed):
		return failed
	}
	fmt.Fprintln(w.stderr, "arauto:", err)
	if !ran { // the command line itself was wrong
		fmt.Fprintln(w.stderr, "arauto: see arauto help")
		return usage
	}
	return failed
}

// keepOrder makes help list commands in the order in which people meet them. The library knows this for the whole process only.
var keepOrder = sync.OnceFunc(func() { cobra.EnableCommandSorting = false })

// rootCommand is the whole command line.
func rootCommand(w world, args []string) *cobra.Command {
	keepOrder()
	root := &cobra.Command{
		Use: "arauto", Short: "the account holder's gateway for Open Finance Brasil payment notifications", SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetArgs(args)
	root.SetOut(w.stdout)
	root.SetErr(w.stderr)
	root.AddCommand( // in the order in which people meet them
		demoCommand(w), sandboxCommand(w), triggerCommand(w), pollCommand(w), serveCommand(w), migrateCommand(w), checkCommand(w), watchCommand(w), explainCommand(w), certsCommand(w), preflightCommand(w), listenCommand(w), conformanceCommand(w), auditCommand(w), witnessCommand(w), mirrorCommand(w),
		versionCommand(w),
	)
	root.SetHelpCommand(helpCommand())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	strict(root)
	return root
}

func versionCommand(w world) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version", Args: cobra.NoArgs,
		Run: func(*cobra.Command, []string) { fmt.Fprintln(w.stdout, "arauto", version) },
	}
}

func configFlag(c *cobra.Command) *string {
	return c.Flags().String("config", "", "YAML file with settings; the environment overrides it")
}
