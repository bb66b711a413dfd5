package bank

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/ofb"
)

// Calls writes the status queries of a day as the ecosystem's metrics platform wants them; package gateway joins it.
type Calls interface {
	// WriteCalls writes those of a day in Brasília time, such as 2026-11-21, as jsonl or csv, and returns how many there are.
	WriteCalls(ctx context.Context, day, format string, w io.Writer) (int64, error)
}

// callsWithin bounds the walk through a day of status queries.
const callsWithin = 2 * time.Minute

// callMedia are the forms of the list of a day's calls.
var callMedia = map[string]string{"jsonl": typeNDJSON, "csv": "text/csv; charset=utf-8"}

// getCalls lists the status queries of a day, to compare them with the metrics platform.
func (in *Internal) getCalls(x *api.Exchange) error {
	p, err := parameters(x.R.URL.RawQuery, "day", "format")
	if err != nil {
		return err
	}
	format := cmp.Or(p["format"], "jsonl")
	if callMedia[format] == "" {
		return wrong("format", "must be jsonl or csv", "deve ser jsonl ou csv")
	}
	begins, err := time.ParseInLocation(time.DateOnly, p["day"], ofb.Brasilia)
	if err != nil {
		return wrong("day", "must be a day in Brasília time, such as 2026-11-21", "deve ser um dia no horário de Brasília, como 2026-11-21")
	}
	if problem := history.Begun(begins, x.Began); problem != nil {
		return wrong("day", problem.Detail, problem.DetailPT)
	}
	file, err := os.CreateTemp(in.cfg.TempDir, ".arauto-calls-*")
	if err != nil {
		return err
	}
	defer file.Close()
	if err := os.Remove(file.Name()); err != nil { // it lives as long as it is open
		return err
	}
	rc := http.NewResponseController(x.W)
	_ = rc.SetWriteDeadline(x.Began.Add(callsWithin + pieceWithin)) // a caller in this process has none
	ctx, cancel := context.WithTimeout(x.R.Context(), callsWithin)
	defer cancel()
	hash := sha256.New()
	rows, err := in.cfg.Calls.WriteCalls(ctx, p["day"], format, io.MultiWriter(file, hash))
	if err != nil {
		return err
	}
	length, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if err := in.record(x, history.LogReading{Act: "calls", Filter: askedOf(x), Rows: rows, SHA256: hex.EncodeToString(hash.Sum(nil))}); err != nil {
		return err
	}
	h := x.W.Header()
	h.Set("Content-Type", callMedia[format])
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="arauto-calls-%s.%s"`, p["day"], format))
	x.W.WriteHeader(http.StatusOK)
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for {
		_ = rc.SetWriteDeadline(time.Now().Add(pieceWithin))
		if _, err := io.CopyN(x.W, file, 1<<20); err != nil {
			return nil // the end, or a reader who is gone
		}
	}
}
