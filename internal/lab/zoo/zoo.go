// Package zoo starts real web servers as receivers of notifications, for tests: nginx, Apache, HAProxy, lighttpd and
// Caddy from Debian's packages, and the TLS servers of Node and Python.
//
// Each demands a client certificate, ends idle connections after a given time, and answers by path: see Behaviour. What
// a proxy cannot answer by itself comes from a Backend behind it, as in a bank. Nothing is installed: packages are
// unpacked into the user's cache folder, and only on request. The package makes no certificates and knows nothing of
// how attempts are made.
package zoo

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/arauto/arauto/internal/lab/port"
)

// Receiver is one kind of server.
type Receiver string

// The receivers.
const (
	Nginx    Receiver = "nginx"
	Apache   Receiver = "apache"
	HAProxy  Receiver = "haproxy"
	Lighttpd Receiver = "lighttpd"
	Caddy    Receiver = "caddy"
	Node     Receiver = "node"
	Python   Receiver = "python"
)

// Receivers lists them all.
func Receivers() []Receiver { return []Receiver{Nginx, Apache, HAProxy, Lighttpd, Caddy, Node, Python} }

// Behaviour is how a receiver answers requests whose path begins with "/" and the behaviour's name.
type Behaviour string

// The behaviours. Every 202 echoes the interaction id.
const (
	Good        Behaviour = "good"         // 202 without a body
	Chunked     Behaviour = "chunked"      // 202 with a body in chunks
	Close       Behaviour = "close"        // 202 with Connection: close
	SilentClose Behaviour = "silent-close" // 202, and the connection ends without announcement
	HTTP10      Behaviour = "http10"       // the application answers with HTTP/1.0 and closes
	Redirect    Behaviour = "redirect"     // 301 to RedirectsTo
)

// RedirectsTo is where redirections lead.
const RedirectsTo = "https://elsewhere.example.com/"

// Behaviours lists what a receiver can do. A proxy cannot be told to close without announcing it.
func (r Receiver) Behaviours() []Behaviour {
	list := []Behaviour{Good, Chunked, Close, HTTP10, Redirect}
	if r == Node || r == Python {
		list = append(list, SilentClose)
	}
	return list
}

// AnnouncesKeepAlive tells a receiver that announces its idle limit in the Keep-Alive header. Apache does it only towards
// clients that send "Connection: keep-alive", which the contract does not allow us.
func (r Receiver) AnnouncesKeepAlive() bool { return r == Node }

// Options say how a receiver is started.
type Options struct {
	Dir         string        // an empty folder for configuration and temporary files
	Certificate string        // PEM file: the server's certificate and its chain
	Key         string        // PEM file of its key
	ClientCAs   string        // PEM file: the authorities whose client certificates are accepted
	KeepAlive   time.Duration // how long an idle connection stays open, in whole seconds
	Backend     string        // host:port of a Backend
	Front       *Front        // nil: a receiver
	PerLocation string        // Apache: it demands a client certificate for a location only, in this version of TLS, such as TLSv1.3; "": in each handshake
}

// Running is a receiver that listens.
type Running struct {
	Port int // on 127.0.0.1

	kept  *port.Kept
	cmd   *exec.Cmd
	said  *output
	ended chan struct{} // closed when the process has ended
}

// ErrMissing says that a receiver is not on this machine.
var ErrMissing = errors.New("the program is not installed")

var (
	//go:embed server.js
	nodeServer string
	//go:embed server.py
	pythonServer string
)

// Start runs a program as a receiver and returns when it accepts connections. It is stopped by Stop, and by the kernel
// when this process ends.
func (p Program) Start(ctx context.Context, o Options) (*Running, error) {
	var err error
	for range 3 { // where a port cannot be kept, it may be taken when the server comes to it
		var r *Running
		if r, err = p.start(ctx, o); err == nil {
			return r, nil
		}
	}
	return nil, err
}

func (p Program) start(ctx context.Context, o Options) (*Running, error) {
	kept, err := port.Keep()
	if err != nil {
		return nil, err
	}
	command, err := p.command(o, kept.Number())
	if err != nil {
		return nil, errors.Join(err, kept.Release())
	}
	r := &Running{Port: kept.Number(), kept: kept, said: new(output), ended: make(chan struct{})}
	r.cmd = exec.CommandContext(context.WithoutCancel(ctx), command[0], command[1:]...) //nolint:gosec // found by Find
	r.cmd.Dir = o.Dir
	r.cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+p.libraries, "XDG_CONFIG_HOME="+o.Dir, "XDG_DATA_HOME="+o.Dir)
	r.cmd.Stdout, r.cmd.Stderr = r.said, r.said
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	r.cmd.WaitDelay = 5 * time.Second
	if err := r.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", p.Receiver, err), kept.Release())
	}
	go func() {
		_ = r.cmd.Wait()
		close(r.ended)
	}()
	if err := r.await(ctx); err != nil {
		r.Stop()
		return nil, fmt.Errorf("start %s: %w: %s", p.Receiver, err, r.said)
	}
	return r, nil
}

// await returns when the server accepts connections.
func (r *Running) await(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.ended:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		c, err := new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", r.Port))
		if err == nil {
			return c.Close()
		}
	}
}

// Stop ends the server and those it started, and returns when it has ended.
func (r *Running) Stop() {
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
	<-r.ended
	_ = r.kept.Release()
}

// Log is what the server wrote so far.
func (r *Running) Log() string { return r.said.String() }

// Base is the registered address of a receiver that behaves so.
func (r *Running) Base(b Behaviour) string {
	return "https://" + net.JoinHostPort("localhost", fmt.Sprint(r.Port)) + "/" + string(b)
}

// output collects what a process writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String is everything written so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// splitPEM writes each certificate of a file into one of its own, for servers that read only the first.
func splitPEM(file, dir string) ([]string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var files []string
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		name := filepath.Join(dir, fmt.Sprintf("authority-%d.pem", len(files)))
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil { //nolint:gosec // the folder is the caller's
			return nil, err
		}
		files = append(files, name)
	}
	return files, nil
}

// joinFiles writes the content of several files into one.
func joinFiles(to string, from ...string) error {
	var all strings.Builder
	for _, name := range from {
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		all.Write(content)
		all.WriteByte('\n')
	}
	return os.WriteFile(to, []byte(all.String()), 0o600)
}
