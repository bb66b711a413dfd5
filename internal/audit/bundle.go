package audit

import (
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Members of a bundle, a ZIP file without compression and without times, so that the same entries always give the same
// bytes. Manifest comes last, as it has the sums of the others.
const (
	memberEntries     = "entries.jsonl"
	memberProofs      = "proofs.jsonl"
	memberPrivate     = "private.jsonl"
	memberContext     = "context.jsonl"
	memberCounts      = "counts.jsonl"
	memberCheckpoints = "checkpoints.txt"
	memberKey         = "log.pub.pem"
	memberManifest    = "manifest.json"
)

// Manifest says what is in a bundle. It is not signed itself: all of its entries are, by the checkpoint.
type Manifest struct {
	Format   string            `json:"format"` // "arauto-bundle/1", or /2 where completeness can be shown
	Log      string            `json:"log"`    // origin
	Size     int64             `json:"size"`   // of the log, by the checkpoint
	Root     string            `json:"root"`
	Filter   map[string]string `json:"filter"` // empty: the whole log
	Entries  int64             `json:"entries"`
	Clients  []string          `json:"clients,omitempty"` // of format 2: those that the filter names
	Context  int64             `json:"context,omitempty"` // of format 2: further entries of these clients
	Windows  int64             `json:"windows,omitempty"` // of format 2
	Verifier string            `json:"verifier"`
	Files    []ManifestFile    `json:"files"`

	lacks error // of one that was read: which member is not there
}

// ManifestFile is one member of a bundle.
type ManifestFile struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Formats of bundles.
const (
	bundleFormat  = "arauto-bundle/1"
	bundleCounted = "arauto-bundle/2"
)

// Complete tells whether the bundle has the whole log.
func (m *Manifest) Complete() bool { return len(m.Filter) == 0 }

// BundleWriter writes a bundle: first the entries, then (of a filtered one) their proofs, then the private texts that are
// handed over, then Close.
type BundleWriter struct {
	zip      *zip.Writer
	manifest Manifest
	name     string
	sum      *summed
	public   ed25519.PublicKey
}

// summed counts and sums what passes.
type summed struct {
	w   io.Writer
	n   int64
	sum hash.Hash
}

func (s *summed) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.n += int64(n)
	_, _ = s.sum.Write(p[:n]) // never fails
	return n, err
}

// NewBundle begins a bundle of the log of a key as of a checkpoint; filter says which entries were asked for.
func NewBundle(w io.Writer, public ed25519.PublicKey, c Checkpoint, filter map[string]string, version string) *BundleWriter {
	if filter == nil {
		filter = map[string]string{}
	}
	return &BundleWriter{zip: zip.NewWriter(w), public: public, manifest: Manifest{
		Format: bundleFormat, Log: Origin(public), Size: c.Size, Root: c.Root.String(), Filter: filter, Verifier: "arauto " + version,
	}}
}

// member begins the next file.
func (b *BundleWriter) member(name string) error {
	b.finish()
	w, err := b.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	b.name, b.sum = name, &summed{w: w, sum: sha256.New()}
	return nil
}

func (b *BundleWriter) finish() {
	if b.sum != nil {
		b.manifest.Files = append(b.manifest.Files, ManifestFile{b.name, b.sum.n, hex.EncodeToString(b.sum.sum.Sum(nil))})
	}
	b.sum = nil
}

func (b *BundleWriter) line(name string, text []byte) error {
	if b.sum == nil || b.name != name {
		if err := b.member(name); err != nil {
			return err
		}
	}
	_, err := b.sum.Write(append(text, '\n'))
	return err
}

// Entry writes one line of an export: of an entry (AppendLine), or of a removed one (AppendRemoved).
func (b *BundleWriter) Entry(line []byte) error {
	b.manifest.Entries++
	return b.line(memberEntries, line)
}

// proofLine is the path of one entry of a filtered bundle.
type proofLine struct {
	Seq  int64    `json:"seq"`
	Path []string `json:"path"`
}

// Proof writes the path of an entry to the root, in the order of the entries.
func (b *BundleWriter) Proof(seq int64, path []Hash) error {
	text, err := json.Marshal(proofLine{Seq: seq, Path: texts(path)})
	if err != nil {
		return err
	}
	return b.line(memberProofs, text)
}

// Close writes checkpoints (signed notes; the last one is the bundle's), key and manifest.
func (b *BundleWriter) Close(checkpoints [][]byte) error {
	if b.manifest.Entries == 0 {
		if err := b.member(memberEntries); err != nil {
			return err
		}
	}
	if err := b.member(memberCheckpoints); err != nil {
		return err
	}
	for _, c := range checkpoints {
		if _, err := b.sum.Write(append(bytes.Clone(c), '\n')); err != nil {
			return err
		}
	}
	key, err := MarshalPublic(b.public)
	if err != nil {
		return err
	}
	if err := b.line(memberKey, bytes.TrimRight(key, "\n")); err != nil {
		return err
	}
	b.finish()
	text, err := json.MarshalIndent(b.manifest, "", "  ")
	if err != nil {
		return err
	}
	if err := b.member(memberManifest); err != nil {
		return err
	}
	if _, err := b.sum.Write(append(text, '\n')); err != nil {
		return err
	}
	return b.zip.Close()
}

// bundle is one that is read.
type bundle struct {
	Manifest

	files map[string]*zip.File
}

// Bounds of what a bundle may demand of its reader, since others make bundles too. Ours has at most eight members, and they are as
// long as they stand in the file; a program that packed it again may have compressed them.
const (
	directoryMost = 1 << 20  // bytes, of the list of members
	manifestMost  = 1 << 20  // bytes
	unfoldMost    = 16       // times the length of the file, of all members together
	unfoldAlways  = 64 << 10 // bytes, that they may have however short the file is
)

// WholeMost is the bound of what VerifyBundle keeps in memory, in bytes.
const WholeMost = 1 << 30

// ErrTooLong means that a file has a part that would need more memory than the caller allows. It may be genuine.
var ErrTooLong = errors.New("a part of the file is too long to be kept in memory")

// openBundle reads the list of members. Its error says why the file is no bundle of ours.
func openBundle(r io.ReaderAt, size int64) (*bundle, error) {
	if err := checkZIP(r, size); err != nil {
		return nil, err
	}
	list := &memberList{ReaderAt: r, left: directoryMost}
	archive, err := zip.NewReader(list, size)
	if err != nil {
		return nil, errZIP
	}
	list.known = true
	b := &bundle{files: map[string]*zip.File{}}
	left := uint64(size)*unfoldMost + unfoldAlways
	for _, f := range archive.File {
		if b.files[f.Name] != nil {
			return nil, fmt.Errorf("the bundle has two members %q", f.Name)
		}
		if f.UncompressedSize64 > left { // reading a member ends at this length
			return nil, fmt.Errorf("the members of the bundle unfold to more than %d times its length", unfoldMost)
		}
		left -= f.UncompressedSize64
		b.files[f.Name] = f
	}
	return b, nil
}

// memberList is a ZIP file whose list of members is read. The list is as long as its maker wants, and becomes memory.
type memberList struct {
	io.ReaderAt

	left  int64 // bytes that may be read until it is known
	known bool
}

// ReadAt implements io.ReaderAt.
func (l *memberList) ReadAt(p []byte, at int64) (int, error) {
	if !l.known {
		if l.left -= int64(len(p)); l.left < 0 {
			return 0, errors.New("the list of members is too long")
		}
	}
	return l.ReaderAt.ReadAt(p, at)
}

// VerifyBundle verifies a bundle with the log's public key, which must come from elsewhere than the bundle: its sums,
// its checkpoints, and every entry, by the whole tree or by its proof. What is wrong is a *Fault. Anchored checkpoints
// beyond a bundle's size are left out of account, since a bundle is of one moment; with a filtered one, those count that have the size of
// one of its checkpoints, or of each other.
func VerifyBundle(r io.ReaderAt, size int64, public ed25519.PublicKey, anchored []Checkpoint) (VerifiedLog, error) {
	return VerifyBundleWithin(r, size, public, anchored, WholeMost)
}

// VerifyBundleWithin is VerifyBundle for a caller that keeps at most so many bytes of a member in memory; ErrTooLong when that does
// not suffice.
func VerifyBundleWithin(r io.ReaderAt, size int64, public ed25519.PublicKey, anchored []Checkpoint, most int64) (VerifiedLog, error) {
	b, err := openBundle(r, size)
	if err != nil {
		return VerifiedLog{}, &Fault{0, err.Error()}
	}
	text, err := b.read(memberManifest, manifestMost)
	if err != nil || json.Unmarshal(text, &b.Manifest) != nil || b.Format != bundleFormat && b.Format != bundleCounted {
		return VerifiedLog{}, &Fault{0, "the bundle has no manifest of the format " + bundleFormat + " or " + bundleCounted}
	}
	text, err = b.read(memberCheckpoints, most)
	switch {
	case errors.Is(err, ErrTooLong):
		return VerifiedLog{}, err
	case err != nil:
		return VerifiedLog{}, &Fault{0, err.Error()}
	}
	checkpoints, err := OpenCheckpoints(text, public)
	if err != nil {
		var until int64 // which good ones cover
		if n := len(checkpoints); n > 0 {
			until = checkpoints[n-1].Size
		}
		return VerifiedLog{}, &Fault{until, err.Error()}
	}
	if b.lacks != nil {
		return VerifiedLog{}, &Fault{0, "the manifest: " + b.lacks.Error()}
	}
	if b.Log != Origin(public) {
		return VerifiedLog{}, &Fault{0, "the manifest is of another log"}
	}
	if n := len(checkpoints); b.Size == 0 || n == 0 || checkpoints[n-1].Size != b.Size || checkpoints[n-1].Root.String() != b.Root {
		return VerifiedLog{}, &Fault{0, "the manifest is not about the last checkpoint in the bundle"}
	}
	var verdict VerifiedLog
	if b.Complete() {
		verdict, err = b.verifyAll(public, checkpoints, anchored)
	} else {
		verdict, err = b.verifySome(checkpoints[len(checkpoints)-1])
		switch {
		case err != nil:
		case b.Format == bundleCounted:
			err = b.verifyCounts(checkpoints, &verdict)
		default:
			verdict.Notes = append(verdict.Notes, noteNoCounts)
		}
		if err == nil {
			err = Contradiction(append(checkpoints, anchored...)...)
		}
	}
	if err != nil {
		return verdict, err // it names the entry, which a sum does not
	}
	if err := b.verifyPrivate(); err != nil {
		return verdict, err
	}
	if err := b.checkSums(); err != nil {
		return VerifiedLog{}, &Fault{0, err.Error()}
	}
	return verdict, nil
}

func (b *bundle) open(name string) (io.ReadCloser, error) {
	f := b.files[name]
	if f == nil {
		return nil, errors.New("the bundle lacks " + name)
	}
	return f.Open()
}

// read reads a whole member, at most so many bytes; ErrTooLong when it is longer.
func (b *bundle) read(name string, most int64) ([]byte, error) {
	r, err := b.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if b.files[name].UncompressedSize64 > uint64(most) {
		return nil, ErrTooLong
	}
	return io.ReadAll(r)
}

func (b *bundle) checkSums() error {
	known := map[string]bool{memberManifest: true}
	for _, f := range b.Files {
		if known[f.Name] {
			return errors.New("the manifest speaks of " + f.Name + " twice, or of itself")
		}
		known[f.Name] = true
		r, err := b.open(f.Name)
		if err != nil {
			return err
		}
		sum := sha256.New()
		n, err := io.Copy(sum, r)
		if err = errors.Join(err, r.Close()); err != nil || n != f.Bytes || hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
			return errors.New("the sum of " + f.Name + " is not the manifest's")
		}
	}
	for name := range b.files {
		if !known[name] {
			return errors.New("the manifest does not know " + name)
		}
	}
	return nil
}

func (b *bundle) verifyAll(public ed25519.PublicKey, checkpoints, anchored []Checkpoint) (VerifiedLog, error) {
	for _, c := range anchored {
		if c.Size <= b.Size {
			checkpoints = append(checkpoints, c)
		}
	}
	r, err := b.open(memberEntries)
	if err != nil {
		return VerifiedLog{}, &Fault{0, err.Error()}
	}
	defer r.Close()
	return VerifyRecords(r, public, checkpoints)
}

// verifySome checks each entry by its own proof. That none was left out which the filter should have found is not
// something a proof can show.
func (b *bundle) verifySome(c Checkpoint) (VerifiedLog, error) {
	v := VerifiedLog{Size: c.Size, Root: c.Root, SignedAt: c.At, Filtered: true}
	if b.Entries == 0 {
		return v, nil
	}
	entries, err := b.open(memberEntries)
	if err != nil {
		return v, &Fault{0, err.Error()}
	}
	defer entries.Close()
	proofs, err := b.open(memberProofs)
	if err != nil {
		return v, &Fault{0, err.Error()}
	}
	defer proofs.Close()
	lines, paths := newLines(entries, maxRecord), newLines(proofs, maxRecord)
	last := int64(-1)
	var record []byte
	for ; lines.Scan(); v.Entries++ {
		var leaf Hash
		record, leaf, err = cutLine(record[:0], lines.Bytes())
		seq, errSeq := Seq(record)
		if err != nil || errSeq != nil || seq <= last {
			return v, &Fault{max(last, 0), "after it there is something that is not a record in order"}
		}
		last = seq
		path, err := nextPath(paths, seq)
		if err != nil {
			return v, &Fault{seq, err.Error()}
		}
		if err := checkRecord(record, seq, path, c); err != nil {
			return v, err
		}
		if Leaf(record) != leaf {
			return v, &Fault{seq, "the leaf that stands beside the entry is not the entry's"}
		}
	}
	if err := errors.Join(lines.Err(), paths.Err()); err != nil {
		return v, &Fault{max(last, 0), "after it the bundle cannot be read"}
	}
	if v.Entries != b.Entries {
		return v, &Fault{max(last, 0), fmt.Sprintf("the manifest speaks of %d entries, %d are here", b.Entries, v.Entries)}
	}
	return v, nil
}

func nextPath(paths *bufio.Scanner, seq int64) ([]Hash, error) {
	var p proofLine
	if !paths.Scan() || json.Unmarshal(paths.Bytes(), &p) != nil || p.Seq != seq {
		return nil, errors.New("its proof is missing")
	}
	return hashes(p.Path)
}

// SeqLeaf is an entry of the log by its position and the hash of its record, with what a dossier repeats of the record.
type SeqLeaf struct {
	Seq          int64
	Hash         Hash
	At, Kind     string
	ResourceKind int // 0: none
	ResourceID   string
}

// BundleCheckpoints reads the signed checkpoints of a bundle, in their order. It verifies nothing: VerifyBundle does. ErrTooLong when
// they are longer than so many bytes.
func BundleCheckpoints(r io.ReaderAt, size, most int64) ([][]byte, error) {
	b, err := openBundle(r, size)
	if err != nil {
		return nil, err
	}
	text, err := b.read(memberCheckpoints, most)
	if err != nil {
		return nil, err
	}
	return SplitCheckpoints(text)
}

// BundleLeaves reads the entries of a bundle, in their order. It verifies nothing: VerifyBundle does.
func BundleLeaves(r io.ReaderAt, size int64) (out []SeqLeaf, err error) {
	b, err := openBundle(r, size)
	if err != nil {
		return nil, err
	}
	file, err := b.open(memberEntries)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := newLines(file, maxRecord)
	var record []byte
	for lines.Scan() {
		var leaf Hash
		if record, leaf, err = cutLine(record[:0], lines.Bytes()); err != nil {
			return nil, err
		}
		seq, err := Seq(record)
		if err != nil {
			return nil, err
		}
		one := SeqLeaf{Seq: seq, Hash: leaf}
		err = ReadExactly(record, map[string]any{"at": &one.At, "kind": &one.Kind, "resourceKind": &one.ResourceKind, "resourceId": &one.ResourceID})
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, lines.Err()
}
