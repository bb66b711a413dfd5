package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

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
			"a breach), json (one line a notification, the totals last). The report is recorded in the history.\n" +
			"Every entry behind a verdict is compared with the sealed log. The totals count verified, unsealed and tampered entries.\n" +
			"A notification with a tampered entry has no verdict, and the command exits 1.",
	}
	database, period := databaseFlag(c), periodFlags(c)
	client := c.Flags().String("client", "", "only notifications of this clientId")
	out, format, lang := c.Flags().String("out", "", "the file to write; empty: standard output"), c.Flags().String("format", "text", "text, csv or json"), c.Flags().String("lang", "pt", "pt or en, for text")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		from, to, err := period()
		if err != nil {
			return err
		}
		if from.IsZero() || to.IsZero() {
			return wrongUse("breaches: the period is not set; give --from and --to")
		}
		if err := errors.Join(oneOf("--format", *format, "text", "csv", "json"), oneOf("--lang", *lang, "pt", "en")); err != nil {
			return err
		}
		if *client != "" && !notice.ValidClientID(*client) {
			return wrongUse("--client: is not a clientId; it must have 1 to 255 printable ASCII characters without spaces")
		}
		i, url, err := openInspector(cmd.Context(), w, *database)
		if err != nil {
			return err
		}
		defer i.Close(cmd.Context())
		p := timing.Period{From: from, To: to, Client: notice.ClientID(*client)}
		filter := map[string]string{"from": utc(from), "to": utc(to)}
		if *client != "" {
			filter["clientId"] = *client
		}
		var found history.Integrity
		var unknown int64
		r := report{url: url, out: *out, reading: history.LogReading{Act: "breaches", Filter: filter}}
		err = r.handOver(cmd.Context(), w, func(file io.Writer) (int64, error) {
			b := breachWriter{file: file, lang: *lang, lines: json.NewEncoder(file)}
			write, end := b.formats(*format)
			report, err := i.ClockReport(cmd.Context(), p, write)
			if err != nil {
				return 0, err
			}
			found, unknown = report.Integrity, report.Total.Unknown
			return b.rows, end(report)
		})
		if err != nil {
			return err
		}
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
			text = "%d notificações não têm veredito: entradas em que se apoiam faltam, ou não são as que foram seladas\n"
		}
		fmt.Fprintf(w.stderr, text, unknown)
	}
	if found.Tampered() || unknown > 0 {
		return errFailed
	}
	return nil
}

// periodFlags gives a command the flags --from and --to; an absent one is zero.
func periodFlags(c *cobra.Command) func() (from, to time.Time, err error) {
	texts := [2]*string{
		c.Flags().String("from", "", "from this date or time on, inclusive (RFC 3339; a date begins at 00:00 UTC)"),
		c.Flags().String("to", "", "up to this time, exclusive (RFC 3339), or through this date (UTC)"),
	}
	return func() (from, to time.Time, err error) {
		for n, at := range []*time.Time{&from, &to} {
			if *at, err = timeFlag([2]string{"--from", "--to"}[n], *texts[n], n == 1); err != nil {
				return from, to, err
			}
		}
		if !from.IsZero() && !to.IsZero() && to.Before(from) {
			return from, to, wrongUse("--to: is before --from; it must be the same or later")
		}
		return from, to, nil
	}
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

// breachWriter writes a report in one of three forms.
type breachWriter struct {
	file  io.Writer
	lang  string
	lines *json.Encoder
	rows  int64
}

func (b *breachWriter) formats(format string) (write func(*timing.Timing) error, end func(*timing.ClockReport) error) {
	switch format {
	case "csv":
		table := evidence.NewTable(b.file,
			"notificationId", "changeId", "clientId", "kind", "resourceId", "state", "occurredAt", "receivedAt", "decidedAt", "attempt", "interactionId", "startedAt",
			"sinceEventMicros", "sinceReceiptMicros", "sinceFailureMicros", "fromEvent", "fromReceipt", "fromFailure", "cause",
			"firstReceivedAt", "refusals", "refusedFor", "integrity",
		)
		return func(t *timing.Timing) error { return b.csv(table, t) }, func(*timing.ClockReport) error { return table.Flush() }
	case "json":
		return func(t *timing.Timing) error { b.rows++; return b.lines.Encode(map[string]any{"breach": t}) },
			func(r *timing.ClockReport) error { return b.lines.Encode(map[string]any{"report": r}) }
	}
	return b.text, b.account
}

func (b *breachWriter) text(t *timing.Timing) error {
	b.rows++
	lines := t.Lines(b.lang)
	if t.Integrity.Tampered() {
		for _, line := range t.Integrity.Lines(b.lang) {
			lines = append(lines, "  "+line)
		}
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(b.file, line); err != nil {
			return err
		}
	}
	return nil
}

// csv writes one row for each time that was not kept.
func (b *breachWriter) csv(table *evidence.Table, t *timing.Timing) error {
	row := func(n int, since [3]string, verdicts [3]timing.Punctuality, cause notice.Delay) error {
		b.rows++
		var interaction, started string
		if n <= len(t.Attempts) {
			interaction, started = t.Attempts[n-1].Interaction.String(), moment(t.Attempts[n-1].StartedAt)
		}
		return table.Row([]string{
			t.Notification.String(), t.ChangeID.String(), string(t.Client), t.Kind.String(), t.ResourceID, string(t.State), moment(t.OccurredAt),
			moment(t.ReceivedAt), moment(t.DecidedAt), strconv.Itoa(n), interaction, started, since[0], since[1], since[2],
			string(verdicts[0]), string(verdicts[1]), string(verdicts[2]), string(cause),
			moment(t.FirstAt), strconv.FormatInt(t.Refusals, 10), t.RefusedFor, integrityOf(t),
		})
	}
	if t.Tampered { // one row, without verdicts that are not known
		return row(1, [3]string{}, [3]timing.Punctuality{timing.Unknown, timing.Unknown}, notice.DelayTampered)
	}
	micros := func(m history.Micros) string { return strconv.FormatInt(int64(m), 10) }
	if v := t.First; v.Late() {
		err := row(1, [3]string{micros(v.SinceEvent), micros(v.SinceReceipt)}, [3]timing.Punctuality{v.FromEvent, v.FromReceipt}, v.Cause)
		if err != nil {
			return err
		}
	}
	for i := 1; i < len(t.Attempts); i++ {
		if a := &t.Attempts[i]; a.Gap == timing.TooLate || a.Gap == timing.TooEarly {
			if err := row(i+1, [3]string{2: micros(a.Since)}, [3]timing.Punctuality{2: a.Gap}, a.Cause); err != nil {
				return err
			}
		}
	}
	return nil
}

// integrityOf is what of a notification is proven, in one word.
func integrityOf(t *timing.Timing) string {
	switch {
	case t.Tampered || t.Integrity.Tampered():
		return "tampered"
	case t.Integrity.Unsealed > 0:
		return "unsealed"
	}
	return "verified"
}

func moment(m history.Moment) string {
	if m.IsZero() {
		return ""
	}
	return utc(m.Time)
}

// accountWords are the words of the account.
var accountWords = map[string][]string{
	"pt": {
		"Período", "iniciadora", "notificações", "no prazo", "atrasadas (evento)", "atrasadas (chegada)", "aguardando", "reenvios manuais", "após o evento", "após a chegada",
		"tentativas 2 e 3", "no prazo", "atrasadas", "adiantadas", "causas de atraso", "causas de atraso das tentativas 2 e 3", "estados", "silêncios", "total", "sem veredito (adulteradas)",
	},
	"en": {
		"Period", "initiator", "notifications", "on time", "late (event)", "late (arrival)", "waiting", "resent by hand", "after the event", "after arrival",
		"attempts 2 and 3", "on time", "late", "early", "causes of lateness", "causes of lateness of attempts 2 and 3", "states", "silent", "total", "without a verdict (tampered with)",
	},
}

// account writes totals, by initiator, and the silent.
func (b *breachWriter) account(r *timing.ClockReport) error {
	w := accountWords[b.lang]
	fmt.Fprintf(b.file, "\n%s: %s … %s\n", w[0], moment(r.From), moment(r.To))
	for _, line := range r.Integrity.Lines(b.lang) {
		fmt.Fprintln(b.file, line)
	}
	b.summary(w[18], r.Total)
	for _, client := range slices.Sorted(maps.Keys(r.ByClient)) {
		b.summary(fmt.Sprintf("%s %q", w[1], client), r.ByClient[client])
	}
	fmt.Fprintf(b.file, "\n%s:%s\n", w[17], counts(r.Silent, nil, func(s string) string { return s }))
	return nil
}

func (b *breachWriter) summary(name string, t *timing.TimingSummary) {
	w := accountWords[b.lang]
	cause := func(d notice.Delay) string { return timing.CauseWord(d, b.lang) }
	fmt.Fprintf(b.file, "\n%s\n  %s %d: %d %s, %d %s, %d %s, %d %s, %d %s\n", name, w[2], t.Notifications, t.OnTime, w[3], t.Late, w[4], t.LateOurs, w[5], t.Waiting, w[6], t.Manual, w[7])
	if t.Unknown > 0 {
		fmt.Fprintf(b.file, "  %d %s\n", t.Unknown, w[19])
	}
	for n, s := range []*timing.Spread{&t.SinceEvent, &t.SinceReceipt} {
		fmt.Fprintf(b.file, "  %s: p50 %s, p95 %s, p99 %s, max %s\n", w[8+n], s.Percentile(50).Duration(), s.Percentile(95).Duration(), s.Percentile(99).Duration(), s.Max().Duration())
	}
	fmt.Fprintf(b.file, "  %s %d: %d %s, %d %s, %d %s\n", w[10], t.Retries, t.RetriesOnTime, w[11], t.RetriesLate, w[12], t.RetriesEarly, w[13])
	fmt.Fprintf(b.file, "  %s:%s\n  %s:%s\n", w[14], counts(t.LateBy, notice.Delays(), cause), w[15], counts(t.RetriesBy, notice.Delays(), cause))
	fmt.Fprintf(b.file, "  %s:%s\n", w[16], counts(t.States, nil, func(s notice.State) string { return string(s) }))
}

// counts lists how often what was seen, in a given order; what that does not have comes first, in the order of names.
func counts[K ~string](m map[K]int64, order []K, name func(K) string) string {
	if len(m) == 0 {
		return " 0"
	}
	out := ""
	for _, k := range slices.SortedFunc(maps.Keys(m), func(a, b K) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a), slices.Index(order, b)), cmp.Compare(a, b))
	}) {
		out += fmt.Sprintf(" %d %s,", m[k], name(k))
	}
	return out[:len(out)-1]
}
