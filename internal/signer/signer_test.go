package signer

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/lab/keystock"
)

var ps256 = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}

// socketPath is a path that is short enough for a socket.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sg") //nolint:usetesting // the path of a socket is short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// serve answers at a socket until stop is called.
func serve(t *testing.T, socket string, handle http.HandlerFunc) (stop func()) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	require.NoError(t, err)
	server := &http.Server{Handler: handle, ReadHeaderTimeout: time.Second}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(listener) }()
	stop = func() { _ = server.Close(); <-ended }
	t.Cleanup(stop)
	return stop
}

// keys are the private keys of a process that signs as the page says.
type keys map[string]crypto.Signer

func (k keys) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Key, Algorithm  string
		Message, Digest []byte
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || r.Method != http.MethodPost || r.URL.Path != "/sign" {
		http.Error(w, `{"error":"not a request of the page"}`, http.StatusBadRequest)
		return
	}
	key, there := k[asked.Key]
	if !there {
		http.Error(w, `{"error":"no such\nkey"}`, http.StatusNotFound)
		return
	}
	var signature []byte
	switch asked.Algorithm {
	case "Ed25519":
		signature, _ = key.Sign(rand.Reader, asked.Message, crypto.Hash(0))
	case "PS256":
		signature, _ = key.Sign(rand.Reader, asked.Digest, ps256)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"signature": signature})
}

func (k keys) add(t *testing.T, key crypto.Signer) crypto.Signer {
	t.Helper()
	id, err := KeyID(key.Public())
	require.NoError(t, err)
	k[id] = key
	return key
}

func newRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := keystock.New(2048)
	require.NoError(t, err)
	return key
}

func newEd25519(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	return key
}

// TestAProcessSignsWithBothKindsOfKeys, is restarted, and goes on without a failure that a caller sees.
func TestAProcessSignsWithBothKindsOfKeys(t *testing.T) {
	have, socket := keys{}, socketPath(t)
	log, answers := have.add(t, newEd25519(t)), have.add(t, newRSA(t))
	stop := serve(t, socket, have.ServeHTTP)
	logKey, err := NewKey(socket, log.Public())
	require.NoError(t, err)
	answerKey, err := NewKey(socket, answers.Public())
	require.NoError(t, err)
	digest := sha256.Sum256([]byte("claims"))
	both := func() {
		signature, err := logKey.Sign(nil, []byte("checkpoint"), crypto.Hash(0))
		require.NoError(t, err)
		require.True(t, ed25519.Verify(log.Public().(ed25519.PublicKey), []byte("checkpoint"), signature))
		signature, err = answerKey.Sign(nil, digest[:], ps256)
		require.NoError(t, err)
		require.NoError(t, rsa.VerifyPSS(answers.Public().(*rsa.PublicKey), crypto.SHA256, digest[:], signature, ps256))
	}
	both()
	stop()
	_, err = answerKey.Sign(nil, digest[:], ps256)
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorContains(t, err, socket)
	require.True(t, failure.Transient(err))
	serve(t, socket, have.ServeHTTP)
	both()

	_, err = answerKey.Sign(nil, digest[:], crypto.SHA256)
	require.ErrorContains(t, err, "PS256 alone", "PKCS #1 v1.5 is not what FAPI-BR asks for")
	_, err = logKey.Sign(nil, digest[:], crypto.SHA256)
	require.ErrorContains(t, err, "not hashes")
	_, err = NewKey(socket, "a key")
	require.Error(t, err)
}

// TestWhatAProcessSaysIsNotBelieved: refusals, junk, and signatures of other keys are errors with their reason.
func TestWhatAProcessSaysIsNotBelieved(t *testing.T) {
	other := newRSA(t)
	digest := sha256.Sum256([]byte("claims"))
	foreign, err := other.Sign(rand.Reader, digest[:], ps256)
	require.NoError(t, err)
	signed, err := json.Marshal(map[string][]byte{"signature": foreign})
	require.NoError(t, err)
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		want   string
	}{
		"an unknown key":         {keys{}.ServeHTTP, "it answered 404: no such key"},
		"a refusal without text": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, "it answered 503"},
		"no JSON":                {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("signature")) }, "not JSON"},
		"nothing":                {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }, "does not verify"},
		"another key's":          {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(signed) }, "does not verify"},
		"an endless answer": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strings.Repeat(" ", maxAnswer) + string(signed)))
		}, "not JSON"},
		"another place": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, "it answered 307"},
		"a long text": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"error":"`+strings.Repeat("x", 1000)+`"}`, http.StatusInternalServerError)
		}, "it answered 500: " + strings.Repeat("x", maxReason)},
	} {
		t.Run(name, func(t *testing.T) {
			socket := socketPath(t)
			serve(t, socket, test.handle)
			key, err := NewKey(socket, newRSA(t).Public())
			require.NoError(t, err)
			_, err = key.Sign(nil, digest[:], ps256)
			require.ErrorIs(t, err, ErrUnavailable)
			require.ErrorContains(t, err, test.want)
			require.Less(t, len(err.Error()), 600)
		})
	}
}

// TestAProcessThatHangsCostsTheTimeout, and what is asked for beyond the connections waits no longer either.
func TestAProcessThatHangsCostsTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, err := NewKey("unused", newEd25519(t).Public())
		require.NoError(t, err)
		var open atomic.Int64
		key.client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
			open.Add(1)
			ours, _ := net.Pipe() // nobody reads the other end
			return &counted{Conn: ours, open: &open}, nil
		}
		defer key.client.CloseIdleConnections()
		const callers = maxConnections + 8
		began, failed := time.Now(), make(chan error, callers)
		for range callers {
			go func() {
				_, err := key.Sign(nil, []byte("checkpoint"), crypto.Hash(0))
				failed <- err
			}()
		}
		synctest.Wait()
		require.EqualValues(t, maxConnections, open.Load(), "connections at once")
		for range callers {
			err := <-failed
			require.ErrorIs(t, err, ErrUnavailable)
			require.ErrorContains(t, err, "it did not answer within 5s")
		}
		require.Equal(t, Timeout, time.Since(began))
		synctest.Wait() // a connection that was dialled for a caller who gave up is idle
		key.client.CloseIdleConnections()
		synctest.Wait()
		require.Zero(t, open.Load(), "connections that stay open")
	})
}

// counted is a connection that is counted while it is open.
type counted struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

func TestASocketForEverybodyIsNamed(t *testing.T) {
	socket := socketPath(t)
	require.ErrorIs(t, Exposed(socket), os.ErrNotExist)
	serve(t, socket, keys{}.ServeHTTP)
	require.NoError(t, os.Chmod(socket, 0o666))
	require.ErrorContains(t, Exposed(socket), "set it to 0660")
	require.NoError(t, os.Chmod(socket, 0o660))
	require.NoError(t, Exposed(socket))
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.ErrorContains(t, Exposed(file), "is not a Unix socket")
}

func TestAnObserverIsToldOfEachSignature(t *testing.T) {
	var told []error
	key, err := NewKey(socketPath(t), newEd25519(t).Public())
	require.NoError(t, err)
	o := Observed{key, func(_ time.Duration, err error) { told = append(told, err) }}
	_, err = o.Sign(nil, nil, crypto.Hash(0))
	require.Error(t, err)
	require.Equal(t, []error{err}, told)
	o.Signer = newEd25519(t)
	_, err = o.Sign(nil, nil, crypto.Hash(0))
	require.NoError(t, err)
	require.Equal(t, []error{nil}, told[1:])
}
