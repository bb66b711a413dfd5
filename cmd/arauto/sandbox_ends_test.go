package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/temppostgres"
)

// TestATakenPortNamesTheFlagThatChangesIt: the port of POSTs, and that of the status endpoints, which the gateway opens.
func TestATakenPortNamesTheFlagThatChangesIt(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	port := taken.Addr().(*net.TCPAddr).Port
	for first, use := range map[int][2]string{port: {"tokens and POSTs", "tokens e POSTs"}, port - 1: {"status endpoints", "endpoints de status"}} {
		for i, language := range []string{"en", "pt"} {
			got := call(t, time.Minute, nil, "sandbox", "--port", strconv.Itoa(first), "--lang", language)
			require.Equal(t, usage, got.code, got.errors)
			require.Contains(t, got.errors, fmt.Sprintf("%d (%s)", port, use[i]))
			require.Contains(t, got.errors, "arauto: --port: ")
			require.Empty(t, got.out)
			require.Less(t, got.took, 10*time.Second, "before anything is started")
		}
	}
}

// TestAFlagThatCannotWorkIsRefusedBeforeAnythingStarts: an address that no holder registers, and keys that are not there.
func TestAFlagThatCannotWorkIsRefusedBeforeAnythingStarts(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for _, wrong := range [][2]string{
		{"--webhook", "http://localhost:8444"},
		{"--webhook", "localhost:8444"},
		{"--webhook", "https://localhost:8444/"},
		{"--webhook", "https://localhost:8444/hook?a=b"},
		{"--signed-by", filepath.Join(t.TempDir(), "missing.json")},
	} {
		got := call(t, time.Minute, nil, "sandbox", "--port", "0", wrong[0], wrong[1])
		require.Equal(t, usage, got.code, "%v: %s", wrong, got.errors)
		require.Contains(t, got.errors, "arauto: "+wrong[0]+": ")
		require.Empty(t, got.out)
	}
}

// TestConformanceWithoutASandboxSaysThatNoneRuns, beside what could be named instead.
func TestConformanceWithoutASandboxSaysThatNoneRuns(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	got := call(t, time.Minute, nil, "conformance")
	require.Equal(t, usage, got.code)
	require.Contains(t, got.errors, "--internal is not set")
	require.Contains(t, got.errors, "no sandbox is running; start one with: arauto sandbox")
}

// starting is a command of ours that is starting, with a temporary folder of its own.
type starting struct {
	*exec.Cmd
	t      *testing.T
	folder string // its TMPDIR
	out    *lines
}

func startUp(t *testing.T, args ...string) *starting {
	t.Helper()
	if os.Getenv(temppostgres.EnvURL) != "" {
		t.Skip("the server is another's")
	}
	folder, err := os.MkdirTemp("", "arauto-test-") //nolint:usetesting // the server's account must get through to it
	require.NoError(t, err)
	require.NoError(t, os.Chmod(folder, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	s := &starting{Cmd: product(args...), t: t, folder: folder, out: &lines{grown: make(chan struct{}, 1)}}
	s.Env = append(s.Env, "TMPDIR="+folder, "XDG_CACHE_HOME="+t.TempDir(), temppostgres.EnvDir+"=", "LANG=C")
	s.Stdout, s.Stderr = s.out, s.out
	s.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, s.Start())
	t.Cleanup(func() { _ = syscall.Kill(-s.Process.Pid, syscall.SIGKILL) })
	return s
}

// until waits for a file below the temporary folder, as glob names it.
func (s *starting) until(glob string) string {
	s.t.Helper()
	var found []string
	require.Eventually(s.t, func() bool {
		found, _ = filepath.Glob(filepath.Join(s.folder, glob))
		return len(found) > 0
	}, 2*time.Minute, 2*time.Millisecond, glob)
	return found[0]
}

// interrupt does what Ctrl-C does in a terminal, and waits for the end.
func (s *starting) interrupt() (code int, took time.Duration) {
	s.t.Helper()
	began := time.Now()
	require.NoError(s.t, syscall.Kill(-s.Process.Pid, syscall.SIGINT))
	_ = s.Wait() // the code says how
	return s.ProcessState.ExitCode(), time.Since(began)
}

// gone fails the test when a file, or a process that names the folder, is left.
func (s *starting) gone() {
	s.t.Helper()
	left, err := os.ReadDir(s.folder)
	require.NoError(s.t, err)
	require.Empty(s.t, left)
	running, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, one := range running {
		if text, err := os.ReadFile(one); err == nil {
			require.NotContains(s.t, string(text), s.folder, one)
		}
	}
}

// TestAnInterruptedStartEndsAtOnceAndLeavesNothing interrupts the start at what can be seen of its steps.
func TestAnInterruptedStartEndsAtOnceAndLeavesNothing(t *testing.T) {
	for _, args := range [][]string{{"sandbox", "--port", "0"}, {"sandbox", "--port", "0", "--keep"}, {"demo", "--keep"}} {
		for _, step := range []string{"arauto-*", "*/data/base", "*/data/postmaster.pid", "arauto-*/replica-1.log"} {
			if strings.Contains(step, "/data/") && (args[0] == "demo" || len(args) > 3) {
				step = "*/" + step // the database lies below the folder that is named
			}
			t.Run(strings.Join(args, " ")+" "+step, func(t *testing.T) {
				s := startUp(t, args...)
				s.until(step)
				code, took := s.interrupt()
				require.Equal(t, failed, code, s.out.String())
				if args[0] == "sandbox" {
					require.Equal(t, "sandbox: interrupted while it was starting; nothing of it is left\n", s.out.String())
				} else {
					require.True(t, strings.HasSuffix(s.out.String(), "\ndemo: FAILED setting up: interrupted; nothing is left behind\n"), s.out.String())
				}
				require.Less(t, took, 5*time.Second, "it ends at once")
				s.gone()
			})
		}
	}
}

// TestASandboxHasSettingsOfItsOwnAndSaysThatItsDatabaseEnded: variables that serve would take, or refuse, change nothing.
func TestASandboxHasSettingsOfItsOwnAndSaysThatItsDatabaseEnded(t *testing.T) {
	const unknown = "ARAUTO" + "_NONSENSE" // no setting has it
	t.Setenv(unknown, "1")
	t.Setenv("ARAUTO_WATCH_SOURCES", "/nowhere.yaml")
	t.Setenv("ARAUTO_DATABASE_PASSWORD_FILE", "/nowhere")
	s := startUp(t, "sandbox", "--port", "0", "--keep", "--webhook=")
	s.out.within(t, `(sandbox: ready)`, 2*time.Minute)
	text, err := os.ReadFile(s.until("*/*/data/postmaster.pid"))
	require.NoError(t, err)
	postmaster, err := strconv.Atoi(strings.SplitN(string(text), "\n", 2)[0])
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(postmaster, syscall.SIGKILL))
	_ = s.Wait() // the code says how
	require.Equal(t, failed, s.ProcessState.ExitCode(), s.out.String())
	require.Contains(t, s.out.String(), "these variables have no effect: ARAUTO_DATABASE_PASSWORD_FILE, "+unknown+", ARAUTO_WATCH_SOURCES\n")
	require.Contains(t, s.out.String(), "arauto: the sandbox ends, since its database (PostgreSQL) ended by itself")
	require.Contains(t, s.out.String(), "; the log is in "+s.folder)
}
