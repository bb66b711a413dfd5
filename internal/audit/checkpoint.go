package audit

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is the head of the log at one moment.
type Checkpoint struct {
	Size int64
	Root Hash
	At   Instant       // by the database's clock
	Skew time.Duration // the sealing machine's clock minus the database's, to the microsecond
}

// Origin names the log of a key: arauto/ and the first eight bytes of the SHA-256 of the public key, in hexadecimal. A
// log has one key, so the public key tells the name.
func Origin(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return "arauto/" + hex.EncodeToString(sum[:8])
}

// VerifierKey is the public key as tools for transparency logs take it (vkey, C2SP signed-note): name, hash and key.
func VerifierKey(public ed25519.PublicKey) string {
	key, err := note.NewEd25519VerifierKey(Origin(public), public)
	if err != nil {
		return "" // no Ed25519 key
	}
	return key
}

// text is what is signed: the three lines of a transparency log's checkpoint (C2SP tlog-checkpoint), and two of ours.
func (c Checkpoint) text(origin string) string {
	return fmt.Sprintf("%s\n%d\n%s\ntime %s\nskew %dus\n", origin, c.Size, c.Root, c.At, c.Skew.Microseconds())
}

// Signer signs checkpoints with the log's key, which may be anywhere: in memory, or in a device that signs.
type Signer struct {
	key    crypto.Signer
	public ed25519.PublicKey
}

// NewSigner makes a signer of the log's private key, an Ed25519 key of any kind: an ed25519.PrivateKey is a
// crypto.Signer, and so is the handle of a key in a security module. A key of another algorithm has no Public and Sign
// refuses it.
func NewSigner(key crypto.Signer) *Signer {
	public, _ := key.Public().(ed25519.PublicKey)
	return &Signer{key, public}
}

// Public is the key that verifies what is signed.
func (s *Signer) Public() ed25519.PublicKey { return s.public }

// Sign makes the signed note of a checkpoint. What the key made is verified before it is believed: a device that signs
// wrongly must not leave a checkpoint that nobody can open.
func (s *Signer) Sign(c Checkpoint) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: c.text(Origin(s.public))}, noteSigner{s})
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint of %d: %w", c.Size, err)
	}
	return signed, nil
}

// Try signs a text that is no checkpoint, so that a device that does not sign is noticed before it is needed.
func (s *Signer) Try() error {
	_, err := noteSigner{s}.Sign([]byte("arauto: a trial of the log's key, which says nothing of the log\n"))
	return err
}

// noteSigner shows a Signer to package note.
type noteSigner struct{ s *Signer }

func (n noteSigner) Name() string    { return Origin(n.s.public) }
func (n noteSigner) KeyHash() uint32 { return keyHash(n.s.public) }

func (n noteSigner) Sign(text []byte) ([]byte, error) {
	if len(n.s.public) != ed25519.PublicKeySize {
		return nil, errors.New("the log's key is not an Ed25519 key")
	}
	signature, err := n.s.key.Sign(nil, text, crypto.Hash(0)) // Ed25519 needs no randomness, and the text itself
	if err != nil {
		return nil, err
	}
	if !ed25519.Verify(n.s.public, text, signature) {
		return nil, errors.New("what the log's key signed does not verify with its public half")
	}
	return signature, nil
}

// keyHash is the four bytes that name a key in a note: of SHA-256(name LF 0x01 key).
func keyHash(public ed25519.PublicKey) uint32 {
	sum := sha256.Sum256(append([]byte(Origin(public)+"\n\x01"), public...))
	return binary.BigEndian.Uint32(sum[:])
}

// OpenCheckpoint verifies a signed note with the log's public key and reads it.
func OpenCheckpoint(signed []byte, public ed25519.PublicKey) (Checkpoint, error) {
	text, err := openNote(signed, public, "the checkpoint")
	if err != nil {
		return Checkpoint{}, err
	}
	return parseCheckpoint(text, Origin(public))
}

// openNote verifies a signed note with the log's public key and returns its text; errors begin with what the note is.
func openNote(signed []byte, public ed25519.PublicKey, what string) (string, error) {
	if len(public) != ed25519.PublicKeySize {
		return "", errors.New("the public key is not an Ed25519 key")
	}
	key, err := note.NewEd25519VerifierKey(Origin(public), public)
	if err != nil {
		return "", fmt.Errorf("the public key: %w", err)
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return "", fmt.Errorf("the public key: %w", err)
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	var unsigned *note.UnverifiedNoteError
	switch {
	case errors.As(err, &unsigned):
		return "", fmt.Errorf("%s is not signed with this key", what)
	case err != nil:
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if _, err := canonical64(opened.Sigs[0].Base64); err != nil {
		return "", fmt.Errorf("the signature of %s: %w", what, err)
	}
	return opened.Text, nil
}

func parseCheckpoint(text, origin string) (c Checkpoint, err error) {
	wrong := errors.New("the checkpoint is not one of this log: origin, size, root, time and skew are expected, a line each")
	lines := strings.Split(text, "\n")
	if len(lines) < 6 || lines[0] != origin {
		return c, wrong
	}
	if c.Size, err = strconv.ParseInt(lines[1], 10, 64); err != nil || c.Size < 0 {
		return c, wrong
	}
	if c.Root, err = tlog.ParseHash(lines[2]); err != nil {
		return c, wrong
	}
	stamp, ok := strings.CutPrefix(lines[3], "time ")
	if c.At, err = parseInstant(stamp); !ok || err != nil {
		return c, wrong
	}
	skew, ok := strings.CutPrefix(lines[4], "skew ")
	if c.Skew, err = time.ParseDuration(skew); !ok || err != nil {
		return c, wrong
	}
	if c.text(origin) != text {
		return c, wrong
	}
	return c, nil
}

// SplitCheckpoints cuts a file of signed notes, as anchors keep them, into the single notes. A note is its text, an empty
// line, and the lines of signatures.
func SplitCheckpoints(file []byte) (out [][]byte, err error) {
	if err := eachNote(file, func(note []byte) error { out = append(out, note); return nil }); err != nil {
		return nil, err
	}
	return out, nil
}

// eachNote visits the notes of a file in their order, until a visit fails or the rest of the file is no note.
func eachNote(file []byte, visit func(note []byte) error) error {
	n := 0
	for rest := bytes.TrimLeft(file, "\n"); len(rest) > 0; rest = bytes.TrimLeft(rest, "\n") {
		end, broken := noteLength(rest)
		switch {
		case broken:
			return fmt.Errorf("after %d checkpoints the file breaks off", n)
		case end == 0:
			return fmt.Errorf("after %d checkpoints there is something that is none", n)
		}
		if err := visit(rest[:end]); err != nil {
			return err
		}
		n, rest = n+1, rest[end:]
	}
	return nil
}

// OpenCheckpoints verifies and reads a file of signed notes. With an error it returns those before the one that is wrong.
func OpenCheckpoints(file []byte, public ed25519.PublicKey) (out []Checkpoint, err error) {
	if err := eachNote(file, func([]byte) error { return nil }); err != nil {
		return nil, err
	}
	err = eachNote(file, func(note []byte) error {
		c, err := OpenCheckpoint(note, public)
		if err != nil {
			return fmt.Errorf("checkpoint %d of the file: %w", len(out)+1, err)
		}
		out = append(out, c)
		return nil
	})
	return out, err
}

// MarshalPrivate writes the log's key as PEM (PKCS #8), as openssl genpkey -algorithm ed25519 does.
func MarshalPrivate(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the log's key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// MarshalPublic writes the public half as PEM, as openssl pkey -pubout does.
func MarshalPublic(key ed25519.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the log's public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// ParsePrivate reads the log's key from PEM.
func ParsePrivate(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("not an unencrypted PEM private key (PKCS #8): make one with openssl genpkey -algorithm ed25519")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the PEM private key cannot be read")
	}
	if k, ok := key.(ed25519.PrivateKey); ok {
		return k, nil
	}
	return nil, errors.New("the private key is not an Ed25519 key")
}

// ParsePublic reads the log's public key from PEM.
func ParsePublic(text []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("not a PEM public key: the file must begin -----BEGIN PUBLIC KEY-----")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the PEM public key cannot be read")
	}
	if k, ok := key.(ed25519.PublicKey); ok {
		return k, nil
	}
	return nil, errors.New("the public key is not an Ed25519 key")
}
