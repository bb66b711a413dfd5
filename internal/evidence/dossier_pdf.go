package evidence

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/timing"
)

// DossierFormat is the format of the machine-readable dossier, dossier.json.
const DossierFormat = "arauto-dossier/1"

// dossierFile is the machine-readable dossier. It repeats what the bundle beside it proves.
type dossierFile struct {
	Format        string          `json:"format"`
	ID            string          `json:"id"`
	Kind          string          `json:"kind"`
	Log           string          `json:"log"`
	Size          int64           `json:"size"` // of the log, by the checkpoint
	Root          string          `json:"root"`
	SealedAt      string          `json:"sealedAt"`
	Holder        Party           `json:"holder"`
	Initiators    []initiatorFile `json:"initiators"`
	Notifications []timing.Timing `json:"notifications"`
	Entries       []entryFile     `json:"entries"` // of the resource, in the order of the log
}

type initiatorFile struct {
	Client string `json:"clientId"`
	Party
}

type entryFile struct {
	Seq  int64  `json:"seq"`
	Leaf string `json:"leaf"`
	At   string `json:"at"`
	Kind string `json:"kind"`
}

// registeredNames are what a log may know beside its entries: the institutions that are registered. Their names are not
// sealed.
type registeredNames interface {
	Registration(ctx context.Context, client notice.ClientID) (notice.Initiator, error)
}

// DossierPDF is Dossier as one file that is document and proof: its pages are made of the same verified entries, and these
// entries, their proofs, the checkpoint and the machine-readable dossier are attached to it. VerifyPDF verifies such a file.
// The same log, id and document give the same bytes. Legal names are those of the registrations, which the log does not seal.
func DossierPDF(ctx context.Context, log SealedLog, id string, doc PaperFrom) (pdf []byte, entries int64, err error) {
	words, known := dossierWords[doc.Lang]
	if !known {
		return nil, 0, ErrDossier
	}
	d, err := collect(ctx, log, id, words)
	if err != nil {
		return nil, 0, err
	}
	var bundle bytes.Buffer
	if _, err := writeBundle(ctx, log, history.Search{ResourceID: d.ID}, doc.Version, &bundle); err != nil {
		return nil, 0, err
	}
	file, err := d.file(ctx, log, doc)
	if err != nil {
		return nil, 0, err
	}
	text, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return nil, 0, err
	}
	head := log.Head()
	key, err := audit.MarshalPublic(head.Public)
	if err != nil {
		return nil, 0, err
	}
	w := paperWords[doc.Lang]
	s := newSheets(words["title"]+" "+d.ID, fmt.Sprintf(w["foot"], d.Size, short(d.Root)), doc, head.Checkpoint.At.Time())
	if err := d.cover(s, file, doc); err != nil {
		return nil, 0, err
	}
	d.pages(s, doc)
	s.attach(attachedDossier, w["attachedDossier"], append(text, '\n'))
	s.attach(attachedBundle, w["attachedBundle"], bundle.Bytes())
	s.attach(attachedCheckpoint, w["attachedCheckpoint"], head.Note)
	s.attach(attachedKey, w["attachedKey"], key)
	pdf, err = s.finish()
	return pdf, int64(len(d.Events)), err
}

// short is the beginning of a hash.
func short(root string) string { return root[:min(len(root), 12)] + "…" }

// file is the machine-readable dossier.
func (d *dossier) file(ctx context.Context, log SealedLog, doc PaperFrom) (*dossierFile, error) {
	out := &dossierFile{
		Format: DossierFormat, ID: d.ID, Kind: d.Kind, Log: d.Log, Size: d.Size, Root: d.Root, SealedAt: d.SealedAt, Holder: doc.Holder,
		Initiators: []initiatorFile{}, Notifications: d.timings, Entries: d.sealed,
	}
	names, knows := log.(registeredNames)
	for _, client := range d.clients {
		is := initiatorFile{Client: client}
		if knows {
			r, err := names.Registration(ctx, notice.ClientID(client))
			if err != nil {
				return nil, err
			}
			is.Party = Party{LegalName: r.Name, OrganisationID: r.OrganisationID}
		}
		out.Initiators = append(out.Initiators, is)
	}
	return out, nil
}

// cover is the first page: what it is about, what it proves and what not, and how to check it.
func (d *dossier) cover(s *sheets, file *dossierFile, doc PaperFrom) error {
	w := paperWords[doc.Lang]
	const code = 46.0
	s.heading(17, d.Words["title"])
	s.heading(11, d.ID)
	if err := s.code(d.Checkpoint, sheetMargin+sheetWidth-code, 18, code); err != nil {
		return err
	}
	s.font("", 7, 110)
	s.SetXY(sheetMargin+sheetWidth-code, 18+code+1)
	s.MultiCell(code, 3.2, printable(w["code"]), "", "C", false)
	s.SetXY(sheetMargin, 42)
	about := [][2]string{{d.Words["kindOf"], d.Kind}, {w["holder"], partyText(doc.Holder, w)}}
	for _, is := range file.Initiators {
		about = append(about, [2]string{w["initiator"], partyText(is.Party, w) + "\nclientId " + is.Client})
	}
	at := d.head.Checkpoint.At.Time()
	about = append(about, [][2]string{
		{w["entries"], strconv.Itoa(len(d.Events))},
		{d.Words["log"], d.Log},
		{w["size"], strconv.FormatInt(d.Size, 10)},
		{d.Words["sealed"], inUTC(at, doc.Lang) + " UTC\n" + inBrasilia(at, doc.Lang)},
		{d.Words["root"], d.Root},
	}...)
	s.pairs(sheetWidth-code-6, about)
	s.SetY(max(s.GetY(), 18+code+12))
	s.statement(w, "dossier")
	return nil
}

// statement says what a document proves, what not, and how to check it.
func (s *sheets) statement(w map[string]string, kind string) {
	for _, part := range []string{"Proves", "ProvesNot", "Check"} {
		s.heading(11, w["head"+part])
		for line := range strings.SplitSeq(w[kind+part], "\n") {
			s.paragraph("• " + line)
		}
	}
	s.paragraph(w["noPDFA"])
}

func partyText(p Party, w map[string]string) string {
	name := cmp.Or(p.LegalName, w["noName"])
	if p.OrganisationID != "" {
		name += "\norganisationId " + p.OrganisationID
	}
	return name
}

// pages are the clock proofs, the entries and the checkpoint.
func (d *dossier) pages(s *sheets, doc PaperFrom) {
	w := paperWords[doc.Lang]
	if len(d.timings) > 0 {
		s.AddPage()
		s.heading(14, d.Words["clockProof"])
		s.paragraph(d.Words["clockNote"])
	}
	for i := range d.timings {
		d.clockPage(s, i)
	}
	s.AddPage()
	s.heading(14, strings.ToUpper(d.Words["entries"][:1])+d.Words["entries"][1:])
	s.paragraph(d.Words["proof"])
	rows := make([][]string, len(d.Events))
	for i, e := range d.Events {
		var details []string
		for _, f := range append(e.IDs, e.Facts...) {
			details = append(details, f.Name+": "+f.Value)
		}
		rows[i] = []string{strconv.FormatInt(e.Seq, 10), e.At + " UTC\n" + inBrasilia(e.instant, doc.Lang), strings.TrimSpace(e.Kind + " " + e.Number + "\n" + e.Outcome), strings.Join(details, "\n")}
	}
	s.table([]column{{d.Words["position"], 16, "R"}, {w["time"], 40, "L"}, {d.Words["event"], 32, "L"}, {d.Words["details"], sheetWidth - 88, "L"}}, rows)
	s.heading(11, d.Words["checkpoint"])
	s.verbatim(d.Checkpoint)
}

// clockPage is the clock proof of one notification.
func (d *dossier) clockPage(s *sheets, i int) {
	c, t := d.Clock[i], &d.timings[i]
	s.heading(9.5, c.Heading)
	for _, v := range c.Verdicts {
		s.paragraph("• " + v)
	}
	var rows [][]string
	for _, step := range c.Steps {
		if step.Attempt {
			rows = append(rows, []string{"", "", "", step.What})
			continue
		}
		brasilia := strings.TrimSuffix(inBrasilia(step.Instant, d.Words["clock"]), " Brasília")
		rows = append(rows, []string{step.At, brasilia, step.Distance, step.What})
	}
	s.table([]column{{"UTC", 43, "L"}, {"Brasília", 37, "L"}, {d.Words["distance"], 26, "R"}, {d.Words["event"], sheetWidth - 106, "L"}}, rows)
	for _, line := range t.Integrity.Lines(d.Words["clock"])[:1] {
		if t.Integrity.Verified > 0 {
			s.paragraph(line)
		}
	}
}
