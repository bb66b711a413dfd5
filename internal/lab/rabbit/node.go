// Package rabbit starts a RabbitMQ server of a test's own from the machine's binaries. It shares nothing with a server that
// may run on the machine, and ends with the process that started it. Tests of the source of type rabbitmq and of its sample use it.
package rabbit

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/arauto/arauto/internal/lab/bustest"
	"github.com/arauto/arauto/internal/lab/port"
)

// Require is the environment variable that makes the absence of the server a failure of the tests that need it.
const Require = "ARAUTO_REQUIRE_RABBITMQ"

// User is the account of the node: an administrator.
const User = "arauto"

// Node is a RabbitMQ of our own: a child of this process with its own folder, ports and port mapper. It shares nothing
// with a RabbitMQ that may run on the machine, and dies with us.
type Node struct {
	Password      string // of User
	Port          string // AMQP in plain text
	TLSPort       string // AMQP with TLS; the server asks for a client certificate
	Management    string // port of the management API in plain text
	ManagementTLS string // and with TLS

	Authority *bustest.Authority // of its certificate, and of its clients'

	dir      string
	program  string // the script that becomes the server
	mapper   string // epmd
	env      []string
	children []*child
	ports    []*port.Kept
}

type child struct {
	process *os.Process
	output  *bytes.Buffer
	ended   chan struct{}
}

// find looks for the server where distributions put it. The wrapper in sbin would change the account; what it wraps does
// not.
func find() (program, mapper string, err error) {
	for _, name := range []string{"/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/homebrew/sbin/rabbitmq-server", "/usr/local/sbin/rabbitmq-server"} {
		if _, err := os.Stat(name); err == nil {
			program = name
			break
		}
	}
	if program == "" {
		return "", "", errors.New("there is no rabbitmq-server; on Debian: apt-get install --no-install-recommends rabbitmq-server")
	}
	mapper, err = exec.LookPath("epmd")
	return program, mapper, err
}

// New starts a node in a folder of its own and returns when it serves. It goes with Stop.
func New() (*Node, error) {
	program, mapper, err := find()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "rabbit") // Stop removes it
	if err != nil {
		return nil, err
	}
	n := &Node{dir: dir, program: program, mapper: mapper, Password: rand.Text()}
	ports := make([]string, 6)
	for i := range ports {
		kept, err := port.Keep()
		if err != nil {
			return n, err
		}
		n.ports = append(n.ports, kept)
		ports[i] = strconv.Itoa(kept.Number())
	}
	n.Port, n.TLSPort, n.Management, n.ManagementTLS = ports[0], ports[1], ports[4], ports[5]
	n.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8",
		"ERL_EPMD_PORT=" + ports[2], "ERL_EPMD_ADDRESS=127.0.0.1", "ERL_EPMD_RELAXED_COMMAND_CHECK=1",
		"RABBITMQ_NODENAME=arauto" + ports[0] + "@localhost", "RABBITMQ_NODE_PORT=" + n.Port, "RABBITMQ_DIST_PORT=" + ports[3],
		"RABBITMQ_MNESIA_BASE=" + filepath.Join(dir, "data"), "RABBITMQ_LOG_BASE=" + dir, "RABBITMQ_LOGS=-",
		"RABBITMQ_CONFIG_FILE=" + filepath.Join(dir, "rabbitmq.conf"), "RABBITMQ_CONF_ENV_FILE=" + filepath.Join(dir, "none"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(dir, "plugins"), "RABBITMQ_PID_FILE=" + filepath.Join(dir, "pid"),
		"RABBITMQ_ADVANCED_CONFIG_FILE=" + filepath.Join(dir, "none.config"),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+sbwt none +sbwtdcpu none +sbwtdio none", // processors that wait are others'
		"NOTIFY_SOCKET=" + filepath.Join(dir, "notify"),                               // has the script become the server, so that a signal meets it
	}
	if n.Authority, err = bustest.NewAuthority(dir); err != nil {
		return nil, err
	}
	if err := n.configure(); err != nil {
		return nil, err
	}
	if _, err := n.spawn(mapper, "-port", ports[2], "-address", "127.0.0.1"); err != nil {
		return nil, err
	}
	return n, n.Start()
}

func (n *Node) configure() error {
	certificate, key, err := n.Authority.Issue("bus")
	if err != nil {
		return err
	}
	lines := []string{
		"listeners.tcp.1 = 127.0.0.1:" + n.Port,
		"default_user = " + User, "default_pass = " + n.Password,
		"disk_free_limit.absolute = 1MB", "log.console.level = warning",
		"collect_statistics_interval = 500", // ms until the management API shows a queue's policy; 5 s by default
		"listeners.ssl.1 = 127.0.0.1:" + n.TLSPort,
		"ssl_options.cacertfile = " + n.Authority.CA, "ssl_options.certfile = " + certificate, "ssl_options.keyfile = " + key,
		"ssl_options.verify = verify_peer", "ssl_options.fail_if_no_peer_cert = true",
		"management.tcp.ip = 127.0.0.1", "management.tcp.port = " + n.Management,
		"management.ssl.ip = 127.0.0.1", "management.ssl.port = " + n.ManagementTLS,
		"management.ssl.cacertfile = " + n.Authority.CA, "management.ssl.certfile = " + certificate, "management.ssl.keyfile = " + key,
	}
	return errors.Join(
		os.WriteFile(filepath.Join(n.dir, "rabbitmq.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o600),
		os.WriteFile(filepath.Join(n.dir, "plugins"), []byte("[rabbitmq_management].\n"), 0o600))
}

// spawn starts a child and holds the thread that did, since the child dies with it.
func (n *Node) spawn(program string, arguments ...string) (*child, error) {
	c := &child{output: &bytes.Buffer{}, ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer close(c.ended)
		command := exec.CommandContext(context.Background(), program, arguments...) //nolint:gosec // the server and its port mapper
		command.Dir, command.Env, command.Stdout, command.Stderr = n.dir, n.env, c.output, c.output
		command.SysProcAttr = processAttributes()
		command.WaitDelay = time.Second
		err := command.Start()
		c.process = command.Process
		if started <- err; err == nil {
			_ = command.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	n.children = append(n.children, c)
	return c, nil
}

// Start starts the server, and returns when it serves.
func (n *Node) Start() error {
	c, err := n.spawn(n.program)
	if err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(2 * time.Minute); ; {
		if connection, err := n.Dial(); err == nil {
			return connection.Close()
		}
		select {
		case <-c.ended:
			return fmt.Errorf("rabbitmq-server ended: %s", c.output)
		case <-limit:
			return errors.New("rabbitmq-server did not begin to serve within two minutes")
		case <-tick.C:
		}
	}
}

// Dial opens a connection of User without TLS.
func (n *Node) Dial() (*amqp.Connection, error) {
	return amqp.Dial("amqp://" + User + ":" + n.Password + "@127.0.0.1:" + n.Port + "/")
}

// Kill ends the last child started, which is the server, without a word.
func (n *Node) Kill() {
	c := n.children[len(n.children)-1]
	n.children = n.children[:len(n.children)-1]
	_ = c.process.Kill()
	<-c.ended
}

// Stop ends everything.
func (n *Node) Stop() {
	for len(n.children) > 0 {
		n.Kill()
	}
	for _, kept := range n.ports {
		_ = kept.Release()
	}
	_ = os.RemoveAll(n.dir)
}
