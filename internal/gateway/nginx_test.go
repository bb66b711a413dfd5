package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/keystock"
	"github.com/arauto/arauto/internal/lab/mtlstest"
)

// requireNginx makes the test fail rather than be skipped when there is no nginx, and lets it fetch Debian's package:
// nothing is installed by a test that nobody asked to.
const requireNginx = "ARAUTO_REQUIRE_NGINX"

// nginxProgram finds nginx, or unpacks it from Debian's package into a folder of the test.
func nginxProgram(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv(requireNginx) == "" {
		t.Skip("nginx is not installed; " + requireNginx + "=1 fetches it where apt-get can")
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	run := func(name string, args ...string) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s %v: %s", name, args, out)
	}
	if os.Geteuid() == 0 {
		run("apt-get", "update", "-q")
	}
	run("apt-get", "download", "-q", "nginx")
	packages, err := filepath.Glob(filepath.Join(dir, "nginx_*.deb"))
	require.NoError(t, err)
	require.Len(t, packages, 1)
	run("dpkg", "-x", packages[0], "root")
	return filepath.Join(dir, "root", "usr", "sbin", "nginx")
}

// startNginx runs nginx as an initiator's endpoint: it demands a client certificate of the authorities given, answers 202
// and echoes the interaction id.
func startNginx(t *testing.T, program string, leaf certs.Leaf, authorities ...*certs.CA) (port int) {
	t.Helper()
	dir := t.TempDir()
	files := mtlstest.Write(t, leaf)
	trusted := mtlstest.AnchorsFile(t, authorities...)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	port = listener.Addr().(*net.TCPAddr).Port
	inherited, err := listener.(*net.TCPListener).File() // nginx listens on it, so that nobody else gets the port before
	require.NoError(t, err)
	defer inherited.Close()
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	config := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
daemon off; worker_processes 1; pid %[1]s/pid; error_log stderr error; %[6]s
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  server {
    listen 127.0.0.1:%[2]d ssl;
    ssl_certificate %[3]s; ssl_certificate_key %[4]s;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_client_certificate %[5]s; ssl_verify_client on; ssl_verify_depth 2;
    location / { add_header x-webhook-interaction-id $http_x_webhook_interaction_id always; return 202; }
  }
}
`, dir, port, files.Cert, files.Key, trusted, user), 0o600))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, program, "-p", dir, "-c", config)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it ends its worker
	cmd.WaitDelay = 5 * time.Second
	var said strings.Builder
	cmd.Stderr = &said
	cmd.ExtraFiles, cmd.Env = []*os.File{inherited}, append(os.Environ(), "NGINX=3;")
	require.NoError(t, cmd.Start())
	roots := mtlstest.Roots(t).Pool()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { cancel(); <-ended })
	require.Eventually(t, func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("nginx ended: %v: %s", err, said.String())
		default:
		}
		c, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{RootCAs: roots, ServerName: "localhost"})
		if err != nil {
			return false
		}
		return c.Close() == nil
	}, time.Minute, 20*time.Millisecond)
	return port
}

// TestNginxAsReceiverAcceptsUsAndItsComplaintsAreExplained: with ssl_verify_client on, nginx finishes the handshake with
// every client, and complains with a 400 afterwards; the attempt says what that means.
func TestNginxAsReceiverAcceptsUsAndItsComplaintsAreExplained(t *testing.T) {
	program := nginxProgram(t)
	h := open(t)
	base := func(port int, is certs.Participant) string {
		return fmt.Sprintf("https://localhost:%d/%s", port, is.Name)
	}
	alfa, beta := certs.DefaultAlfa, certs.DefaultBeta
	good := startNginx(t, program, h.leaf(h.pki.InitiatorServer(alfa)), h.pki.ClientCA, h.pki.Root)
	require.NoError(t, h.register(alfa, base(good, alfa)))
	for range 3 {
		_, a := h.change(alfa)
		n := h.settled(a, 1)
		require.Equal(t, "delivered", n.State, detail(n))
		require.Equal(t, "delivered", *n.Attempts[0].Outcome)
		require.Equal(t, "match", *n.Attempts[0].Echo)
	}

	other, err := certs.New(certs.Options{SharedLeafKey: true, NewKey: keystock.New})
	require.NoError(t, err)
	bad := startNginx(t, program, h.leaf(h.pki.InitiatorServer(beta)), other.Root)
	require.NoError(t, h.register(beta, base(bad, beta)))
	_, a := h.change(beta)
	n := h.settled(a, 1)
	require.Equal(t, "pending", n.State)
	require.Equal(t, "refused", *n.Attempts[0].Outcome)
	require.Equal(t, 400, *n.Attempts[0].HTTPStatus)
	require.Contains(t, detail(n), "the receiver says that it got no client certificate it accepts")
	require.Contains(t, detail(n), "nginx")
}
