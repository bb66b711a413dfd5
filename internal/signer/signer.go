// Package signer has signatures made by a process behind a Unix socket, so that private keys can stay in a security module
// whose driver is no part of ours. docs/operations/signer.md describes what is said over the socket.
//
// A signature is verified with the public key before it is believed. A process that hangs costs Timeout, one that restarts needs
// nothing from us: each signature that finds no usable connection dials the socket again. Nothing is repeated after a failure;
// callers decide about that.
package signer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Timeout bounds one signature, with the wait for a connection.
const Timeout = 5 * time.Second

const (
	maxConnections = 32       // signatures that one key asks for at a time; others wait
	maxAnswer      = 16 << 10 // bytes
	maxReason      = 200      // bytes of the text with which a process refuses
)

// The algorithms, by their names in a request.
const (
	algEd25519 = "Ed25519"
	algPS256   = "PS256"
)

// ErrUnavailable means that the process did not make a signature that its public key verifies. A retry is safe.
var ErrUnavailable error = unavailable{}

type unavailable struct{}

func (unavailable) Error() string { return "the signer does not sign" }

// Transient says that the same may succeed later.
func (unavailable) Transient() bool { return true }

// request is the body of POST /sign. Ed25519 signs the message itself, PS256 the SHA-256 of it.
type request struct {
	Key       string `json:"key"`
	Algorithm string `json:"algorithm"`
	Message   []byte `json:"message,omitempty"`
	Digest    []byte `json:"digest,omitempty"`
}

type signReply struct {
	Signature []byte `json:"signature"`
	Error     string `json:"error"`
}

// RemoteKey is a private key behind a socket, as a crypto.Signer. It is safe for concurrent use.
type RemoteKey struct {
	socket, id string
	public     crypto.PublicKey
	client     *http.Client
}

// NewKey names the key at a socket by its public half, an ed25519.PublicKey or an *rsa.PublicKey. It does not ask the process.
func NewKey(socket string, public crypto.PublicKey) (*RemoteKey, error) {
	id, err := KeyID(public)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		MaxConnsPerHost: maxConnections, MaxIdleConnsPerHost: maxConnections, IdleConnTimeout: 30 * time.Second,
		DisableCompression: true, MaxResponseHeaderBytes: maxAnswer,
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &RemoteKey{socket, id, public, &http.Client{Transport: transport, CheckRedirect: stay, Timeout: Timeout}}, nil
}

// KeyID returns the name of a key in requests: the SHA-256 of its public half in DER (SubjectPublicKeyInfo), in hexadecimal.
func KeyID(public crypto.PublicKey) (string, error) {
	switch public.(type) {
	case ed25519.PublicKey, *rsa.PublicKey:
	default:
		return "", fmt.Errorf("a signer has Ed25519 and RSA keys, and the public key is a %T", public)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("name the key of a signer: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// Public implements crypto.Signer.
func (k *RemoteKey) Public() crypto.PublicKey { return k.public }

// Sign implements crypto.Signer. An Ed25519 key signs a message (hash 0); an RSA key signs a SHA-256 with PSS and a salt as long as
// the hash, which is PS256. The error of a signature that was not made wraps ErrUnavailable.
func (k *RemoteKey) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	r := request{Key: k.id}
	var verify func(signature []byte) bool
	switch public := k.public.(type) {
	case ed25519.PublicKey:
		if opts.HashFunc() != 0 {
			return nil, errors.New("the signer's Ed25519 key signs messages, not hashes")
		}
		r.Algorithm, r.Message = algEd25519, message
		verify = func(signature []byte) bool { return ed25519.Verify(public, message, signature) }
	case *rsa.PublicKey:
		pss, is := opts.(*rsa.PSSOptions)
		if !is || pss.Hash != crypto.SHA256 || pss.SaltLength != rsa.PSSSaltLengthEqualsHash && pss.SaltLength != sha256.Size {
			return nil, errors.New("the signer's RSA key signs with PS256 alone")
		}
		r.Algorithm, r.Digest = algPS256, message
		verify = func(signature []byte) bool {
			return rsa.VerifyPSS(public, crypto.SHA256, message, signature, pss) == nil
		}
	}
	signature, err := k.ask(r)
	if err != nil {
		return nil, fmt.Errorf("%w: socket %s: %w", ErrUnavailable, k.socket, err)
	}
	if !verify(signature) {
		return nil, fmt.Errorf("%w: socket %s: what it signed does not verify with the public key", ErrUnavailable, k.socket)
	}
	return signature, nil
}

func (k *RemoteKey) ask(r request) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), Timeout) // crypto.Signer has no context
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://signer/sign", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header["Idempotency-Key"] = nil // net/http asks again over a new connection when the process closed this one
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, reason(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, reason(err)
	}
	var said signReply
	err = json.Unmarshal(text, &said)
	switch {
	case resp.StatusCode != http.StatusOK && err == nil && said.Error != "":
		return nil, fmt.Errorf("it answered %d: %s", resp.StatusCode, oneLine(said.Error))
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answered %d", resp.StatusCode)
	case err != nil:
		return nil, errors.New("its answer is not JSON with a signature")
	}
	return said.Signature, nil
}

// reason returns why a request failed, without the made-up address of it.
func reason(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("it did not answer within %s", Timeout)
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err
}

// oneLine makes the text of a process fit for a line of the log.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	return text[:min(len(text), maxReason)]
}

// Exposed returns an error while every user of this machine may ask at a socket for signatures, or while there is no socket.
func Exposed(socket string) error {
	info, err := os.Stat(socket)
	switch {
	case err != nil:
		return err
	case info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("%s is not a Unix socket; name the socket of the signer", socket)
	case info.Mode().Perm()&0o002 != 0:
		return fmt.Errorf("every user of this machine can ask %s for signatures (mode %04o); set it to 0660", socket, info.Mode().Perm())
	}
	return nil
}

// Finding says for `arauto check` whether a setting's socket is for few and a trial succeeds.
func Finding(setting, socket string, try func() error) string {
	began := time.Now()
	if err := try(); err != nil {
		return fmt.Sprintf("WARNING %s: %v", setting, err)
	}
	took := time.Since(began)
	if err := Exposed(socket); err != nil {
		return fmt.Sprintf("WARNING %s: %v", setting, err)
	}
	return fmt.Sprintf("%s: it signs, in %s", setting, took.Round(100*time.Microsecond))
}

// Observed tells an observer how long each signature of a key took and how it ended. The observer returns at once.
type Observed struct {
	crypto.Signer
	Observe func(took time.Duration, err error)
}

// Sign implements crypto.Signer.
func (o Observed) Sign(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	began := time.Now()
	signature, err := o.Signer.Sign(random, message, opts)
	o.Observe(time.Since(began), err)
	return signature, err
}
