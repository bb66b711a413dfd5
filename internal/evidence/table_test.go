package evidence_test

import (
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/evidence"
)

// hostileCells is every way found to make a spreadsheet compute what somebody else wrote, and what the file must say.
func hostileCells() map[string]string {
	cells := map[string]string{
		"503 no;=cmd|'/c calc'!A0": "503 no;'=cmd|'/c calc'!A0",
		"a; =1+1":                  "a;' =1+1",
		`a;"=1+1"`:                 `a;'"=1+1"`,
		`"=1+1"`:                   `'"=1+1"`,
		"  @SUM(A1)":               "'  @SUM(A1)",
		"\u00a0=1":                 "'\u00a0=1",
		"\ufeff=1":                 "'\ufeff=1",
		"\x00=1":                   "'\x00=1",
		"=a;=b\t=c\n=d":            "'=a;'=b\t'=c\n'=d",
		"-1.5":                     "'-1.5",
		"-5;-6":                    "'-5;'-6",
		"\tpasted":                 "'\tpasted",
		"-":                        "'-",
	}
	for _, sign := range []string{"=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"} {
		cells[sign+"cmd"] = "'" + sign + "cmd"
		cells[";"+sign+"cmd"] = ";'" + sign + "cmd"
		cells["x;"+sign+"cmd"] = "x;'" + sign + "cmd"
		for _, control := range []string{"\t", "\r", "\n", "\r\n"} {
			cells[control+sign+"cmd"] = "'" + control + "'" + sign + "cmd"
			cells["x"+control+sign+"cmd"] = "x" + control + "'" + sign + "cmd"
		}
	}
	return cells
}

func table(t *testing.T, rows ...[]string) string {
	t.Helper()
	var out strings.Builder
	table := evidence.NewTable(&out, "first", "cell", "last")
	for _, row := range rows {
		require.NoError(t, table.Row(row))
	}
	require.NoError(t, table.Flush())
	return out.String()
}

func parse(t *testing.T, text string, separator rune) [][]string {
	t.Helper()
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.FieldsPerRecord, r.LazyQuotes = separator, -1, separator != ','
	rows, err := r.ReadAll()
	require.NoError(t, err)
	return rows
}

func TestNoCellOfATableIsAFormulaInAnySpreadsheet(t *testing.T) {
	for cell, safe := range hostileCells() {
		t.Run(fmt.Sprintf("%q", cell), func(t *testing.T) {
			text := table(t, []string{"1", cell, "z"})
			rows := parse(t, text, ',')
			require.Len(t, rows, 2)
			require.Equal(t, []string{"1", strings.ReplaceAll(safe, "\r\n", "\n"), "z"}, rows[1], "CSV readers take CR LF inside a cell as LF")
			for _, separator := range []rune{',', ';', '\t'} {
				for _, row := range parse(t, text, separator) {
					for _, seen := range row {
						seen = strings.TrimLeft(seen, " \u00a0\ufeff\x00\"")
						require.NotContains(t, "=+-@\uff1d\uff0b\uff0d\uff20", string([]rune(seen + " ")[:1]), "separator %q", separator)
					}
				}
			}
		})
	}
}

func TestATableKeepsWhatIsNoFormula(t *testing.T) {
	cells := []string{
		"", "-42", "+7", "503 no; cmd", "a=b", "a;b=c", "x - y", `{"a":"-5","b":[1,-2]}`, "São Paulo", "it's", "a,=b", "\xff", "2026-11-21T12:00:00.000000Z",
		"multi\nline", "1,5", "a@b.example.com",
	}
	for _, cell := range cells {
		rows := parse(t, table(t, []string{"1", cell, "z"}), ',')
		require.Equal(t, [][]string{{"first", "cell", "last"}, {"1", cell, "z"}}, rows, "%q", cell)
	}
}

// full is a disk without room.
type full struct{}

var errNoRoom = errors.New("no space left on device")

func (full) Write([]byte) (int, error) { return 0, errNoRoom }

func TestATableReportsAFullDisk(t *testing.T) {
	table := evidence.NewTable(full{}, "a")
	require.NoError(t, table.Row([]string{"1"}), "it is buffered")
	require.ErrorIs(t, table.Flush(), errNoRoom)
}
