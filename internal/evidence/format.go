package evidence

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
)

// Format is one way to write an export down.
type Format struct {
	Name    string
	Type    string // media type
	Suffix  string // of a file
	Version bool   // the writer's version is in it
	// Write writes what the search finds and returns how many entries that were. It holds little in memory: at most the
	// positions of what a filter found.
	Write func(ctx context.Context, log SealedLog, s history.Search, version string, w io.Writer) (int64, error)
}

// Formats lists the ways to write an export, the default first.
func Formats() []Format {
	return []Format{
		{Name: "bundle", Type: "application/zip", Suffix: ".zip", Version: true, Write: writeBundle},
		{Name: "jsonl", Type: "application/x-ndjson", Suffix: ".jsonl", Write: writeLines},
		{Name: "csv", Type: "text/csv; charset=utf-8", Suffix: ".csv", Write: writeCSV},
		{Name: "parquet", Type: "application/vnd.apache.parquet", Suffix: ".parquet", Version: true, Write: writeParquet},
	}
}

// FormatNamed finds a format.
func FormatNamed(name string) (Format, bool) {
	for _, f := range Formats() {
		if f.Name == name {
			return f, true
		}
	}
	return Format{}, false
}

func writeLines(ctx context.Context, log SealedLog, s history.Search, _ string, w io.Writer) (n int64, err error) {
	var line []byte
	filtered := len(s.Filter()) > 0
	err = log.Each(ctx, s, func(e *audit.Sealed) error {
		n++
		if line = e.Line(line[:0]); filtered {
			line = audit.AppendFiltered(line)
		}
		line = append(line, '\n')
		_, err := w.Write(line)
		return err
	})
	return n, err
}

// writeBundle walks several times: for the entries; with a filter, for their proofs; for the private texts; and where the
// filter names clients and verifications counted their entries, for what shows that nothing is missing.
func writeBundle(ctx context.Context, log SealedLog, s history.Search, version string, w io.Writer) (n int64, err error) {
	filter, head := s.Filter(), log.Head()
	b := audit.NewBundle(w, head.Public, head.Checkpoint, filter, version)
	var found []int64
	var line []byte
	err = log.Each(ctx, s, func(e *audit.Sealed) error {
		n++
		if len(filter) > 0 {
			found = append(found, e.Seq)
		}
		line = e.Line(line[:0])
		return b.Entry(line)
	})
	if err != nil {
		return n, err
	}
	for _, seq := range found {
		path, err := log.Prove(ctx, seq)
		if err != nil {
			return n, err
		}
		if err := b.Proof(seq, path); err != nil {
			return n, err
		}
	}
	if err := writePrivate(ctx, log, s, b); err != nil {
		return n, err
	}
	checkpoints, err := writeCounts(ctx, log, s, b)
	if err != nil {
		return n, err
	}
	checkpoints = append(checkpoints, head.Note)
	if len(filter) == 0 {
		if checkpoints, err = log.Checkpoints(ctx); err != nil {
			return n, err
		}
	}
	return n, b.Close(checkpoints)
}

// writePrivate adds the private texts of what the search finds, and looks at no entries of kinds that have none.
func writePrivate(ctx context.Context, log SealedLog, s history.Search, b *audit.BundleWriter) error {
	kinds := audit.PrivateKinds()
	if len(s.Entries) > 0 {
		kinds = slices.DeleteFunc(kinds, func(kind string) bool { return !slices.Contains(s.Entries, kind) })
	}
	if len(kinds) == 0 {
		return nil
	}
	s.Entries = kinds
	return log.Each(ctx, s, func(e *audit.Sealed) error {
		if e.Entry == nil {
			return nil // its time is over
		}
		return b.Private(e.Seq, e.Entry)
	})
}

// writeCounts adds to a bundle what shows its completeness, where that can be shown at all, and returns the checkpoint at
// which it begins.
func writeCounts(ctx context.Context, log SealedLog, s history.Search, b *audit.BundleWriter) (start [][]byte, err error) {
	p, err := log.Counted(ctx, s)
	if err != nil || p == nil {
		return nil, err
	}
	b.Counted(p.Clients)
	var line []byte
	err = log.Context(ctx, p, s, func(e *audit.Sealed) error {
		line = e.Line(line[:0])
		return b.Context(line)
	})
	if err != nil {
		return nil, err
	}
	if err := log.Windows(ctx, p, b.Window); err != nil {
		return nil, err
	}
	if p.Start != nil {
		start = append(start, p.Start)
	}
	return start, nil
}

// genuine refuses an entry that is not what was sealed, in a format that cannot prove itself.
func genuine(e *audit.Sealed) error {
	reason := e.Reason()
	if reason == "" {
		return nil
	}
	return &audit.Fault{Seq: e.Seq, Reason: reason + "; export as bundle or jsonl, whose verification shows it"}
}

// writeCSV is for reading in a spreadsheet; the file proves nothing, so each entry is compared with its leaf first.
func writeCSV(ctx context.Context, log SealedLog, s history.Search, _ string, w io.Writer) (n int64, err error) {
	head := []string{"seq"}
	for _, c := range audit.Columns() {
		head = append(head, c[1])
	}
	table := NewTable(w, head...)
	err = log.Each(ctx, s, func(e *audit.Sealed) error {
		if err := genuine(e); err != nil {
			return err
		}
		n++
		row := []string{strconv.FormatInt(e.Seq, 10)}
		if e.Entry == nil {
			row = append(row, "", e.At.String(), "", "removed")
		} else {
			row = append(row, e.Entry.Values()...)
		}
		for len(row) < len(head) {
			row = append(row, "")
		}
		return table.Row(row)
	})
	return n, errors.Join(err, table.Flush())
}
