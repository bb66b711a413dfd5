package main

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/store"
)

// queryFlags gives a command the flags that say which entries are wanted.
func queryFlags(c *cobra.Command) func() (store.ExportQuery, error) {
	var q store.ExportQuery
	var from, to string
	f := c.Flags()
	f.StringVar(&q.Client, "client", "", "only entries of this clientId")
	f.StringVar(&q.Kind, "kind", "", "only entries about resources of this kind, such as pix-payment")
	f.StringVar(&q.Resource, "resource", "", "only entries about the payment, consent or enrolment with this id")
	f.StringVar(&q.Notification, "notification", "", "only entries of the notification with this id")
	f.StringVar(&q.Interaction, "interaction", "", "only entries with this interaction id")
	f.StringVar(&from, "from", "", "only entries from this time on (RFC 3339)")
	f.StringVar(&to, "to", "", "only entries before this time (RFC 3339)")
	return func() (store.ExportQuery, error) {
		for _, t := range []struct {
			flag, text string
			to         *time.Time
		}{{"--from", from, &q.From}, {"--to", to, &q.To}} {
			if t.text == "" {
				continue
			}
			var err error
			if *t.to, err = time.Parse(time.RFC3339Nano, t.text); err != nil {
				return q, wrongUse("%s: %q is not a time; write it as 2026-11-21T12:00:00Z", t.flag, t.text)
			}
		}
		if err := q.Check(); err != nil {
			return q, wrongUse("--%v", err)
		}
		return q, nil
	}
}

func auditExportCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "export --out FILE", Short: "export the history as JSON lines, CSV or a bundle that proves itself", Args: cobra.NoArgs,
		Long: "Write what the filters find of the sealed history. --format: jsonl (records), csv (for spreadsheets, with formulas neutralised),\n" +
			"bundle (a ZIP with records, their proofs, checkpoints and a manifest; arauto audit verify checks it).\n" +
			"The same filters with the same --size give the same bytes. The export itself is recorded in the history.",
	}
	database, query := databaseFlag(c), queryFlags(c)
	out, format := c.Flags().String("out", "", "the file to write (required)"), c.Flags().String("format", "bundle", "bundle, jsonl or csv")
	size := c.Flags().Int64("size", 0, "read the log as of the checkpoint of this many entries; 0: the newest")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		q, err := query()
		if err != nil {
			return err
		}
		write, known := map[string]exportFormat{"bundle": exportBundle, "jsonl": exportLines, "csv": exportCSV}[*format]
		if !known || *out == "" {
			return wrongUse("export: --out names the file and --format is bundle, jsonl or csv")
		}
		url, err := databaseURL(w, *database)
		if err != nil {
			return err
		}
		n, sum, at, err := export(cmd.Context(), url, *size, q, *out, write)
		if err != nil {
			return err
		}
		fmt.Fprintf(w.stdout, "export: %d entries of the log of %d, sha256 %s\n", n, at, sum)
		return nil
	}
	return c
}

// exportFormat writes what the query finds and returns how many entries that were.
type exportFormat func(ctx context.Context, x *store.Exporter, q store.ExportQuery, w io.Writer) (int64, error)

// export writes to a file beside the one wanted, records the export, and only then gives the file its name.
func export(ctx context.Context, url string, size int64, q store.ExportQuery, name string, write exportFormat) (n int64, sum string, at int64, err error) {
	x, err := store.OpenExport(ctx, url, size)
	if err != nil {
		return 0, "", 0, err
	}
	defer x.Close(ctx)
	file, err := os.CreateTemp(filepath.Dir(name), ".arauto-export-*")
	if err != nil {
		return 0, "", 0, err
	}
	defer func() { _ = os.Remove(file.Name()) }() // it has its new name by then if all went well
	hash := sha256.New()
	n, err = write(ctx, x, q, io.MultiWriter(file, hash))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return 0, "", 0, err
	}
	sum = hex.EncodeToString(hash.Sum(nil))
	reading := store.Reading{Act: "export", Filter: q.Filter(), Size: x.Checkpoint.Size, Rows: n, SHA256: sum}
	if err := store.RecordReading(ctx, url, version, reading); err != nil {
		return 0, "", 0, err
	}
	return n, sum, x.Checkpoint.Size, os.Rename(file.Name(), name)
}

func exportLines(ctx context.Context, x *store.Exporter, q store.ExportQuery, w io.Writer) (n int64, err error) {
	var line []byte
	err = x.Each(ctx, q, func(e *store.Exported) error {
		n++
		line = append(e.Record(line[:0]), '\n')
		_, err := w.Write(line)
		return err
	})
	return n, err
}

// exportBundle walks twice when there is a filter: entries first, then their proofs.
func exportBundle(ctx context.Context, x *store.Exporter, q store.ExportQuery, w io.Writer) (n int64, err error) {
	filter := q.Filter()
	b := audit.NewBundle(w, x.Public, x.Checkpoint, filter, version)
	var found []int64
	var line []byte
	err = x.Each(ctx, q, func(e *store.Exported) error {
		n++
		if len(filter) > 0 {
			found = append(found, e.Seq)
		}
		line = e.Record(line[:0])
		return b.Entry(line)
	})
	if err != nil {
		return n, err
	}
	for _, seq := range found {
		path, err := x.Prove(ctx, seq)
		if err != nil {
			return n, err
		}
		if err := b.Proof(seq, path); err != nil {
			return n, err
		}
	}
	checkpoints := [][]byte{x.Note}
	if len(filter) == 0 {
		if checkpoints, err = x.Checkpoints(ctx); err != nil {
			return n, err
		}
	}
	return n, b.Close(checkpoints)
}

// exportCSV is for reading in a spreadsheet; it is not verified by anything. A cell that a spreadsheet would take for a
// formula gets an apostrophe in front.
func exportCSV(ctx context.Context, x *store.Exporter, q store.ExportQuery, w io.Writer) (n int64, err error) {
	table := csv.NewWriter(w)
	head := []string{"seq"}
	for _, c := range audit.Columns() {
		head = append(head, c[1])
	}
	if err := table.Write(head); err != nil {
		return 0, err
	}
	err = x.Each(ctx, q, func(e *store.Exported) error {
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
		for i, cell := range row {
			row[i] = neutral(cell)
		}
		return table.Write(row)
	})
	table.Flush()
	return n, errors.Join(err, table.Error())
}

// neutral keeps spreadsheets from computing a cell: those that begin with one of these are formulas to some of them.
func neutral(cell string) string {
	if cell == "" || !strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return cell
	}
	if _, err := strconv.ParseInt(cell, 10, 64); err == nil {
		return cell
	}
	return "'" + cell
}

func auditProofCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "proof SEQ", Short: "prove that one entry is in the log", Args: cobra.ExactArgs(1),
		Long: "Print a proof of the entry at a position, which arauto audit verify checks, and others' verifiers of transparency logs.\n" +
			"Positions are the member seq of exported records.",
	}
	database := databaseFlag(c)
	size := c.Flags().Int64("size", 0, "prove by the checkpoint of this many entries; 0: the newest")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		seq, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil || seq < 0 {
			return wrongUse("proof: %q is not a position; arauto audit export finds positions", args[0])
		}
		url, err := databaseURL(w, *database)
		if err != nil {
			return err
		}
		text, err := prove(cmd.Context(), url, seq, *size)
		if err != nil {
			return err
		}
		_, err = w.stdout.Write(text)
		return err
	}
	return c
}

// prove makes a proof, verifies it, and records that it was handed over.
func prove(ctx context.Context, url string, seq, size int64) ([]byte, error) {
	x, err := store.OpenExport(ctx, url, size)
	if err != nil {
		return nil, err
	}
	defer x.Close(ctx)
	e, err := x.At(ctx, seq)
	if err != nil {
		return nil, fmt.Errorf("entry at %d: %w", seq, err)
	}
	path, err := x.Prove(ctx, seq)
	if err != nil {
		return nil, err
	}
	p := audit.Proof{Record: e.Record(nil), Seq: seq, Path: path, Checkpoint: x.Note}
	if _, err := p.Check(x.Public); err != nil {
		return nil, err
	}
	text := p.Marshal()
	sum := sha256.Sum256(text)
	return text, store.RecordReading(ctx, url, version, store.Reading{
		Act: "proof", Filter: map[string]string{"seq": strconv.FormatInt(seq, 10)}, Size: x.Checkpoint.Size, Rows: 1, SHA256: hex.EncodeToString(sum[:]),
	})
}
