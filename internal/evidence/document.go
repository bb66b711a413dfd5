package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/goregular"
	"rsc.io/qr"

	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/timing"
)

// PaperFrom is what a document for people says of those who made it.
type PaperFrom struct {
	Lang    string // pt or en
	Version string // of the product
	Holder  Party  // who runs the log
}

// Party is an institution as a document names it.
type Party struct {
	LegalName      string `json:"legalName"` // "": not known
	OrganisationID string `json:"organisationId"`
}

// attachment is one file inside a PDF.
type attachment struct {
	name, about string
	content     []byte
}

// Names of attachments.
const (
	attachedBundle     = "bundle.zip"
	attachedDossier    = "dossier.json"
	attachedCheckpoint = "checkpoint.txt"
	attachedKey        = "log.pub.pem"
	attachedReport     = "report.json"
	attachedBreaches   = "breaches.csv"
	attachedSums       = "sha256sums.txt"
)

// The sheet: A4, in millimetres.
const (
	sheetMargin = 16.0
	sheetWidth  = 210 - 2*sheetMargin
	sheetBottom = 20.0
	lineHeight  = 4.4
)

// sheets is a PDF under construction. The same calls give the same bytes.
type sheets struct {
	*fpdf.Fpdf
	files []attachment
}

// newSheets begins a document. at is the instant of what it is about, and the only time in the file's own properties.
func newSheets(title, foot string, doc PaperFrom, at time.Time) *sheets {
	s := &sheets{Fpdf: fpdf.New("P", "mm", "A4", "")}
	for _, f := range []struct {
		family, style string
		font          []byte
	}{{"go", "", goregular.TTF}, {"go", "B", gobold.TTF}, {"mono", "", gomono.TTF}} {
		s.AddUTF8FontFromBytes(f.family, f.style, bytes.Clone(f.font)) // the library changes composed glyphs in place
	}
	s.SetCatalogSort(true)
	s.SetCreationDate(at.UTC())
	s.SetModificationDate(at.UTC())
	s.SetTitle(title, true)
	s.SetProducer("arauto "+doc.Version, true)
	s.SetLang(map[string]string{"pt": "pt-BR", "en": "en"}[doc.Lang])
	s.SetMargins(sheetMargin, 18, sheetMargin)
	s.SetAutoPageBreak(true, sheetBottom)
	s.AliasNbPages("{pages}")
	s.SetHeaderFunc(func() {
		s.font("", 8, 110)
		s.SetXY(sheetMargin, 9)
		s.CellFormat(0, 4, printable(title), "", 1, "L", false, 0, "")
		s.SetY(18)
	})
	s.SetFooterFunc(func() {
		s.font("", 7.5, 110)
		s.SetXY(sheetMargin, -14)
		s.CellFormat(sheetWidth-30, 4, printable(foot), "", 0, "L", false, 0, "")
		s.CellFormat(30, 4, fmt.Sprintf("%d / {pages}", s.PageNo()), "", 0, "R", false, 0, "")
	})
	s.AddPage()
	return s
}

// font sets style, size in points and a grey, 0 for black.
func (s *sheets) font(style string, size float64, grey int) {
	family := "go"
	if style == "mono" {
		family, style = "mono", ""
	}
	s.SetFont(family, style, size)
	s.SetTextColor(grey, grey, grey)
}

func (s *sheets) heading(size float64, text string) {
	s.font("B", size, 0)
	s.MultiCell(0, size*.5, printable(text), "", "L", false)
	s.Ln(1.5)
}

func (s *sheets) paragraph(text string) {
	s.font("", 9, 30)
	s.MultiCell(0, lineHeight, printable(text), "", "L", false)
	s.Ln(1.5)
}

// pairs are names with their values, one below the other, in a width.
func (s *sheets) pairs(width float64, all [][2]string) {
	const name = 42.0
	for _, p := range all {
		s.font("", 9, 110)
		x, y := s.GetXY()
		s.MultiCell(name, lineHeight, printable(p[0]), "", "L", false)
		below := s.GetY()
		s.SetXY(x+name, y)
		s.font("", 9, 0)
		s.MultiCell(width-name, lineHeight, printable(p[1]), "", "L", false)
		s.SetXY(x, max(below, s.GetY()))
	}
	s.Ln(2)
}

// column is one of a table; align is L or R.
type column struct {
	title string
	width float64
	align string
}

// table writes rows of as many cells as there are columns. A row stays on one page where it fits on one, and the titles are
// repeated on each.
func (s *sheets) table(columns []column, rows [][]string) {
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.title
	}
	_, height := s.GetPageSize()
	room := height - sheetBottom
	s.row(columns, titles, true)
	for _, row := range rows {
		if tall := s.tall(columns, row); s.GetY()+tall > room && tall < room-30 {
			s.AddPage()
			s.row(columns, titles, true)
		}
		s.row(columns, row, false)
	}
	s.Ln(2)
}

// tall is the height of a row.
func (s *sheets) tall(columns []column, row []string) float64 {
	s.font("", 8, 0)
	lines := 1
	for i, c := range columns {
		n := 0
		for part := range strings.SplitSeq(printable(row[i]), "\n") {
			n += max(1, len(s.SplitText(part, c.width)))
		}
		lines = max(lines, n)
	}
	return float64(lines)*3.9 + 1
}

func (s *sheets) row(columns []column, row []string, title bool) {
	x, y := sheetMargin, s.GetY()
	page, below := s.PageNo(), y
	for i, c := range columns {
		s.font(map[bool]string{true: "B"}[title], 8, map[bool]int{true: 90}[title])
		s.SetXY(x, y)
		s.MultiCell(c.width, 3.9, printable(row[i]), "", c.align, false)
		if s.PageNo() > page { // a cell longer than the page
			page, below = s.PageNo(), s.GetY()
			y = below
		}
		below = max(below, s.GetY())
		x += c.width
	}
	s.SetDrawColor(205, 205, 205)
	s.Line(sheetMargin, below+.5, sheetMargin+sheetWidth, below+.5)
	s.SetXY(sheetMargin, below+1)
}

// code draws a text as a QR code of a size, with its upper left corner at a place.
func (s *sheets) code(text string, x, y, size float64) error {
	c, err := qr.Encode(text, qr.L)
	if err != nil {
		return fmt.Errorf("draw the code of the checkpoint: %w", err)
	}
	dot := size / float64(c.Size)
	s.SetFillColor(0, 0, 0)
	for row := range c.Size {
		for from := 0; from < c.Size; from++ {
			to := from
			for to < c.Size && c.Black(to, row) {
				to++
			}
			if to > from {
				s.Rect(x+float64(from)*dot, y+float64(row)*dot, float64(to-from)*dot, dot, "F")
				from = to
			}
		}
	}
	return nil
}

// verbatim writes a text as it is, line by line, in equal widths.
func (s *sheets) verbatim(text string) {
	s.font("mono", 7.5, 0)
	s.MultiCell(0, 3.6, printable(text), "", "L", false)
	s.Ln(2)
}

// attach adds a file.
func (s *sheets) attach(name, about string, content []byte) {
	s.files = append(s.files, attachment{name, about, content})
}

// finish attaches the sums of the attachments and returns the file.
func (s *sheets) finish() ([]byte, error) {
	s.attach(attachedSums, "SHA-256", sumsOf(s.files))
	all := make([]fpdf.Attachment, len(s.files))
	for i, f := range s.files {
		all[i] = fpdf.Attachment{Content: f.content, Filename: f.name, Description: f.about}
	}
	s.SetAttachments(all)
	var out bytes.Buffer
	if err := s.Output(&out); err != nil {
		return nil, fmt.Errorf("write the PDF: %w", err)
	}
	return out.Bytes(), nil
}

// sumsOf is what sha256sum prints of files.
func sumsOf(files []attachment) []byte {
	var out bytes.Buffer
	for _, f := range files {
		sum := sha256.Sum256(f.content)
		fmt.Fprintf(&out, "%s  %s\n", hex.EncodeToString(sum[:]), f.name)
	}
	return out.Bytes()
}

// printable is a text that the fonts of a document can show: what others named may have any sign. What cannot be shown is
// written as \u and its number.
func printable(s string) string {
	var out strings.Builder
	for _, r := range s {
		if r == '\n' || r < 0x250 && unicode.IsPrint(r) || strings.ContainsRune("–—…“”‘’•→≤≥", r) {
			out.WriteRune(r)
			continue
		}
		fmt.Fprintf(&out, "\\u%04x", r)
	}
	return out.String()
}

// bothTimes is an instant in UTC and in Brasília's time, to the millisecond.
func bothTimes(at time.Time, lang string) string {
	return inUTC(at, lang) + " UTC · " + inBrasilia(at, lang)
}

func inUTC(at time.Time, lang string) string {
	return timing.Decimal(at.UTC().Format("2006-01-02 15:04:05.000"), lang)
}

func inBrasilia(at time.Time, lang string) string {
	return timing.Decimal(at.In(ofb.Brasilia).Format("02/01/2006 15:04:05.000"), lang) + " Brasília"
}
