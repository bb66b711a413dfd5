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
)

// openLogKey prepares the key that the settings name: a file with the private key, or an agent that has it.
func openLogKey(c *config.Config) (*audit.Signer, error) {
	if c.Log.Agent == "" {
		return readLogKey(c.Log.Key)
	}
	return AgentKey(c.Log.Agent, c.Log.Key)
}

// AgentKey is the log's key in an SSH agent behind a Unix socket, by its public half in a PEM file. It asks the agent at each
// signature, for 5 s at most, so an agent that restarts needs nothing from us. Only the file is read now.
func AgentKey(socket, publicFile string) (*audit.Signer, error) {
	text, err := os.ReadFile(publicFile)
	if err != nil {
		return nil, err
	}
	public, err := audit.ParsePublic(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; with log.agent it names the public half", publicFile, err)
	}
	return audit.NewSigner(&agentKey{socket, public}), nil
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
