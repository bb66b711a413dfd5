package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// guides are the pages of initiators' developers by language.
var guides = map[string]string{"pt": "guia-iniciadora.md", "en": "initiators.md"}

// commandsOf returns the lines of a guide's shell blocks without their comments, in their order.
func commandsOf(t *testing.T, guide string) (commands []string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", guide))
	require.NoError(t, err)
	for _, block := range regexp.MustCompile("(?ms)^```bash\n(.*?)^```$").FindAllSubmatch(page, -1) {
		for line := range strings.Lines(string(block[1])) {
			if line, _, _ = strings.Cut(line, " #"); strings.TrimSpace(line) != "" {
				commands = append(commands, strings.TrimSpace(line))
			}
		}
	}
	return commands
}

// stranger is an empty folder and shells in it, in which arauto is this build.
type stranger struct {
	t      *testing.T
	folder string
	env    []string
}

func newStranger(t *testing.T) *stranger {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	bin, home := t.TempDir(), t.TempDir()
	require.NoError(t, os.Symlink(self, filepath.Join(bin, "arauto")))
	env := slices.DeleteFunc(os.Environ(), func(one string) bool {
		name, _, _ := strings.Cut(one, "=")
		return slices.Contains([]string{"HOME", "XDG_CACHE_HOME", "PATH", "LANG", "LC_ALL", "LC_MESSAGES"}, name)
	})
	return &stranger{t, t.TempDir(), append(env, "HOME="+home, "PATH="+bin+":"+os.Getenv("PATH"), "LANG=pt_BR.UTF-8", envMain+"=1")}
}

// terminal types a command that goes on, and ends it with Ctrl-C when the test is over.
func (s *stranger) terminal(command string) *lines {
	s.t.Helper()
	out := &lines{grown: make(chan struct{}, 1)}
	cmd := exec.CommandContext(s.t.Context(), "sh", "-c", "exec "+command)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.folder, s.env, out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = time.Minute
	require.NoError(s.t, cmd.Start())
	s.t.Cleanup(func() { _ = cmd.Wait() }) // its context has ended: an interrupted command is no failure
	return out
}

// types types a command and waits for its end.
func (s *stranger) types(command string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "sh", "-c", command)
	cmd.Dir, cmd.Env = s.folder, s.env
	out, err := cmd.CombinedOutput()
	require.NoError(s.t, err, "%s: %s", command, out)
	return string(out)
}

// portsOf claims the ports of the guide for this test, before other tests of the same sort on this machine.
func portsOf(t *testing.T, ports ...int) {
	t.Helper()
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "arauto-guide-test.lock"), os.O_CREATE|os.O_RDWR, 0o666) //nolint:usetesting // other tests of this machine look there as well
	require.NoError(t, err)
	t.Cleanup(func() { _ = lock.Close() })
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	for _, port := range ports {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			if os.Getenv("ARAUTO_REQUIRE_GUIDE") == "1" {
				t.Fatalf("the guide needs port %d: %v", port, err)
			}
			t.Skipf("port %d, which the guide uses, is taken on this machine: %v", port, err)
		}
		require.NoError(t, l.Close())
	}
}

// TestTheCommandsOfTheGuideLeadToAReceiver types what both guides say, in an empty folder, on the ports that they name.
func TestTheCommandsOfTheGuideLeadToAReceiver(t *testing.T) {
	commands := commandsOf(t, guides["pt"])
	english := commandsOf(t, guides["en"])
	placeholder := regexp.MustCompile(`\b(ID_DO_PAGAMENTO|PAYMENT_ID)\b`)
	for i := range english {
		english[i] = placeholder.ReplaceAllString(english[i], "ID")
	}
	for i := range commands {
		commands[i] = placeholder.ReplaceAllString(commands[i], "ID")
	}
	require.Equal(t, []string{
		"go install github.com/arauto/arauto/cmd/arauto@latest", "arauto sandbox", "arauto listen --forward http://localhost:3000/hook",
		"arauto trigger pix-payment ACSC", "arauto poll ID",
	}, commands)
	require.Equal(t, commands, english, "the guides say the same")
	program, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}} {{.Name}}", ".").CombinedOutput()
	require.NoError(t, err, "%s", program)
	require.Equal(t, "github.com/arauto/arauto/cmd/arauto main", strings.TrimSpace(string(program)), "go install finds the program by this path")

	portsOf(t, 8440, 8441, 8444, 3000)
	app := make(chan string, 16)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "localhost:3000")
	require.NoError(t, err)
	server := &http.Server{Handler: appHandler(app), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // until it is closed
	t.Cleanup(func() { _ = server.Close() })

	s := newStranger(t)
	began := time.Now()
	box := s.terminal(commands[1])
	box.within(t, `(sandbox: pronto)`, 2*time.Minute)
	ready := time.Since(began)
	receiver := s.terminal(commands[2])
	receiver.until(t, `(listen: https://)`)
	made := s.types(commands[3])
	id := regexp.MustCompile(`pix-payment (\S+)`).FindStringSubmatch(made)
	require.NotNil(t, id, made)
	select {
	case path := <-app:
		require.Equal(t, "/hook/open-banking/webhook/v1/payments/v5/pix/payments/"+id[1], path)
	case <-time.After(20 * time.Second):
		t.Fatal("the local app got nothing:", receiver, box)
	}
	arrived := time.Since(began)
	polled := s.types(strings.Replace(commands[4], "ID", id[1], 1))
	require.Contains(t, polled, `"status": "ACSC"`)
	require.Contains(t, polled, "a assinatura confere")
	left, err := os.ReadDir(s.folder)
	require.NoError(t, err)
	require.Empty(t, left, "nothing is written where the commands are typed")
	t.Logf("sandbox ready after %s, the local app has its notification after %s", ready.Round(100*time.Millisecond), arrived.Round(100*time.Millisecond))
}
