package rabbitmq

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/watch/bus/bustest"
)

// requireRabbitMQ is the environment variable that makes the absence of the server a failure.
const requireRabbitMQ = "ARAUTO_REQUIRE_RABBITMQ"

const user = "arauto"

// node is a RabbitMQ of our own: a child of this process with its own folder, ports and port mapper. It shares nothing
// with a RabbitMQ that may run on the machine, and dies with us.
type node struct {
	dir      string
	program  string // the script that becomes the server
	mapper   string // epmd
	password string
	port     string
	tlsPort  string

	management    string // port of the management API in plain text
	managementTLS string // and with TLS

	env      []string
	children []*child

	authority *bustest.Authority // of its certificate, and of its clients'
}

type child struct {
	process *os.Process
	output  *bytes.Buffer
	ended   chan struct{}
}

var shared struct {
	sync.Once
	node *node
	err  error
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

// server is the node of all tests; it starts with the first that wants it.
func server(t *testing.T) *node {
	t.Helper()
	shared.Do(func() { shared.node, shared.err = newNode() })
	if shared.err != nil {
		if os.Getenv(requireRabbitMQ) != "" {
			t.Fatal(shared.err)
		}
		t.Skip(shared.err)
	}
	return shared.node
}

func newNode() (*node, error) {
	program, mapper, err := find()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "rabbit") // it serves all tests and goes in TestMain
	if err != nil {
		return nil, err
	}
	n := &node{dir: dir, program: program, mapper: mapper, password: rand.Text()}
	ports := make([]string, 6)
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return nil, err
		}
	}
	n.port, n.tlsPort, n.management, n.managementTLS = ports[0], ports[1], ports[4], ports[5]
	n.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8",
		"ERL_EPMD_PORT=" + ports[2], "ERL_EPMD_ADDRESS=127.0.0.1", "ERL_EPMD_RELAXED_COMMAND_CHECK=1",
		"RABBITMQ_NODENAME=arauto" + ports[0] + "@localhost", "RABBITMQ_NODE_PORT=" + n.port, "RABBITMQ_DIST_PORT=" + ports[3],
		"RABBITMQ_MNESIA_BASE=" + filepath.Join(dir, "data"), "RABBITMQ_LOG_BASE=" + dir, "RABBITMQ_LOGS=-",
		"RABBITMQ_CONFIG_FILE=" + filepath.Join(dir, "rabbitmq.conf"), "RABBITMQ_CONF_ENV_FILE=" + filepath.Join(dir, "none"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(dir, "plugins"), "RABBITMQ_PID_FILE=" + filepath.Join(dir, "pid"),
		"RABBITMQ_ADVANCED_CONFIG_FILE=" + filepath.Join(dir, "none.config"),
		"NOTIFY_SOCKET=" + filepath.Join(dir, "notify"), // has the script become the server, so that a signal meets it
	}
	if n.authority, err = bustest.NewAuthority(dir); err != nil {
		return nil, err
	}
	if err := n.configure(); err != nil {
		return nil, err
	}
	if _, err := n.spawn(mapper, "-port", ports[2], "-address", "127.0.0.1"); err != nil {
		return nil, err
	}
	return n, n.start()
}

func (n *node) configure() error {
	certificate, key, err := n.authority.Issue("bus")
	if err != nil {
		return err
	}
	lines := []string{
		"listeners.tcp.1 = 127.0.0.1:" + n.port,
		"default_user = " + user, "default_pass = " + n.password,
		"disk_free_limit.absolute = 1MB", "log.console.level = warning",
		"listeners.ssl.1 = 127.0.0.1:" + n.tlsPort,
		"ssl_options.cacertfile = " + n.authority.CA, "ssl_options.certfile = " + certificate, "ssl_options.keyfile = " + key,
		"ssl_options.verify = verify_peer", "ssl_options.fail_if_no_peer_cert = true",
		"management.tcp.ip = 127.0.0.1", "management.tcp.port = " + n.management,
		"management.ssl.ip = 127.0.0.1", "management.ssl.port = " + n.managementTLS,
		"management.ssl.cacertfile = " + n.authority.CA, "management.ssl.certfile = " + certificate, "management.ssl.keyfile = " + key,
	}
	return errors.Join(
		os.WriteFile(filepath.Join(n.dir, "rabbitmq.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o600),
		os.WriteFile(filepath.Join(n.dir, "plugins"), []byte("[rabbitmq_management].\n"), 0o600))
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// spawn starts a child and holds the thread that did, since the child dies with it.
func (n *node) spawn(program string, arguments ...string) (*child, error) {
	c := &child{output: &bytes.Buffer{}, ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer close(c.ended)
		command := exec.CommandContext(context.Background(), program, arguments...)
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

// start starts the server, and returns when it serves.
func (n *node) start() error {
	c, err := n.spawn(n.program)
	if err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(2 * time.Minute); ; {
		if connection, err := n.dial(); err == nil {
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

func (n *node) dial() (*amqp.Connection, error) {
	return amqp.Dial("amqp://" + user + ":" + n.password + "@127.0.0.1:" + n.port + "/")
}

// kill ends the last child started, which is the server, without a word.
func (n *node) kill() {
	c := n.children[len(n.children)-1]
	n.children = n.children[:len(n.children)-1]
	_ = c.process.Kill()
	<-c.ended
}

// stop ends everything.
func (n *node) stop() {
	for len(n.children) > 0 {
		n.kill()
	}
	_ = os.RemoveAll(n.dir)
}

// queueOf is a bustest.Bus: a queue of a test's own at the shared node, with a gate before it that readers go through.
type queueOf struct {
	*node
	name     string
	gate     *bustest.Gate
	password string // the file
	sender   *amqp.Connection
	channel  *amqp.Channel
}

func newQueue(t *testing.T, arguments amqp.Table) *queueOf {
	t.Helper()
	n := server(t)
	q := &queueOf{node: n, name: "core." + rand.Text(), gate: bustest.NewGate(t, "127.0.0.1:"+n.port), password: filepath.Join(t.TempDir(), "password")}
	require.NoError(t, os.WriteFile(q.password, []byte(n.password+"\n"), 0o600))
	q.connect(t)
	_, err := q.channel.QueueDeclare(q.name, true, false, false, false, arguments)
	require.NoError(t, err)
	require.NoError(t, q.channel.QueueBind(q.name, q.name+".#", "amq.topic", false, nil))
	t.Cleanup(func() {
		q.channel.QueueDelete(q.name, false, false, false)
		q.sender.Close()
	})
	return q
}

func (q *queueOf) connect(t *testing.T) {
	t.Helper()
	var err error
	q.sender, err = q.dial()
	require.NoError(t, err)
	q.channel, err = q.sender.Channel()
	require.NoError(t, err)
	require.NoError(t, q.channel.Confirm(false))
}

func (q *queueOf) Cut() { q.gate.Cut() }

func (q *queueOf) Restart(t *testing.T, during func()) {
	q.kill()
	q.sender.Close()
	during()
	require.NoError(t, q.start())
	q.connect(t)
}

func (q *queueOf) Send(t *testing.T, key string, body []byte, header, value string) {
	t.Helper()
	message := amqp.Publishing{Body: body, DeliveryMode: amqp.Persistent, Timestamp: time.Now(), Headers: amqp.Table{}}
	if header != "" {
		message.Headers[header] = value
	}
	confirmed, err := q.channel.PublishWithDeferredConfirmWithContext(t.Context(), "amq.topic", q.name+"."+key, true, false, message)
	require.NoError(t, err)
	ok, err := confirmed.WaitContext(t.Context())
	require.NoError(t, err)
	require.True(t, ok)
}

// Left waits until the server has noticed that nobody reads: only then has it queued everything again.
func (q *queueOf) Left(t *testing.T) int {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); ; {
		queue, err := q.channel.QueueDeclarePassive(q.name, true, false, false, false, nil)
		require.NoError(t, err)
		if queue.Consumers == 0 {
			return queue.Messages
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("the consumer did not go")
		}
	}
}
