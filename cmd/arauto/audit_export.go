package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
)

// searchFlags gives a command the flags that say which entries are wanted; each is a member of a search in the API too.
func searchFlags(c *cobra.Command) func() (history.Search, error) {
	flags := [][3]string{
		{"client", "clientId", "only entries of this clientId"},
		{"organisation", "organisationId", "only entries of clients that were ever registered under this organisation"},
		{"kind", "kind", "only entries about resources of this kind, such as pix-payment"},
		{"resource", "resourceId", "only entries about the payment, consent or enrolment with this id"},
		{"notification", "notificationId", "only entries of the notification with this id"},
		{"change", "changeId", "only entries about the change with this id"},
		{"interaction", "interactionId", "only entries with this interaction id, of a notification or a status query"},
		{"entry", "entry", "only entries of these kinds, such as attempt,result"},
		{"outcome", "outcome", "only entries with this outcome, such as refused"},
		{"from", "from", "only entries from this date or time on (RFC 3339; a date begins at 00:00 UTC)"},
		{"to", "to", "only entries before this time (RFC 3339), or through this date (UTC)"},
	}
	values := make([]*string, len(flags))
	for i, f := range flags {
		values[i] = c.Flags().String(f[0], "", f[2])
	}
	late := c.Flags().Bool("late", false, "only attempts of notifications that started late")
	return func() (history.Search, error) {
		filter := map[string]string{}
		for i, f := range flags {
			text := *values[i]
			if f[0] == "from" || f[0] == "to" {
				at, err := timeFlag("--"+f[0], text, f[0] == "to")
				if err != nil {
					return history.Search{}, err
				}
				if text != "" {
					text = at.Format(time.RFC3339Nano)
				}
			}
			if text != "" {
				filter[f[1]] = text
			}
		}
		if *late {
			filter["late"] = "true"
		}
		s, err := history.ParseSearch(filter)
		if err == nil {
			return s, checkPeriod(s.From, s.To)
		}
		if invalid := (*history.InvalidSearch)(nil); errors.As(err, &invalid) {
			for _, f := range flags {
				if invalid.Pointer == "/"+f[1] {
					return s, wrongUse("--%s: %s", f[0], invalid.Detail)
				}
			}
		}
		return s, err
	}
}

func auditExportCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "export --out FILE", Short: "export the history as JSON lines, CSV, Parquet or a verifiable bundle", Args: cobra.NoArgs,
		Long: "Write the entries of the sealed history that match the filters. --format: jsonl (records), csv (for spreadsheets, with formulas neutralised),\n" +
			"parquet (typed columns, for analysis), bundle (a ZIP with records, their proofs, checkpoints and a manifest).\n" +
			"arauto audit verify checks a bundle; for the filters --client, --from and --to it also proves that nothing is missing.\n" +
			"The same filters and the same --size give the same bytes. A --to in the future becomes the present time.\n" +
			"The export itself is recorded in the history.",
	}
	var names []string
	for _, f := range evidence.Formats() {
		names = append(names, f.Name)
	}
	database, search := databaseFlag(c), searchFlags(c)
	out, format := c.Flags().String("out", "", "the file to write (required)"), c.Flags().String("format", names[0], strings.Join(names, ", "))
	size := sizeFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := search()
		if err != nil {
			return err
		}
		asOf, err := size()
		if err != nil {
			return err
		}
		if err := oneOf("--format", *format, names...); err != nil {
			return err
		}
		f, _ := evidence.FormatNamed(*format) // it is one of them
		if *out == "" {
			return wrongUse("--out: is not set; name the file to write")
		}
		url, err := databaseURL(w, *database)
		if err != nil {
			return err
		}
		x, err := openLog(cmd.Context(), url, "--size", asOf)
		if err != nil {
			return err
		}
		defer x.Close(cmd.Context())
		if end, err := lookedAt(cmd.Context(), x, s.From, s.To); err != nil {
			return err
		} else if !s.To.IsZero() {
			s.To = end
		}
		r := report{url: url, out: *out, reading: history.LogReading{Act: "export", Filter: s.Filter(), Size: x.Checkpoint.Size}}
		err = r.handOver(cmd.Context(), w, func(file io.Writer) (int64, error) { return f.Write(cmd.Context(), x, s, version, file) })
		if err != nil {
			return err
		}
		fmt.Fprintf(w.stdout, "export: %d entries of the log of %d, sha256 %s\n", r.reading.Rows, r.reading.Size, r.reading.SHA256)
		return nil
	}
	return c
}
