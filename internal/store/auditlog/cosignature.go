package auditlog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/store"
)

// NewestCosigned stands, in the place of a size, for the newest checkpoint that a witness cosigned.
const NewestCosigned = audit.NewestCosigned

// maxCosignatures is how many stored cosignatures of one checkpoint are read. A signed note may have 100 signatures.
const maxCosignatures = "64"

// storedLines are, of checkpoint c, the rows of log_cosignature as "VKEY LINE": the newest of each witness first, those of the witnesses in
// the array %s before all others. A row of the future is left out.
const storedLines = `ARRAY(SELECT s.witness || ' ' || s.line FROM log_cosignature s WHERE s.size = c.size AND s.at <= now() + interval '5 minutes'
ORDER BY s.witness = ANY (%s::text[]) DESC, row_number() OVER (PARTITION BY s.witness ORDER BY s.at DESC), s.witness LIMIT ` + maxCosignatures + `)`

// noteAndLines selects, of checkpoint c, the note and its stored lines apart. Only withCosignatures puts them together.
var noteAndLines = "c.note, " + fmt.Sprintf(storedLines, "'{}'")

// cosignedNote is a checkpoint's note, and how many lines that are stored for it are not what their witness signed.
type cosignedNote struct {
	text      []byte
	witnesses int // that cosigned it
	forged    int
}

// withCosignatures adds to a note, of the stored lines, the newest of each witness that verifies with the key in its own row. Others are
// passed over: who may add rows must not spoil what the log's key signed.
func withCosignatures(note string, lines []string) (n cosignedNote) {
	var said []audit.Cosignature
	for _, row := range lines {
		vkey, line, _ := strings.Cut(row, " ")
		w, err := audit.ParseWitnessKey(vkey)
		if err != nil {
			n.forged++
			continue
		}
		c, err := w.ReadCosignature([]byte(note), line)
		if err != nil {
			n.forged++
			continue
		}
		said = append(said, c)
	}
	said = audit.NewestOf(said)
	slices.SortFunc(said, func(a, b audit.Cosignature) int { return strings.Compare(a.Witness.String(), b.Witness.String()) })
	n.text, n.witnesses = audit.AddCosignatures([]byte(note), said), len(said)
	return n
}

// KeepCosignature stores what a witness says of the checkpoint of a size. Its signature is verified.
func (l *Log) KeepCosignature(ctx context.Context, size int64, c audit.Cosignature) error {
	_, err := l.query.Exec(ctx, "INSERT INTO log_cosignature (size, witness, at, line) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", size, c.Witness.String(), c.At, string(c.Line))
	return store.Unavailable("store a cosignature", err)
}

// Cosigned are checkpoints that witnesses cosigned.
type Cosigned struct {
	// Notes are signed notes with the newest cosignature of each witness, the newest checkpoint first.
	Notes [][]byte
	// Forged is how many stored cosignatures of these checkpoints are not what their witness signed: somebody put them in.
	Forged int
}

// Cosigned reads the newest checkpoints that witnesses cosigned, at most so many. Cosignatures of the witnesses named come before all
// others where more than 64 are stored for one checkpoint.
func (l *Log) Cosigned(ctx context.Context, first []audit.WitnessKey, most int) (Cosigned, error) {
	return cosigned(ctx, l.query, first, most)
}

// cosignedMost is how many checkpoints CosignedOf reads: at one a minute, those of 70 days.
const cosignedMost = 100_000

// CosignedOf is Cosigned for the database that a URL names, for the newest 100,000.
func CosignedOf(ctx context.Context, url string, first []audit.WitnessKey) (Cosigned, error) {
	conn, err := auditConn(ctx, url)
	if err != nil {
		return Cosigned{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return cosigned(ctx, conn, first, cosignedMost)
}

func cosigned(ctx context.Context, q querier, first []audit.WitnessKey, most int) (out Cosigned, err error) {
	vkeys := []string{}
	for _, w := range first {
		vkeys = append(vkeys, w.String())
	}
	rows, _ := q.Query(ctx, "SELECT c.note, "+fmt.Sprintf(storedLines, "$2")+` FROM (SELECT DISTINCT size FROM log_cosignature ORDER BY size DESC LIMIT $1) n JOIN log_checkpoint c USING (size)
ORDER BY c.size DESC`, most, vkeys)
	notes, err := pgx.CollectRows(rows, readCosigned)
	if err != nil {
		return out, store.Unavailable("read cosigned checkpoints", err)
	}
	for _, n := range notes {
		out.Forged += n.forged
		if n.witnesses > 0 {
			out.Notes = append(out.Notes, n.text)
		}
	}
	return out, nil
}

// readCosigned reads a row of noteAndLines.
func readCosigned(row pgx.CollectableRow) (cosignedNote, error) {
	var note string
	var lines []string
	err := row.Scan(&note, &lines)
	return withCosignatures(note, lines), err
}

// newestCosigned finds the size of the newest checkpoint that a witness cosigned; false without one.
func newestCosigned(ctx context.Context, q querier) (size int64, found bool, err error) {
	rows, _ := q.Query(ctx, "SELECT DISTINCT size FROM log_cosignature ORDER BY size DESC LIMIT 1000")
	sizes, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, false, err
	}
	for _, size := range sizes {
		rows, _ := q.Query(ctx, "SELECT "+noteAndLines+" FROM log_checkpoint c WHERE c.size = $1", size)
		n, err := pgx.CollectExactlyOneRow(rows, readCosigned)
		if err != nil || n.witnesses > 0 {
			return size, err == nil, err
		}
	}
	return 0, false, nil
}

// ProveGrowth proves that the log of an older size is the beginning of the log of a newer one. Both are sealed sizes, or 0 for the older one;
// audit.ErrOutside when the older one is larger.
func (l *Log) ProveGrowth(ctx context.Context, old, size int64) ([]audit.Hash, error) {
	if old == 0 {
		return nil, nil
	}
	path, err := audit.ProveConsistency(stored{ctx, l.query}, old, size)
	return path, store.Unavailable("prove growth", stored{}.judge(err))
}
