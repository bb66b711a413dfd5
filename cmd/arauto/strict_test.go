package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// everyCommand lists each command of the product with its path, the built-in ones included.
func everyCommand(t *testing.T) map[string]*cobra.Command {
	t.Helper()
	root := rootCommand(world{nil, &strings.Builder{}, &strings.Builder{}}, nil)
	out := map[string]*cobra.Command{}
	var walk func(path []string, c *cobra.Command)
	walk = func(path []string, c *cobra.Command) {
		out[strings.Join(path, " ")] = c
		for _, sub := range c.Commands() {
			walk(append(path[:len(path):len(path)], sub.Name()), sub)
		}
	}
	walk(nil, root)
	require.Greater(t, len(out), 20)
	return out
}

// TestNoCommandTakesWhatItDoesNotKnow is F25 for every command at every level: `arauto audit verfy` printed help and
// exited 0, as if the log had been verified.
func TestNoCommandTakesWhatItDoesNotKnow(t *testing.T) {
	for path, c := range everyCommand(t) {
		t.Run("arauto "+path, func(t *testing.T) {
			args := strings.Fields(path)
			wrong := [][]string{append(args[:len(args):len(args)], "--nonsense")}
			switch {
			case c.HasSubCommands(), path == "help":
				wrong = append(wrong, append(args[:len(args):len(args)], "nonsense"))
			default:
				wrong = append(wrong, append(args[:len(args):len(args)], "one", "too", "many"))
			}
			for _, line := range wrong {
				got := call(t, time.Minute, nil, line...)
				require.Equal(t, usage, got.code, "%q: %s%s", line, got.out, got.errors)
				require.Empty(t, got.out, line)
				require.NotEmpty(t, got.errors, line)
			}
			if c.HasSubCommands() || path == "help" {
				for _, flag := range []string{"--help", "-h"} {
					for _, line := range [][]string{append(args[:len(args):len(args)], "nonsense", flag), append(args[:len(args):len(args)], flag, "nonsense")} {
						got := call(t, time.Minute, nil, line...)
						require.Equal(t, usage, got.code, "%q: %s%s", line, got.out, got.errors)
						require.Empty(t, got.out, line)
						require.Contains(t, got.errors, `"nonsense" is not a command`, line)
					}
				}
			}
			helped := call(t, time.Minute, nil, append(args[:len(args):len(args)], "--help")...)
			require.Equal(t, done, helped.code, "%q: %s", path, helped.errors)
			require.NotEmpty(t, helped.out)
		})
	}
}

func TestAMisspelledNameIsToldTheNearest(t *testing.T) {
	for line, near := range map[string]string{
		"audit verfy":               `"verfy" is not a command of "arauto audit", did you mean verify?`,
		"audit verfy --key k":       "did you mean verify?",
		"watch explain --source x":  `"explain" is not a command of "arauto watch", did you mean arauto explain?`,
		"audti verify":              "audit",
		"audit verfy --help":        `"verfy" is not a command of "arauto audit", did you mean verify?`,
		"audit -h verfy":            "did you mean verify?",
		"--help audit verfy":        "did you mean verify?",
		"help audit verfy --help":   "did you mean verify?",
		"sources --help":            `"sources" is not a command of "arauto"`,
		"chek --help":               "did you mean check?",
		"help verfy":                `"verfy" is not a command of "arauto"`,
		"help audit verfy":          `"verfy" is not a command of "arauto audit", did you mean verify?`,
		"completion bsh":            "did you mean bash?",
		"audit breaches --form x":   "--form is not a flag of this command, did you mean --format?",
		"audit verify --anchor x":   "did you mean --anchors?",
		"--version":                 "arauto: --version is not a flag of this command, did you mean arauto version?; see arauto help",
		"audit breaches --nonsense": "arauto audit breaches: --nonsense is not a flag of this command; see arauto help",
	} {
		got := call(t, time.Minute, nil, strings.Fields(line)...)
		require.Equal(t, usage, got.code, line)
		require.Contains(t, got.errors, near, line)
	}
	for _, line := range []string{"help audit", "help audit verify", "audit", "audit --help", "audit --help verify", "--help audit verify", "help audit --help", "--config x check --help", "check --config x --help", "completion bash"} {
		require.Equal(t, done, call(t, time.Minute, nil, strings.Fields(line)...).code, line)
	}
}

// TestEveryClosedFlagNamesWhatWouldBeRight gives each flag of a closed list a value that is not in it, before any database
// is asked.
func TestEveryClosedFlagNamesWhatWouldBeRight(t *testing.T) {
	needed := map[string]string{
		"audit breaches": "--from 2026-11-01 --to 2026-11-02", "audit dossier": "p", "audit export": "--out x", "audit report": "--day 2026-11-01", "preflight": "https://itp.example", "poll": "p", "trigger": "consent",
	}
	n := 0
	for path, c := range everyCommand(t) {
		for _, flag := range []string{"lang", "format", "from", "to", "kind", "entry", "outcome"} {
			if c.Flags().Lookup(flag) == nil || path == "mirror" { // its --from is an address
				continue
			}
			n++
			line := strings.Fields(path + " " + needed[path] + " --" + flag + " nonsense")
			if path == "audit proof" && flag == "to" {
				line = append(line, "--from", "2026-11-01")
			}
			got := call(t, time.Minute, []string{"ARAUTO_DATABASE_URL=postgres://127.0.0.1:1/x"}, line...)
			require.Equal(t, usage, got.code, "%q: %s%s", line, got.out, got.errors)
			require.Contains(t, got.errors, "--"+flag, line)
			require.Empty(t, got.out, line)
		}
	}
	require.Greater(t, n, 15)
}

// TestADateAloneIsTakenWhereverATimeIs: the same words mean the same day in every command.
func TestADateAloneIsTakenWhereverATimeIs(t *testing.T) {
	nowhere := []string{"ARAUTO_DATABASE_URL=postgres://127.0.0.1:1/x"}
	for path, c := range everyCommand(t) {
		if c.Flags().Lookup("from") == nil || path == "mirror" {
			continue
		}
		args := strings.Fields(path + " --from 2026-11-01 --to 2026-11-02")
		if path == "audit export" {
			args = append(args, "--out", t.TempDir()+"/x")
		}
		if path == "audit completeness" {
			args = append(args, "--client", "itp", "--out", t.TempDir()+"/x")
		}
		got := call(t, time.Minute, nowhere, args...)
		require.Equal(t, failed, got.code, "%q is refused by the database that is not there, and not for its dates: %s", args, got.errors)
	}
	from, err := timeFlag("--from", "2026-11-01", false)
	require.NoError(t, err)
	require.Equal(t, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), from)
	to, err := timeFlag("--to", "2026-11-01", true)
	require.NoError(t, err)
	require.Equal(t, time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), to, "through that day")
	at, err := timeFlag("--to", "2026-11-01T00:00:00-03:00", true)
	require.NoError(t, err)
	require.Equal(t, time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC), at)
}
