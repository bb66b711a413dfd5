package seal

import (
	"crypto"
	"crypto/ed25519"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/signer"
)

// openLogKey prepares the key that the settings name: a file with the private key, or a process that has it. An observer is told of
// each signature of that process; nil: nobody is.
func openLogKey(c *config.Config, observe func(time.Duration, error)) (*audit.Signer, error) {
	var key crypto.Signer
	var err error
	switch {
	case c.Log.Agent != "":
		key, err = agentLogKey(c.Log.Agent, c.Log.Key)
	case c.Log.Signer != "":
		key, err = remoteLogKey(c.Log.Signer, c.Log.Key)
	default:
		return readLogKey(c.Log.Key)
	}
	if err != nil {
		return nil, err
	}
	if observe != nil {
		key = signer.Observed{Signer: key, Observe: observe}
	}
	return audit.NewSigner(key), nil
}

// logSocket is the socket of the process that has the log's key, with its setting; empty: the key is in a file.
func logSocket(c *config.Config) (setting, socket string) {
	switch {
	case c.Log.Agent != "":
		return "log.agent", c.Log.Agent
	case c.Log.Signer != "":
		return "log.signer", c.Log.Signer
	}
	return "", ""
}

// TrySigner has the process that has the log's key make a trial. Without such a process it does nothing.
func (w *Sealer) TrySigner() error {
	if _, socket := logSocket(w.cfg); socket == "" {
		return nil
	}
	return w.key.Try()
}

// RemoteKey returns whether the log's key is in another process.
func (w *Sealer) RemoteKey() bool { _, socket := logSocket(w.cfg); return socket != "" }

// AgentKey is the log's key in an SSH agent behind a Unix socket, by its public half in a PEM file. It asks the agent at each
// signature, for 5 s at most, so an agent that restarts needs nothing from us. Only the file is read now.
func AgentKey(socket, publicFile string) (*audit.Signer, error) {
	key, err := agentLogKey(socket, publicFile)
	if err != nil {
		return nil, err
	}
	return audit.NewSigner(key), nil
}

// SignerKey is the log's key in a signer behind a Unix socket (package signer), by its public half in a PEM file. Only the file is read
// now.
func SignerKey(socket, publicFile string) (*audit.Signer, error) {
	key, err := remoteLogKey(socket, publicFile)
	if err != nil {
		return nil, err
	}
	return audit.NewSigner(key), nil
}

func agentLogKey(socket, publicFile string) (crypto.Signer, error) {
	public, err := readLogPublic(publicFile, "log.agent")
	if err != nil {
		return nil, err
	}
	return &agentKey{socket, public}, nil
}

func remoteLogKey(socket, publicFile string) (crypto.Signer, error) {
	public, err := readLogPublic(publicFile, "log.signer")
	if err != nil {
		return nil, err
	}
	return signer.NewKey(socket, public)
}

// readLogPublic reads the public half of a key that the process of a setting has.
func readLogPublic(file, setting string) (ed25519.PublicKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	public, err := audit.ParsePublic(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; with %s it names the public half", file, err, setting)
	}
	return public, nil
}

// agentTimeout bounds one signature.
const agentTimeout = 5 * time.Second

// agentKey is a crypto.Signer.
type agentKey struct {
	socket string
	public ed25519.PublicKey
}

// Public implements crypto.Signer.
func (a *agentKey) Public() crypto.PublicKey { return a.public }

// Sign implements crypto.Signer: it signs the message itself, as Ed25519 does.
func (a *agentKey) Sign(_ io.Reader, message []byte, _ crypto.SignerOpts) ([]byte, error) {
	key, err := ssh.NewPublicKey(a.public)
	if err != nil {
		return nil, fmt.Errorf("the log's key: %w", err)
	}
	conn, err := net.DialTimeout("unix", a.socket, agentTimeout) //nolint:noctx // crypto.Signer has no context; the time is bounded
	if err != nil {
		return nil, fmt.Errorf("the agent of the log's key does not answer: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(agentTimeout)); err != nil {
		return nil, fmt.Errorf("the agent of the log's key: %w", err)
	}
	signature, err := agent.NewClient(conn).Sign(key, message)
	if err != nil {
		return nil, fmt.Errorf("the agent of the log's key did not sign: %w", err)
	}
	return signature.Blob, nil
}
