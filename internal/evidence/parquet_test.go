package evidence_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/timing"
)

// made is a log of made-up entries: of all columns, of hardly any, and removed ones.
type made struct {
	n       int64
	forEach func(*audit.Sealed)
}

func uuid(of []byte) notice.ID {
	sum := sha256.Sum256(of)
	return notice.ID(sum[:16])
}

func entry(seq int64) *audit.Entry {
	id := uuid(fmt.Append(nil, "id", seq))
	e := &audit.Entry{ID: id, At: instant(seq), XID: 700 + seq/3, Kind: "poll", Facts: fmt.Sprintf(`{"system" : "test 1", "n":%d, "note":"\u0041ção 日本"}`, seq)}
	if seq%3 == 0 {
		return e
	}
	kind, number, revision, created := int16(2), int16(seq%3), seq*7, instant(seq)-5
	client, resource, outcome, closes := fmt.Sprint("client-", seq%5), fmt.Sprintf("urn:bancoex:%x", sha256.Sum256(id[:])), "refused", ""
	brand := fmt.Sprint("brand-", seq%2)
	e.Brand = &brand
	private := fmt.Sprintf(`{"salt":"%x","system":"test 1"}`, id)
	e.Private, e.Facts = &private, fmt.Sprintf(`{"private":"%s","n":%d}`, audit.Commit(private), seq)
	other := uuid(id[:])
	e.Kind, e.ClientID, e.ResourceKind, e.ResourceID, e.Revision = "result", &client, &kind, &resource, &revision
	e.NotificationID, e.ChangeID, e.InteractionID, e.Number, e.Outcome, e.Closes, e.CreatedAt = &other, &id, &other, &number, &outcome, &closes, &created
	return e
}

func instant(seq int64) audit.Instant {
	return audit.At(time.Date(2026, 11, 21, 12, 0, 0, 123456000, time.UTC)) + audit.Instant(seq*1000003)
}

func (m made) Each(_ context.Context, _ history.Search, each func(*audit.Sealed) error) error {
	for seq := range m.n {
		r := audit.Sealed{Seq: seq, At: instant(seq)}
		if seq%10 != 9 {
			r.Entry = entry(seq)
			r.Leaf = audit.Leaf(r.Entry.AppendRecord(nil, seq))
		}
		if m.forEach != nil {
			m.forEach(&r)
		}
		if err := each(&r); err != nil {
			return err
		}
	}
	return nil
}

func (m made) Prove(context.Context, int64) ([]audit.Hash, error) { return nil, nil }

func (m made) Unheard(context.Context, time.Time, time.Time) ([]history.Fact, error) { return nil, nil }

func (m made) IdlePeriods(context.Context, time.Time, time.Time) ([]timing.IdlePeriod, error) {
	return nil, nil
}

func (m made) Checkpoints(context.Context) ([][]byte, error) { return nil, nil }

func (m made) At(context.Context, int64) (*audit.Sealed, error) {
	return nil, errors.New("not asked for")
}

func (m made) Head() audit.SignedHead {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	return audit.SignedHead{Public: key.Public().(ed25519.PublicKey), Note: []byte("note\n")}
}

func (made) Counted(context.Context, history.Search) (*audit.CountedPeriod, error) { return nil, nil }

func (made) Context(context.Context, *audit.CountedPeriod, history.Search, func(*audit.Sealed) error) error {
	return nil
}

func (made) Windows(context.Context, *audit.CountedPeriod, func(*audit.CountedWindow) error) error {
	return nil
}

// filter has several members, whose order in a file must not be left to chance.
func filter() history.Search {
	return history.Search{ResourceID: "p-1", From: time.Unix(1, 0), To: time.Unix(1<<33, 0)}
}

func write(t *testing.T, format string, m made) []byte {
	t.Helper()
	var b bytes.Buffer
	f, known := evidence.FormatNamed(format)
	require.True(t, known)
	n, err := f.Write(t.Context(), m, filter(), "1.2.3", &b)
	require.NoError(t, err)
	require.Equal(t, m.n, n)
	return b.Bytes()
}

// TestAParquetFileHasEveryColumnOfEveryEntryWithItsType reads the file by what the file itself says of its columns.
func TestAParquetFileHasEveryColumnOfEveryEntryWithItsType(t *testing.T) {
	const rows = 60_000 // more than a row group
	text := write(t, "parquet", made{n: rows})
	file, err := parquet.OpenFile(bytes.NewReader(text), int64(len(text)))
	require.NoError(t, err)
	require.Equal(t, int64(rows), file.NumRows())
	require.Len(t, file.RowGroups(), 2)
	require.Equal(t, "arauto version 1.2.3(build )", file.Metadata().CreatedBy)
	told, _ := file.Lookup("arauto.filter")
	require.JSONEq(t, `{"from":"1970-01-01T00:00:01.000000Z","resourceId":"p-1","to":"2242-03-16T12:56:32.000000Z"}`, told)

	var names []string
	types := map[string]string{}
	for _, f := range file.Schema().Fields() {
		names, types[f.Name()] = append(names, f.Name()), fmt.Sprint(f.Type())
	}
	want := []string{"seq"}
	for _, c := range audit.Columns() {
		want = append(want, c[1])
	}
	require.Equal(t, want, names, "a column that the file does not have")
	for name, kind := range map[string]string{
		"seq": "INT(64,true)", "id": "UUID", "at": "TIMESTAMP(isAdjustedToUTC=true,unit=MICROS)", "createdAt": "TIMESTAMP(isAdjustedToUTC=true,unit=MICROS)",
		"kind": "STRING", "facts": "JSON", "number": "INT(16,true)", "interactionId": "UUID",
	} {
		require.Contains(t, types[name], kind, name)
	}

	seq := int64(0)
	for _, group := range file.RowGroups() {
		reader := group.Rows()
		var buffer [100]parquet.Row
		for {
			n, err := reader.ReadRows(buffer[:])
			for _, row := range buffer[:n] {
				require.Equal(t, expected(seq), shown(names, types, row), "row %d", seq)
				seq++
			}
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
		}
		require.NoError(t, reader.Close())
	}
	require.Equal(t, int64(rows), seq)
}

// expected is what CSV shows of the entry, which does not go through the writer's columns.
func expected(seq int64) []string {
	out := make([]string, len(audit.Columns())+1)
	out[0] = fmt.Sprint(seq)
	if seq%10 == 9 {
		out[2] = instant(seq).String()
		return out
	}
	copy(out[1:], entry(seq).Values())
	return out
}

func shown(names []string, types map[string]string, row parquet.Row) []string {
	out := make([]string, len(names))
	for _, v := range row {
		name := names[v.Column()]
		switch {
		case v.IsNull():
		case types[name] == "UUID":
			out[v.Column()] = notice.ID(v.ByteArray()).String()
		case strings.HasPrefix(types[name], "TIMESTAMP"):
			out[v.Column()] = audit.Instant(v.Int64()).String()
		default:
			out[v.Column()] = v.String()
		}
	}
	return out
}

// TestEveryFormIsTheSameBytesInEveryProcess runs itself as another process, since what is random in a library is often
// drawn once for each.
func TestEveryFormIsTheSameBytesInEveryProcess(t *testing.T) {
	sums := func() map[string]string {
		out := map[string]string{}
		for _, f := range evidence.Formats() {
			sum := sha256.Sum256(write(t, f.Name, made{n: 3000}))
			out[f.Name] = hex.EncodeToString(sum[:])
		}
		return out
	}
	const child = "ARAUTO_TEST_SUMS"
	if file := os.Getenv(child); file != "" {
		text, err := json.Marshal(sums())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, text, 0o600))
		return
	}
	file := t.TempDir() + "/sums"
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), child+"="+file, "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var theirs map[string]string
	require.NoError(t, json.Unmarshal(text, &theirs))
	require.Equal(t, sums(), theirs)
}

// TestAnExportKeepsNoMoreThanABatchInMemory writes 160,000 rows and looks at what is held meanwhile.
func TestAnExportKeepsNoMoreThanABatchInMemory(t *testing.T) {
	for _, format := range []string{"jsonl", "csv", "parquet"} {
		t.Run(format, func(t *testing.T) {
			var stats runtime.MemStats
			held := func() uint64 {
				runtime.GC()
				runtime.ReadMemStats(&stats)
				return stats.HeapAlloc
			}
			before, most := held(), uint64(0)
			f, _ := evidence.FormatNamed(format)
			_, err := f.Write(t.Context(), made{n: 160_000, forEach: func(r *audit.Sealed) {
				if r.Seq%49_000 == 0 {
					most = max(most, held())
				}
			}}, filter(), "1.2.3", io.Discard)
			require.NoError(t, err)
			require.Less(t, int64(most)-int64(before), int64(100<<20))
		})
	}
}
