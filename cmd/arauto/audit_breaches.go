package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/internal/timing"
)

func auditBreachesCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "breaches --from TIME --to TIME", Short: "report late attempts of a period, with their causes", Args: cobra.NoArgs,
		Long: "Compare the attempts of every notification of a period with the rule: 1.5 s to the first, 10 s and 60 s to the others. Prints each\n" +
			"notification with a late or early attempt and its cause, then the totals, overall and by initiator. --format: text, csv (one line\n" +
			"a breach), json (one line a notification, the totals last), pdf (for people; the table is attached). The report is recorded in the history.\n" +
			"Every entry behind a verdict is compared with the sealed log. The totals count verified, unsealed and tampered entries.\n" +
			"A notification with a tampered entry has no verdict, and the command exits 1.",
	}
	database, period := databaseFlag(c), periodFlags(c)
	client := c.Flags().String("client", "", "only notifications of this clientId")
	out, format, lang := c.Flags().String("out", "", "the file to write; empty: standard output"), c.Flags().String("format", "text", "text, csv, json or pdf"), documentLanguage(c, "pt or en, for text and pdf")
	settings := configFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		from, to, err := period()
		if err != nil {
			return err
		}
		if from.IsZero() || to.IsZero() {
			return wrongUse("breaches: the period is not set; give --from and --to")
		}
		if err := errors.Join(oneOf("--format", *format, evidence.BreachFormats()...), oneOf("--lang", *lang, "pt", "en")); err != nil {
			return err
		}
		doc, err := documentOf(w, *settings, *lang)
		if err != nil {
			return err
		}
		if *client != "" && !notice.ValidClientID(brand.ID(*client)) {
			return wrongUse("--client: is not a clientId; it must have " + notice.ClientKeyRule)
		}
		i, url, err := openInspector(cmd.Context(), w, *database)
		if err != nil {
			return err
		}
		defer i.Close(cmd.Context())
		if to, err = lookedAt(cmd.Context(), i, from, to); err != nil {
			return err
		}
		p := timing.Period{From: from, To: to, Client: notice.ClientID(*client)}
		filter := map[string]string{"from": utc(from), "to": utc(to)}
		if *client != "" {
			filter["clientId"] = *client
		}
		var found history.Integrity
		var unknown int64
		var whole time.Time
		r := report{url: url, out: *out, reading: history.LogReading{Act: "breaches", Filter: filter}}
		err = r.handOver(cmd.Context(), w, func(file io.Writer) (int64, error) {
			b := evidence.NewBreachWriter(file, *format, doc)
			report, err := i.ClockReport(cmd.Context(), p, b.Breach)
			if err != nil {
				return 0, err
			}
			found, unknown, whole = report.Integrity, report.Total.Unknown, report.WholeSince.Time
			err = b.End(report)
			return b.Rows(), err
		})
		if err != nil {
			return err
		}
		tellLacking(w, from, whole, *lang)
		return tellIntegrity(w, found, unknown, *lang)
	}
	return c
}

// tellIntegrity says on standard error what of a report is proven, and fails when anything was tampered with, or when
// verdicts are unknown because entries are missing: anybody who runs it by a timer must see that.
func tellIntegrity(w world, found history.Integrity, unknown int64, lang string) error {
	for _, line := range found.Lines(lang) {
		fmt.Fprintln(w.stderr, line)
	}
	if unknown > 0 {
		text := "%d notifications have no verdict: entries behind them are missing or differ from the sealed log\n"
		if lang == "pt" {
			text = "%d notificações não têm veredito: faltam registros em que se baseiam, ou o que há difere do log selado\n"
		}
		fmt.Fprintf(w.stderr, text, unknown)
	}
	if found.Tampered() || unknown > 0 {
		return errFailed
	}
	return nil
}

// documentOf is what documents for people say of us: the holder of the settings, if they are there.
func documentOf(w world, settings, lang string) (evidence.PaperFrom, error) {
	cfg, err := config.Read(settings, w.environ)
	if err != nil {
		return evidence.PaperFrom{}, err
	}
	return evidence.PaperFrom{
		Lang: lang, Version: version, Holder: evidence.Party{LegalName: cfg.Holder.LegalName, OrganisationID: cfg.InstitutionID()},
	}, nil
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// report is a file made from the history.
type report struct {
	url     string             // of the database that records the reading
	out     string             // the file to write; empty: standard output
	reading history.LogReading // what is recorded; handOver sets Rows and SHA256
}

// handOver writes to a file beside the one wanted, or to a temporary one, records that it was read, and only then gives
// it its name or prints it: what cannot be recorded is not handed over (D-3).
func (r *report) handOver(ctx context.Context, w world, write func(io.Writer) (rows int64, err error)) error {
	dir := ""
	if r.out != "" {
		dir = filepath.Dir(r.out)
	}
	file, err := os.CreateTemp(dir, ".arauto-report-*")
	if err != nil {
		return err
	}
	defer func() { _ = file.Close(); _ = os.Remove(file.Name()) }() // it has its own name by then if all went well
	hash := sha256.New()
	buffer := bufio.NewWriter(io.MultiWriter(file, hash))
	if r.reading.Rows, err = write(buffer); err != nil {
		return err
	}
	if err := errors.Join(buffer.Flush(), file.Sync()); err != nil {
		return err
	}
	r.reading.SHA256 = hex.EncodeToString(hash.Sum(nil))
	if err := auditlog.RecordReading(ctx, r.url, version, r.reading); err != nil {
		return err
	}
	if r.out != "" {
		return os.Rename(file.Name(), r.out)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(w.stdout, file)
	return err
}

func moment(m history.Moment) string {
	if m.IsZero() {
		return ""
	}
	return utc(m.Time)
}
