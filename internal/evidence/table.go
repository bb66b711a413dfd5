package evidence

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// Table writes a CSV file: one header, then rows of as many cells. Cells are separated by a comma, rows by a line feed;
// the text is UTF-8 without a byte order mark, quoted as RFC 4180 demands. No cell that a peer or the core named becomes a
// formula when a spreadsheet opens the file, whether it splits rows at commas, semicolons or tabs. To get a cell's text
// back, remove the apostrophes that the rule put in. A Table proves nothing about its rows.
type Table struct{ rows *csv.Writer }

// NewTable writes the header. Its error is returned by Flush.
func NewTable(w io.Writer, columns ...string) *Table {
	t := &Table{csv.NewWriter(w)}
	_ = t.Row(columns)
	return t
}

// Row writes one row. An error of the writer below may come later, from another Row or from Flush.
func (t *Table) Row(cells []string) error {
	safe := make([]string, len(cells))
	for i, cell := range cells {
		safe[i] = inert(cell)
	}
	return t.rows.Write(safe)
}

// Flush writes what is buffered and returns the first error of all that was written.
func (t *Table) Flush() error {
	t.rows.Flush()
	return t.rows.Error()
}

// The signs that begin a formula, the full-width ones as Japanese and Chinese spreadsheets take them too, and what may end
// a cell inside a cell: the separator of countries with a decimal comma, and the separators of pasted text.
const (
	formulaSigns   = "=+-@\uff1d\uff0b\uff0d\uff20"
	cellSeparators = ";\t\r\n"
)

// inert returns a cell that no spreadsheet computes. An apostrophe stands before a part that begins with a formula sign,
// spaces and quotation marks aside, and before a cell that begins with a control character. A part begins at the
// beginning of the cell and after each separator. Whole numbers stay as they are.
func inert(cell string) string {
	if _, err := strconv.ParseInt(cell, 10, 64); err == nil {
		return cell
	}
	var out strings.Builder
	control := cell != "" && cell[0] < ' '
	if control {
		out.WriteByte('\'')
	}
	written, part := 0, 0 // bytes of the cell in out; where the present part begins
	first := !control     // nothing visible was seen in this part, and no apostrophe put before it
	for i, r := range cell {
		switch {
		case strings.ContainsRune(cellSeparators, r):
			part, first = i+1, true
		case first && strings.ContainsRune(formulaSigns, r):
			out.WriteString(cell[written:part])
			out.WriteByte('\'')
			written, first = part, false
		case r != '"' && !unicode.IsSpace(r) && unicode.IsGraphic(r):
			first = false
		}
	}
	out.WriteString(cell[written:])
	return out.String()
}
