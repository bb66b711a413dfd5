package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/lab/port"
	"github.com/arauto/arauto/internal/lab/temppostgres"
)

const (
	deployFolder = "../../docs/operations/deploy"
	runningPage  = "../../docs/operations/running.md"
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}

// machine is a folder that stands for an empty machine of a bank: a release, a database server, and the certificates that the bank
// has. What the page and the unit name is mapped to places in it.
type machine struct {
	t      *testing.T
	dir    string
	server *temppostgres.Server
	places *strings.Replacer
	ops    string // the address of the ops listener
}

func openMachine(t *testing.T) *machine {
	t.Helper()
	server := startBlank(t, temppostgres.Options{Durable: true}) // the product refuses another one in production
	m := &machine{t: t, dir: t.TempDir(), server: server}
	admin := server.URL("postgres")
	u, err := url.Parse(admin)
	require.NoError(t, err)
	internal := port.For(t).Address()
	m.ops = port.For(t).Address()
	of := func(name string) string { return m.path("pki", filepath.FromSlash(name)) }
	m.places = strings.NewReplacer(
		"postgres://postgres@db.example.com:5432/postgres", admin,
		"db.example.com:5432", u.Host, "sslmode=verify-full", "sslmode=disable",
		"10.0.0.5:9443", internal, "10.0.0.5:9090", m.ops,
		"/usr/local/bin/", m.path("bin")+"/", "/etc/systemd/system/", m.path("units")+"/", "/etc/arauto", m.path("etc"),
		"/var/lib/arauto", m.path("state"), "/mnt/worm", m.path("worm"),
		"https://sso.banco.example.com/jwks", of("internal/jwks.json"), "https://auth.banco.example.com/jwks", of("tokens/jwks.json"),
		"https://keystore.example.com/openbanking.jwks", of("directory/jwks.json"),
		"http://crl.example.com/clients.crl", of("crl/clients.crl"), "http://crl.example.com/servers.crl", of("crl/servers.crl"),
	)
	for _, folder := range []string{"bin", "units", "worm", "release"} {
		require.NoError(t, os.Mkdir(m.path(folder), 0o700))
	}
	made, err := pki()
	require.NoError(t, err)
	require.NoError(t, made.Write(m.path("pki"), certs.Content{}))
	self, err := os.Executable()
	require.NoError(t, err)
	m.write("release/arauto-linux-amd64", "#!/bin/sh\n"+envMain+"=1 exec '"+self+"' \"$@\"\n", 0o700)
	for _, name := range []string{"arauto.yaml", "arauto.service"} {
		m.write("release/"+name, m.places.Replace(readFile(t, filepath.Join(deployFolder, name))), 0o600)
	}
	return m
}

func (m *machine) path(parts ...string) string {
	return filepath.Join(append([]string{m.dir}, parts...)...)
}

func (m *machine) write(name, text string, mode os.FileMode) {
	m.t.Helper()
	require.NoError(m.t, os.WriteFile(m.path(name), []byte(text), mode))
}

// certificates puts in place what the bank has beside the product: the files that the table of the page lists.
func (m *machine) certificates() {
	m.t.Helper()
	for to, from := range map[string]string{
		"server.pem": "holder/server.pem", "server.key": "holder/server.key", "internal.pem": "holder/server.pem", "internal.key": "holder/server.key",
		"brseal.key": "holder/brseal.key", "brcac.pem": "holder/brcac.pem", "brcac.key": "holder/brcac.key",
		"client-authorities.pem": "trust/clients.pem", "receiver-roots.pem": "trust/roots.pem",
		"database-ca.pem": "trust/roots.pem",
	} {
		m.write("etc/"+to, readFile(m.t, m.path("pki", filepath.FromSlash(from))), 0o600)
	}
}

// unit is what systemd takes from arauto.service to run it.
type unit struct {
	environment, command []string
	writable             []string // folders outside its state folder
	waits                string   // the exit codes after which it waits for a person
	core                 string   // the size of a core dump
}

// readUnit reads the unit as it was installed.
func (m *machine) readUnit(name string) (u unit) {
	m.t.Helper()
	for line := range strings.SplitSeq(readFile(m.t, name), "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "Environment":
			u.environment = append(u.environment, value)
		case "ExecStartPre", "ExecCondition", "ExecStartPost":
			m.t.Fatalf("%s: RestartPreventExitStatus does not count for it, so a setting that is wrong would start it again for ever", line)
		case "ReadWritePaths":
			for folder := range strings.FieldsSeq(value) {
				u.writable = append(u.writable, strings.TrimPrefix(folder, "-"))
			}
		case "RestartPreventExitStatus":
			u.waits = value
		case "LimitCORE":
			u.core = value
		case "ExecStart":
			u.command = strings.Fields(value)
		}
	}
	require.NotEmpty(m.t, u.command)
	return u
}

// start does what systemctl start does.
func (m *machine) start(u unit) *exec.Cmd {
	m.t.Helper()
	cmd := exec.Command(u.command[0], u.command[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "ARAUTO_PUBLIC_ADDR=127.0.0.1:0"}, u.environment...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(m.t, cmd.Start())
	m.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if m.t.Failed() {
			m.t.Log(log.String())
		}
	})
	return cmd
}

func (m *machine) readiness() (int, string) {
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, "http://"+m.ops+"/readyz", http.NoBody)
	require.NoError(m.t, err)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

// blocks are the commands of a section of a page, in order.
func blocks(t *testing.T, page, section string) string {
	t.Helper()
	_, rest, found := strings.Cut(readFile(t, page), "\n## "+section+"\n")
	require.True(t, found, "no section %q", section)
	rest, _, _ = strings.Cut(rest, "\n## ")
	all := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(rest, -1)
	require.NotEmpty(t, all)
	var script strings.Builder
	for _, b := range all {
		script.WriteString(b[1])
	}
	return script.String()
}

// asRoot stands for what a test may not do to the machine it runs on: it makes no users, gives no file away, and asks us in the
// place of systemd.
const asRoot = `set -euo pipefail
useradd() { :; }
chown() { :; }
runuser() { shift 3; "$@"; }
install() {
	local left=()
	while [ $# -gt 0 ]; do case $1 in -o | -g) shift 2 ;; *) left+=("$1"); shift ;; esac; done
	command install "${left[@]}"
}
systemctl() { echo "$*" >"$SYSTEMCTL"; }
`

// TestDeployThePageRunningIsFollowedWordForWord runs every command of "The first start" in its order, as the page has it, on an empty
// machine. Only hosts and folders are others.
func TestDeployThePageRunningIsFollowedWordForWord(t *testing.T) {
	t.Parallel()
	m := openMachine(t)
	steps := blocks(t, runningPage, "The first start")
	for _, command := range []string{"arauto migrate", "arauto audit register", "arauto check --config", "systemctl enable --now arauto", "/readyz"} {
		require.Contains(t, steps, command)
	}
	before, after, found := strings.Cut(m.places.Replace(steps), "openssl genpkey")
	require.True(t, found)
	environ := []string{"PATH=" + m.path("bin") + ":" + os.Getenv("PATH"), "HOME=" + m.dir, "ARAUTO_PUBLIC_ADDR=127.0.0.1:0", "SYSTEMCTL=" + m.path("systemctl")}
	run := func(script string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash", "-c", asRoot+script)
		cmd.Env, cmd.Dir = environ, m.path("release")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	run(before)
	m.certificates() // "put the files of the table in place"

	require.NoError(t, syscall.Mkfifo(m.path("systemctl"), 0o600))
	orders, err := os.OpenFile(m.path("systemctl"), os.O_RDWR, 0) // it stays open: between two readings an order would have no reader
	require.NoError(t, err)
	defer orders.Close()
	started := make(chan *exec.Cmd, 1)
	go func() {
		defer close(started)
		for lines := bufio.NewScanner(orders); lines.Scan() && lines.Text() != "end"; {
			if lines.Text() == "enable --now arauto" {
				started <- m.start(m.readUnit(m.path("units", "arauto.service")))
			}
		}
	}()
	run("openssl genpkey" + after)
	require.NoError(t, os.WriteFile(m.path("systemctl"), []byte("end\n"), 0o600))
	cmd := <-started
	require.NotNil(t, cmd, "systemctl enable was not called")
	code, text := m.readiness()
	require.Equal(t, http.StatusOK, code, text)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), "a drain ends with exit code 0")
}

// install puts in place what steps 2 and 3 of the page do.
func (m *machine) install() {
	m.t.Helper()
	require.NoError(m.t, os.Mkdir(m.path("etc"), 0o700))
	m.certificates()
	for name, from := range map[string]string{
		"bin/arauto": "arauto-linux-amd64", "etc/arauto.yaml": "arauto.yaml", "units/arauto.service": "arauto.service",
	} {
		m.write(name, readFile(m.t, m.path("release", from)), 0o700)
	}
}

// TestDeployTheUnitWaitsForAPersonWhenASettingIsWrong: the exit code is that of the unit's own command, and the unit knows it.
func TestDeployTheUnitWaitsForAPersonWhenASettingIsWrong(t *testing.T) {
	t.Parallel()
	m := openMachine(t)
	m.install()
	u := m.readUnit(m.path("units", "arauto.service"))
	require.NoError(t, os.Remove(m.path("etc", "brcac.pem")))
	cmd := m.start(u)
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	require.Equal(t, u.waits, strconv.Itoa(exit.ExitCode()))
}

// TestDeployTheUnitStartsAgainAfterACrash: a Go process that crashes ends with 2, as one whose settings are wrong does, unless its
// environment asks for a signal.
func TestDeployTheUnitStartsAgainAfterACrash(t *testing.T) {
	t.Parallel()
	m := &machine{t: t}
	u := m.readUnit(filepath.Join(deployFolder, "arauto.service"))
	require.Equal(t, "0", u.core, "a core dump would hold the keys")
	self, err := os.Executable()
	require.NoError(t, err)
	u.command = []string{"sh", "-c", `ulimit -c "$0" && exec "$1"`, u.core, self}
	ofUnit := u.environment
	for _, crash := range []string{"panic", "runtime"} {
		end := func(environment ...string) syscall.WaitStatus {
			u.environment = slices.Concat(environment, []string{envCrash + "=" + crash})
			var exit *exec.ExitError
			require.ErrorAs(t, m.start(u).Wait(), &exit)
			return exit.Sys().(syscall.WaitStatus)
		}
		require.Equal(t, u.waits, strconv.Itoa(end().ExitStatus()), "%s: without the unit's environment", crash)
		status := end(ofUnit...)
		require.True(t, status.Signaled(), "%s: %d", crash, status.ExitStatus())
		require.Equal(t, syscall.SIGABRT, status.Signal(), crash)
	}
}

// TestDeployTheUnitLetsServeWriteWhereTheSettingsSay: everything else is read-only for it.
func TestDeployTheUnitLetsServeWriteWhereTheSettingsSay(t *testing.T) {
	t.Parallel()
	m := openMachine(t)
	u := m.readUnit(m.path("release", "arauto.service"))
	cfg, err := config.Read(m.path("release", "arauto.yaml"), u.environment)
	require.NoError(t, err)
	require.NotEmpty(t, cfg.Log.AnchorFile)
	require.Contains(t, u.writable, filepath.Dir(cfg.Log.AnchorFile))
}

// TestDeployTheSystemdUnitWaitsForItsDatabase starts the unit while there is no database, and brings the database later.
func TestDeployTheSystemdUnitWaitsForItsDatabase(t *testing.T) {
	t.Parallel()
	m := openMachine(t)
	m.install()
	steps := m.places.Replace(blocks(t, runningPage, "The first start"))
	prepare := exec.CommandContext(t.Context(), "bash", "-c", asRoot+m.databaseSteps(steps))
	prepare.Env, prepare.Dir = []string{"PATH=" + m.path("bin") + ":" + os.Getenv("PATH"), "HOME=" + m.dir}, m.path("release")
	out, err := prepare.CombinedOutput()
	require.NoError(t, err, "%s", out)

	require.NoError(t, m.server.Halt())
	cmd := m.start(m.readUnit(m.path("units", "arauto.service")))
	require.Eventually(t, func() bool { code, _ := m.readiness(); return code == http.StatusServiceUnavailable }, time.Minute, 20*time.Millisecond)
	_, text := m.readiness()
	require.Contains(t, text, "database")
	require.NoError(t, m.server.Restart(context.WithoutCancel(t.Context())))
	require.Eventually(t, func() bool { code, _ := m.readiness(); return code == http.StatusOK }, time.Minute, 20*time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait())
}

// databaseSteps are those of the page that make the database and the keys.
func (m *machine) databaseSteps(steps string) string {
	m.t.Helper()
	begin, end := strings.Index(steps, "psql "), strings.Index(steps, "useradd")
	keys, last := strings.Index(steps, "openssl genpkey"), strings.Index(steps, "runuser")
	require.True(m.t, begin >= 0 && begin < end && end < keys && keys < last)
	return steps[begin:end] + steps[keys:last]
}

// TestDeployTheUnitIsValid has systemd judge the unit.
func TestDeployTheUnitIsValid(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("ARAUTO_REQUIRE_SYSTEMD") != "" {
			t.Fatal(err)
		}
		t.Skip("systemd-analyze is not there: ", err)
	}
	file := filepath.Join(t.TempDir(), "arauto.service")
	text := strings.ReplaceAll(readFile(t, filepath.Join(deployFolder, "arauto.service")), "/usr/local/bin/arauto", "/bin/true")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out), "no complaint")
	require.NoError(t, os.WriteFile(file, []byte(text+"\n[Service]\nNoNewPriviliges=yes\n"), 0o600))
	out, _ = exec.CommandContext(t.Context(), analyze, "verify", "--man=no", file).CombinedOutput()
	require.Contains(t, string(out), "NoNewPriviliges", "it judges")
}

// TestDeployEverySampleOfSettingsIsTaken tries the settings of each way of deployment, with the files that they name.
func TestDeployEverySampleOfSettingsIsTaken(t *testing.T) {
	t.Parallel()
	m := openMachine(t)
	require.NoError(t, os.Mkdir(m.path("etc"), 0o700))
	m.certificates()
	key := exec.CommandContext(t.Context(), "openssl", "genpkey", "-algorithm", "ed25519", "-out", m.path("etc", "log.key"))
	require.NoError(t, key.Run())
	require.NoError(t, os.Chmod(m.path("etc", "log.key"), 0o600))
	m.write("etc/database-password", "x\n", 0o600)

	page := regexp.MustCompile("(?s)```yaml\n(profile: production.*?)```").FindStringSubmatch(readFile(t, runningPage))
	require.NotNil(t, page)
	machine := readFile(t, filepath.Join(deployFolder, "arauto.yaml"))
	require.Equal(t, page[1], machine, "the page and the file of the release are one")

	var chart struct {
		Settings yaml.Node `yaml:"settings"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(readFile(t, filepath.Join(deployFolder, "helm", "arauto", "values.yaml"))), &chart))
	ofChart, err := yaml.Marshal(&chart.Settings)
	require.NoError(t, err)
	for name, text := range map[string]string{
		"the page and the release": machine,
		"the Kustomize base":       readFile(t, filepath.Join(deployFolder, "kustomize", "base", "arauto.yaml")),
		"the Helm chart":           string(ofChart),
	} {
		t.Run(name, func(t *testing.T) {
			text = strings.NewReplacer("/etc/arauto-database/password", m.path("etc", "database-password"), "/etc/arauto-keys", m.path("etc"),
				"&sslrootcert=/etc/arauto-keys/database-ca.pem", "").Replace(text)
			m.write("settings.yaml", m.places.Replace(text), 0o600)
			got := call(t, time.Minute, []string{"PATH=" + os.Getenv("PATH")}, "check", "--offline", "--config", m.path("settings.yaml"))
			require.Equal(t, done, got.code, got.errors)
			require.Contains(t, got.out, "check: ok")
		})
	}
}
