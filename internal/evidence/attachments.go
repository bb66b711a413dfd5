package evidence

import (
	"bytes"
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
)

// VerifyPDF verifies a dossier that DossierPDF wrote: the sums of its attachments, the bundle among them with the log's public
// key, which must come from elsewhere than the file, and that dossier.json names exactly the entries of the bundle, with their
// leaves. It does not read the pages: where they differ from the attachments, the attachments count. What is wrong is an
// *audit.Fault. Of a report, which has no entries, it returns such a fault, too.
func VerifyPDF(pdf []byte, public ed25519.PublicKey, anchored []audit.Checkpoint) (audit.VerifiedLog, error) {
	bad := func(reason string, args ...any) (audit.VerifiedLog, error) {
		return audit.VerifiedLog{}, &audit.Fault{Reason: fmt.Sprintf(reason, args...)}
	}
	files, err := attachmentsOf(pdf)
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
	if !there {
		return bad("the PDF has no entries to verify: it is a report; export its period as a bundle")
	}
	verdict, err := audit.VerifyBundle(bytes.NewReader(bundle), int64(len(bundle)), public, anchored)
	if err != nil {
		return verdict, err
	}
	if reason := compareDossier(content, bundle, public, &verdict); reason != "" {
		return bad("%s", reason)
	}
	verdict.Notes = append(verdict.Notes, "the attachments were verified; where the pages differ from them, the attachments count")
	return verdict, nil
}

// compareDossier compares the other attachments with the bundle, which is verified.
func compareDossier(content map[string][]byte, bundle []byte, public ed25519.PublicKey, verdict *audit.VerifiedLog) (reason string) {
	var d dossierFile
	if err := json.Unmarshal(content[attachedDossier], &d); err != nil || d.Format != DossierFormat {
		return attachedDossier + " is not a dossier of the format " + DossierFormat
	}
	if d.Size != verdict.Size || d.Root != verdict.Root.String() || d.Log != audit.Origin(public) {
		return attachedDossier + " is not about the checkpoint of the bundle"
	}
	leaves, err := audit.BundleLeaves(bytes.NewReader(bundle), int64(len(bundle)))
	if err != nil {
		return err.Error()
	}
	if len(leaves) != len(d.Entries) {
		return fmt.Sprintf("%s names %d entries, and the bundle has %d", attachedDossier, len(d.Entries), len(leaves))
	}
	for i, e := range d.Entries {
		if e.Seq != leaves[i].Seq || e.Leaf != leaves[i].Hash.String() {
			return fmt.Sprintf("%s names another entry at %d than the bundle has", attachedDossier, e.Seq)
		}
	}
	note, err := audit.OpenCheckpoint(content[attachedCheckpoint], public)
	if err != nil || note.Size != d.Size || note.Root.String() != d.Root {
		return attachedCheckpoint + " is not the checkpoint of the bundle"
	}
	return ""
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

// attachedMost limits the size of an attachment, in bytes.
const attachedMost = 1 << 30

// attachmentsOf reads the attachments of a PDF in the order in which they are named. It knows the one layout that our writer
// makes and nothing else: one table of objects, at the end, and no later revision. A file of somebody else is refused rather
// than understood in two ways.
func attachmentsOf(pdf []byte) ([]attachment, error) {
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
		if err != nil || from >= at || !bytes.HasPrefix(pdf[from:], start) {
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
	names := pdfNames.FindSubmatch(catalog)
	if names == nil {
		return nil, errNotOurs
	}
	var out []attachment
	for _, name := range pdfName.FindAllSubmatch(names[1], -1) {
		one, err := attachmentAt(object, name[1])
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// attachmentAt reads one attachment by the number of its description.
func attachmentAt(object func([]byte) ([]byte, error), number []byte) (attachment, error) {
	text, err := object(number)
	if err != nil {
		return attachment{}, err
	}
	spec := pdfSpec.FindSubmatch(text)
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
	stream := pdfStream.FindSubmatch(text)
	if stream == nil {
		return attachment{}, errNotOurs
	}
	length, _ := strconv.Atoi(string(stream[1])) // at most ten digits, as the size
	size, _ := strconv.ParseInt(string(stream[2]), 10, 64)
	packed := text[len(stream[0]):]
	if length > len(packed) || size > attachedMost {
		return attachment{}, errNotOurs
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
