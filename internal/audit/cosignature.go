package audit

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// cosigned is the type of keys that cosign checkpoints with Ed25519 (C2SP tlog-cosignature).
const cosigned = 0x04

// WitnessKey is the name and the public key of a witness: it cosigns a checkpoint once it has verified that the log only grew
// (C2SP tlog-cosignature, the Ed25519 form).
type WitnessKey struct {
	Name string
	Key  ed25519.PublicKey
}

// ParseWitnessKey reads the verifier key (vkey) of a witness: NAME+HASH+BASE64.
func ParseWitnessKey(vkey string) (w WitnessKey, err error) {
	name, rest, _ := strings.Cut(vkey, "+")
	hash, key64, _ := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.DecodeString(key64)
	switch {
	case err != nil || len(key) == 0 || !goodKeyName(name):
		return w, errors.New("not a verifier key; it has the form NAME+HASH+BASE64")
	case key[0] != cosigned:
		return w, fmt.Errorf("a key of type 0x%02x; a witness needs a key for Ed25519 cosignatures, whose type is 0x04", key[0])
	case len(key) != 1+ed25519.PublicKeySize:
		return w, errors.New("the key does not have the length of an Ed25519 key")
	}
	w = WitnessKey{name, key[1:]}
	if fmt.Sprintf("%08x", w.KeyHash()) != hash {
		return WitnessKey{}, errors.New("the hash in the middle is not that of the name and the key; copy the whole key again")
	}
	return w, nil
}

// NewWitnessKey is the witness of a name and a public key. The name must have no spaces and no plus.
func NewWitnessKey(name string, public crypto.PublicKey) (WitnessKey, error) {
	key, is := public.(ed25519.PublicKey)
	switch {
	case !is:
		return WitnessKey{}, errors.New("the key of a witness is an Ed25519 key")
	case !goodKeyName(name):
		return WitnessKey{}, fmt.Errorf("the name %q of a witness is empty or has spaces or a plus; use one like audit.bank.example/w1", name)
	}
	return WitnessKey{name, key}, nil
}

// goodKeyName tells whether a key may have a name (C2SP signed-note).
func goodKeyName(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsSpace) && !strings.Contains(name, "+")
}

// String is the verifier key (vkey).
func (w WitnessKey) String() string {
	return fmt.Sprintf("%s+%08x+%s", w.Name, w.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{cosigned}, w.Key...)))
}

// KeyHash is the four bytes that name the key in a note.
func (w WitnessKey) KeyHash() uint32 {
	sum := sha256.Sum256(append([]byte(w.Name+"\n\x04"), w.Key...))
	return binary.BigEndian.Uint32(sum[:])
}

// cosignedText is what a witness signs: that at this moment this was the largest tree of the log that it had seen.
func cosignedText(text []byte, at uint64) []byte {
	return append([]byte("cosignature/v1\ntime "+strconv.FormatUint(at, 10)+"\n"), text...)
}

// witnessVerifier shows a WitnessKey to package note.
type witnessVerifier struct{ w WitnessKey }

func (v witnessVerifier) Name() string    { return v.w.Name }
func (v witnessVerifier) KeyHash() uint32 { return v.w.KeyHash() }
func (v witnessVerifier) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(signature)
	return at > 0 && at <= math.MaxInt64 && ed25519.Verify(v.w.Key, cosignedText(text, at), signature[8:])
}

// Cosign makes the line by which a witness vouches for a signed checkpoint, with its line feed. The caller has verified the
// checkpoint and that it extends what the witness vouched for before.
func (w WitnessKey) Cosign(signed []byte, key crypto.Signer, at time.Time) ([]byte, error) {
	text, _, found := cutNote(signed)
	if !found || at.Unix() <= 0 {
		return nil, errors.New("cosign: this is no signed note, or the time is before 1970")
	}
	stamp := uint64(at.Unix())
	signature, err := key.Sign(nil, cosignedText(text, stamp), crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("cosign: %w", err)
	}
	line := binary.BigEndian.AppendUint32(nil, w.KeyHash())
	line = append(binary.BigEndian.AppendUint64(line, stamp), signature...)
	if !(witnessVerifier{w}).Verify(text, line[4:]) {
		return nil, errors.New("cosign: what the key signed does not verify with the public half of the witness")
	}
	return []byte("— " + w.Name + " " + base64.StdEncoding.EncodeToString(line) + "\n"), nil
}

// cutNote cuts a signed note into its text, with the last line feed, and the lines of its signatures.
func cutNote(signed []byte) (text, signatures []byte, found bool) {
	middle := bytes.LastIndex(signed, []byte("\n\n"))
	if middle < 0 {
		return nil, nil, false
	}
	return signed[:middle+1], signed[middle+2:], true
}

// Cosignature is what one witness says of a checkpoint: that it was, at that time, the largest tree of this log that it had
// seen, and that it had seen no other history.
type Cosignature struct {
	Witness WitnessKey
	At      time.Time // by the witness's clock, to the second
	Line    []byte    // of the signed note, with its line feed
}

// ReadCosignatures verifies what witnesses say of a checkpoint that the log's key signed. A cosignature of another name is passed
// over. One that has the name of a witness and is not of its key is an error, and so is a note that the log did not sign.
func ReadCosignatures(signed []byte, public ed25519.PublicKey, witnesses []WitnessKey) ([]Cosignature, error) {
	log, err := note.NewVerifier(VerifierKey(public))
	if err != nil {
		return nil, fmt.Errorf("the public key: %w", err)
	}
	return readCosignatures(signed, log, witnesses)
}

// ReadCosignature verifies one line of a witness about a signed checkpoint. It does not verify the signature of the log. The line must be as
// Cosign writes it, so that it spoils no note that it is added to.
func (w WitnessKey) ReadCosignature(signed []byte, line string) (c Cosignature, err error) {
	opened, err := note.Open(append(bytes.Clone(signed), line...), note.VerifierList(witnessVerifier{w}))
	if err != nil {
		return c, fmt.Errorf("the cosignature of %s: %w", w.Name, err)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(opened.Sigs[0].Base64)
	if err != nil || line != "— "+w.Name+" "+base64.StdEncoding.EncodeToString(raw)+"\n" {
		return c, fmt.Errorf("the cosignature of %s is not written as a line of a signed note is", w.Name)
	}
	return Cosignature{w, time.Unix(int64(binary.BigEndian.Uint64(raw[4:])), 0).UTC(), []byte(line)}, nil
}

func readCosignatures(signed []byte, log note.Verifier, witnesses []WitnessKey) (out []Cosignature, err error) {
	known := []note.Verifier{log}
	for _, w := range witnesses {
		known = append(known, witnessVerifier{w})
	}
	opened, err := note.Open(signed, note.VerifierList(known...))
	if err != nil {
		return nil, fmt.Errorf("the checkpoint: %w", err)
	}
	byLog := false
	for _, s := range opened.Sigs {
		if s.Name == log.Name() && s.Hash == log.KeyHash() {
			byLog = true
			continue
		}
		raw, err := base64.StdEncoding.Strict().DecodeString(s.Base64)
		if err != nil {
			return nil, fmt.Errorf("the checkpoint: the cosignature of %s is not in canonical base64", s.Name)
		}
		for _, w := range witnesses {
			if s.Name == w.Name && s.Hash == w.KeyHash() {
				out = append(out, Cosignature{w, time.Unix(int64(binary.BigEndian.Uint64(raw[4:])), 0).UTC(), []byte("— " + s.Name + " " + s.Base64 + "\n")})
			}
		}
	}
	if !byLog {
		return nil, errors.New("the checkpoint is not signed with this key")
	}
	return out, nil
}

// AddCosignatures adds the lines of witnesses to a signed note.
func AddCosignatures(signed []byte, all []Cosignature) []byte {
	out := bytes.Clone(signed)
	for _, c := range all {
		out = append(out, c.Line...)
	}
	return out
}

// LogKey is the name and the key of a log of any kind, by which a witness knows it.
type LogKey struct {
	text     string
	verifier note.Verifier
}

// ParseLogKey reads the verifier key (vkey) of a log with an Ed25519 key.
func ParseLogKey(vkey string) (LogKey, error) {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return LogKey{}, fmt.Errorf("not the verifier key of a log with an Ed25519 key, NAME+HASH+BASE64: %w", err)
	}
	return LogKey{vkey, v}, nil
}

// Origin is the name of the log, the first line of its checkpoints.
func (k LogKey) Origin() string { return k.verifier.Name() }

// String is the verifier key.
func (k LogKey) String() string { return k.text }

// errForm means that a text is no checkpoint of any log.
var errForm = errors.New("not a checkpoint: its lines are the name of the log, the number of entries, the root in base64, and perhaps more")

// OriginOf is the name of the log that a note says it is of. It verifies nothing.
func OriginOf(signed []byte) string {
	name, _, _ := strings.Cut(string(signed), "\n")
	return name
}

// Open verifies the signature of a checkpoint of the log and reads its size and root. Further lines are signed and not judged.
func (k LogKey) Open(signed []byte) (t Tree, err error) {
	opened, err := note.Open(signed, note.VerifierList(k.verifier))
	if err != nil {
		return t, fmt.Errorf("the checkpoint of %s: %w", k.Origin(), err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != k.Origin() {
		return t, errForm
	}
	if t.Size, err = strconv.ParseInt(lines[1], 10, 64); err != nil || t.Size < 0 || strconv.FormatInt(t.Size, 10) != lines[1] {
		return t, errForm
	}
	if t.Root, err = tlog.ParseHash(lines[2]); err != nil {
		return t, errForm
	}
	return t, nil
}

// CosignRequest asks a witness to vouch for a checkpoint (C2SP tlog-witness, add-checkpoint).
type CosignRequest struct {
	Old        int64  // size that the witness vouched for last; 0: nothing yet
	Path       []Hash // that the tree of the old size is the beginning of the checkpoint's (RFC 6962 §2.1.2)
	Checkpoint []byte // signed note
}

// maxCosignPath is how many hashes a request may have (C2SP tlog-witness).
const maxCosignPath = 63

// Marshal writes the request's body.
func (r CosignRequest) Marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", r.Old)
	for _, h := range r.Path {
		fmt.Fprintln(&b, h)
	}
	b.WriteByte('\n')
	b.Write(r.Checkpoint)
	return b.Bytes()
}

// ParseCosignRequest reads a request's body; it verifies nothing.
func ParseCosignRequest(body []byte) (r CosignRequest, err error) {
	wrong := errors.New("not a request of the witness protocol: a line `old SIZE`, at most 63 hashes in base64, an empty line and a checkpoint")
	head, checkpoint, found := bytes.Cut(body, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	old, is := strings.CutPrefix(lines[0], "old ")
	if !found || !is || len(lines) > 1+maxCosignPath {
		return r, wrong
	}
	if r.Old, err = strconv.ParseInt(old, 10, 64); err != nil || r.Old < 0 || strconv.FormatInt(r.Old, 10) != old {
		return r, wrong
	}
	if r.Path, err = hashes(lines[1:]); err != nil {
		return r, wrong
	}
	r.Checkpoint = checkpoint
	return r, nil
}

// CheckGrowth returns nil when the path shows that a tree is the beginning of another. The empty tree is the beginning of every
// tree, with an empty path.
func CheckGrowth(path []Hash, old, now Tree) error {
	if now.Size == 0 && now.Root != EmptyRoot() {
		return errors.New("the root of a log without entries is the hash of nothing")
	}
	if old.Size == 0 {
		if len(path) > 0 {
			return errors.New("a proof from the empty log has no hashes")
		}
		return nil
	}
	return CheckConsistency(path, old.Size, old.Root, now.Size, now.Root)
}

// CosignedBy tells whether a note has the signature of the log and a cosignature of the witness.
func (k LogKey) CosignedBy(signed []byte, w WitnessKey) bool {
	said, err := readCosignatures(signed, k.verifier, []WitnessKey{w})
	return err == nil && len(said) == 1
}

// Own is the note with the signature of the log alone. The caller has verified it.
func (k LogKey) Own(signed []byte) []byte {
	opened, err := note.Open(signed, note.VerifierList(k.verifier))
	if err != nil {
		return nil
	}
	return []byte(opened.Text + "\n— " + opened.Sigs[0].Name + " " + opened.Sigs[0].Base64 + "\n")
}

// Cosignatures reads what the witnesses of a policy say of a checkpoint of the log.
func (k LogKey) Cosignatures(signed []byte, p *Policy) ([]Cosignature, error) {
	return readCosignatures(signed, k.verifier, p.Keys())
}
