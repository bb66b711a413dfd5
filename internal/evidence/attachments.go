package evidence

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf16"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/ofb"
)

// VerifyPDF verifies a dossier that DossierPDF wrote: the sums of its attachments, the bundle among them with the log's public
// key, which must come from elsewhere than the file, and that dossier.json names exactly the entries of the bundle, with what it repeats
// of them. It reads neither the verdicts and names in dossier.json nor the pages: where these differ from the entries, the entries count.
// What is wrong is an *audit.Fault. Of a report, which has no entries, it returns ErrReport.
func VerifyPDF(pdf []byte, public ed25519.PublicKey, anchored []audit.Checkpoint) (audit.VerifiedLog, error) {
	return verifyPDF(pdf, public, anchored, audit.WholeMost)
}

// verifyPDF is VerifyPDF for a caller that keeps at most so many bytes of attachments in memory; audit.ErrTooLong when that does not
// suffice.
func verifyPDF(pdf []byte, public ed25519.PublicKey, anchored []audit.Checkpoint, most int64) (audit.VerifiedLog, error) {
	bad := func(reason string, args ...any) (audit.VerifiedLog, error) {
		return audit.VerifiedLog{}, &audit.Fault{Reason: fmt.Sprintf(reason, args...)}
	}
	files, err := attachmentsWithin(pdf, most)
	if errors.Is(err, audit.ErrTooLong) {
		return audit.VerifiedLog{}, err
	}
	if err != nil {
		return bad("the PDF is not as Arauto wrote it (%v); where another program saved it again, save its attachment %s and verify that", err, attachedBundle)
	}
	content := map[string][]byte{}
	var summed []attachment
	for _, f := range files {
		if _, twice := content[f.name]; twice {
			return bad("the PDF has two attachments %q", f.name)
		}
		if content[f.name] = f.content; f.name != attachedSums {
			summed = append(summed, f)
		}
	}
	if !bytes.Equal(content[attachedSums], sumsOf(summed)) {
		return bad("the attachments do not have the sums that %s names", attachedSums)
	}
	bundle, there := content[attachedBundle]
	if !there && isReport(content) {
		return audit.VerifiedLog{}, ErrReport
	}
	if !there {
		return bad("the PDF has no attachment %s, so nothing in it can be verified", attachedBundle)
	}
	verdict, err := audit.VerifyBundleWithin(bytes.NewReader(bundle), int64(len(bundle)), public, anchored, most)
	if err != nil {
		return verdict, err
	}
	if reason := compareDossier(content, bundle, public, &verdict); reason != "" {
		return bad("%s", reason)
	}
	verdict.Notes = append(verdict.Notes, audit.NoteAttachments)
	return verdict, nil
}

// isReport tells whether attachments are those of a report: one says so, and none is of what a dossier proves with. A dossier
// from which attachments were removed is none.
func isReport(content map[string][]byte) bool {
	for _, proof := range []string{attachedBundle, attachedDossier, attachedCheckpoint, attachedKey} {
		if _, there := content[proof]; there {
			return false
		}
	}
	var format string
	return audit.ReadExactly(content[attachedReport], map[string]any{"format": &format}) == nil && format == ReportFormat
}

// compareDossier compares the other attachments with the bundle, which is verified.
func compareDossier(content map[string][]byte, bundle []byte, public ed25519.PublicKey, verdict *audit.VerifiedLog) (reason string) {
	leaves, err := audit.BundleLeaves(bytes.NewReader(bundle), int64(len(bundle)))
	if err != nil {
		return err.Error()
	}
	d := comparedDossier{Entries: namedEntries{leaves: leaves}}
	err = audit.ReadExactly(content[attachedDossier], map[string]any{
		"format": &d.Format, "id": &d.ID, "kind": &d.Kind, "log": &d.Log, "size": &d.Size, "root": &d.Root, "sealedAt": &d.SealedAt, "entries": &d.Entries,
	})
	if err != nil || d.Format != DossierFormat {
		return attachedDossier + " is not a dossier of the format " + DossierFormat
	}
	if d.Size != verdict.Size || d.Root != verdict.Root.String() || d.Log != audit.Origin(public) || d.SealedAt != verdict.SignedAt.String() {
		return attachedDossier + " is not about the checkpoint of the bundle"
	}
	if len(leaves) != d.Entries.n {
		return fmt.Sprintf("%s names %d entries, and the bundle has %d", attachedDossier, d.Entries.n, len(leaves))
	}
	if d.Entries.other != nil {
		return fmt.Sprintf("%s names another entry at %d than the bundle has", attachedDossier, *d.Entries.other)
	}
	kind := 0
	for _, e := range leaves {
		if e.ResourceID != d.ID {
			return fmt.Sprintf("%s is about another resource than the entry at %d", attachedDossier, e.Seq)
		}
		kind = cmp.Or(e.ResourceKind, kind)
	}
	if kind != 0 && d.Kind != ofb.Kind(kind).String() {
		return attachedDossier + " is about another kind of resource than its entries"
	}
	note, err := audit.OpenCheckpoint(content[attachedCheckpoint], public)
	if err != nil || note.Size != d.Size || note.Root.String() != d.Root {
		return attachedCheckpoint + " is not the checkpoint of the bundle"
	}
	return ""
}

// comparedDossier is what a machine-readable dossier and the bundle must agree on (dossierFile).
type comparedDossier struct {
	Format, ID, Kind, Log string
	Size                  int64
	Root, SealedAt        string
	Entries               namedEntries
}

// namedEntries compares the entries that a dossier names with leaves, one after the other: a dossier that others made may name any
// number, and none is kept.
type namedEntries struct {
	leaves []audit.SeqLeaf
	n      int
	other  *int64 // position that the first one names that is not the leaf
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *namedEntries) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if start, err := d.Token(); err != nil || start != json.Delim('[') {
		return errors.New("entries is no list")
	}
	for e.n, e.other = 0, nil; d.More(); e.n++ {
		var one entryFile
		if err := d.Decode(&one); err != nil {
			return err
		}
		if e.other == nil && e.n < len(e.leaves) && !one.repeats(&e.leaves[e.n]) {
			e.other = &one.Seq
		}
	}
	return nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *entryFile) UnmarshalJSON(text []byte) error {
	return audit.ReadExactly(text, map[string]any{"seq": &e.Seq, "leaf": &e.Leaf, "at": &e.At, "kind": &e.Kind})
}

// repeats tells whether a dossier says of an entry what the bundle says.
func (e *entryFile) repeats(have *audit.SeqLeaf) bool {
	return e.Seq == have.Seq && e.Leaf == have.Hash.String() && e.At == have.At && e.Kind == have.Kind
}

// What a PDF of ours is made of.
var (
	pdfEnd     = regexp.MustCompile(`startxref\n(\d{1,12})\n%%EOF\n?$`)
	pdfTable   = regexp.MustCompile(`^xref\n0 (\d{1,7})\n`)
	pdfRoot    = regexp.MustCompile(`/Root (\d{1,7}) 0 R`)
	pdfNames   = regexp.MustCompile(`/EmbeddedFiles << /Names \[([^\]]*)\] >>`)
	pdfName    = regexp.MustCompile(`\(Attachement\d+\) (\d{1,7}) 0 R`)
	pdfSpec    = regexp.MustCompile(`(?s)^<< /Type /Filespec /F \(\) /UF \((.*?)\) /EF << /F (\d{1,7}) 0 R >>`)
	pdfStream  = regexp.MustCompile(`^<< /Type /EmbeddedFile /Length (\d{1,10}) /Filter /FlateDecode /Params << /CheckSum <[0-9a-f]{32}> /Size (\d{1,10}) >> >>\n+stream\n`)
	pdfEscapes = regexp.MustCompile(`(?s)\\(.)`)
)

// errNotOurs means that a file is not laid out as our library does.
var errNotOurs = errors.New("its structure is another one")

// Bounds of a PDF of ours: attachments, and bytes of one of its small objects.
const (
	attachmentsMost = 64
	objectMost      = 64 << 10
)

// attachmentsOf reads the attachments of a PDF in the order in which they are named. It knows the one layout that our writer
// makes and nothing else: one table of objects, at the end, and no later revision. A file of somebody else is refused rather
// than understood in two ways.
func attachmentsOf(pdf []byte) ([]attachment, error) {
	return attachmentsWithin(pdf, audit.WholeMost)
}

// attachmentsWithin is attachmentsOf for attachments that have at most so many bytes together; audit.ErrTooLong when they have more.
func attachmentsWithin(pdf []byte, most int64) ([]attachment, error) {
	end := pdfEnd.FindSubmatch(pdf[max(0, len(pdf)-64):])
	if end == nil || bytes.Count(pdf, []byte("startxref")) != 1 {
		return nil, errNotOurs
	}
	at, err := strconv.Atoi(string(end[1]))
	if err != nil || at >= len(pdf) {
		return nil, errNotOurs
	}
	head := pdfTable.FindSubmatch(pdf[at:])
	if head == nil {
		return nil, errNotOurs
	}
	count, _ := strconv.Atoi(string(head[1])) // at most seven digits
	table := pdf[at+len(head[0]):]
	if len(table) < count*20 {
		return nil, errNotOurs
	}
	object := func(number []byte) ([]byte, error) {
		n, err := strconv.Atoi(string(number))
		if err != nil || n < 1 || n >= count {
			return nil, errNotOurs
		}
		from, err := strconv.Atoi(string(table[n*20 : n*20+10]))
		start := fmt.Appendf(nil, "%d 0 obj\n", n)
		if err != nil || from < 0 || from >= at || !bytes.HasPrefix(pdf[from:], start) {
			return nil, errNotOurs
		}
		return pdf[from+len(start) : at], nil
	}
	root := pdfRoot.FindSubmatch(table[count*20:])
	if root == nil {
		return nil, errNotOurs
	}
	catalog, err := object(root[1])
	if err != nil {
		return nil, err
	}
	names := pdfNames.FindSubmatch(beginning(catalog))
	if names == nil {
		return nil, errNotOurs
	}
	all := pdfName.FindAllSubmatch(names[1], attachmentsMost+1)
	if len(all) > attachmentsMost {
		return nil, errNotOurs
	}
	var out []attachment
	for _, name := range all {
		one, err := attachmentAt(object, name[1], most)
		if err != nil {
			return nil, err
		}
		most -= int64(len(one.content))
		out = append(out, one)
	}
	return out, nil
}

// beginning is the part of a file in which a small object must end.
func beginning(text []byte) []byte { return text[:min(len(text), objectMost)] }

// attachmentAt reads one attachment of at most so many bytes by the number of its description.
func attachmentAt(object func([]byte) ([]byte, error), number []byte, most int64) (attachment, error) {
	text, err := object(number)
	if err != nil {
		return attachment{}, err
	}
	spec := pdfSpec.FindSubmatch(beginning(text))
	if spec == nil {
		return attachment{}, errNotOurs
	}
	name, err := pdfText(spec[1])
	if err != nil {
		return attachment{}, err
	}
	if text, err = object(spec[2]); err != nil {
		return attachment{}, err
	}
	stream := pdfStream.FindSubmatch(beginning(text))
	if stream == nil {
		return attachment{}, errNotOurs
	}
	length, _ := strconv.Atoi(string(stream[1])) // at most ten digits, as the size
	size, _ := strconv.ParseInt(string(stream[2]), 10, 64)
	packed := text[len(stream[0]):]
	switch {
	case length > len(packed):
		return attachment{}, errNotOurs
	case size > most:
		return attachment{}, audit.ErrTooLong
	}
	r, err := zlib.NewReader(bytes.NewReader(packed[:length]))
	if err != nil {
		return attachment{}, fmt.Errorf("the attachment %s cannot be unpacked: %w", name, err)
	}
	content, err := io.ReadAll(io.LimitReader(r, size+1))
	if err != nil || int64(len(content)) != size {
		return attachment{}, fmt.Errorf("the attachment %s cannot be unpacked, or is not as long as it says", name)
	}
	return attachment{name: name, content: content}, nil
}

// pdfText reads a string of a PDF in UTF-16 with its mark.
func pdfText(raw []byte) (string, error) {
	raw = pdfEscapes.ReplaceAllFunc(raw, func(m []byte) []byte {
		if i := slices.Index([]byte("nrt"), m[1]); i >= 0 {
			return []byte("\n\r\t"[i : i+1])
		}
		return m[1:]
	})
	if !bytes.HasPrefix(raw, []byte{0xfe, 0xff}) || len(raw)%2 != 0 {
		return "", errNotOurs
	}
	var units []uint16
	for i := 2; i < len(raw); i += 2 {
		units = append(units, uint16(raw[i])<<8|uint16(raw[i+1]))
	}
	return string(utf16.Decode(units)), nil
}
