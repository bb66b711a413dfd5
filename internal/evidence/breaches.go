package evidence

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/timing"
)

// BreachFormats are the forms of a report on a period, the default first.
func BreachFormats() []string { return []string{"text", "csv", "json", "pdf"} }

// BreachWriter writes the report on a period: each notification of which a time was not kept, then the account of all.
// text and pdf are for people, in Portuguese or English; csv has one row for each time that was not kept; json has one line
// for each notification, and the account last. It judges nothing itself.
type BreachWriter struct {
	rows   int64
	breach func(*timing.Timing) error
	end    func(*timing.ClockReport) error
}

// NewBreachWriter begins a report in one of BreachFormats; a pdf is written by End.
func NewBreachWriter(w io.Writer, format string, doc PaperFrom) *BreachWriter {
	b := &BreachWriter{}
	switch format {
	case "csv":
		rows := newBreachRows(w)
		b.breach = func(t *timing.Timing) error { n, err := rows.write(t); b.rows += n; return err }
		b.end = func(*timing.ClockReport) error { return rows.Flush() }
	case "json":
		lines := json.NewEncoder(w)
		b.breach = func(t *timing.Timing) error { b.rows++; return lines.Encode(map[string]any{"breach": t}) }
		b.end = func(r *timing.ClockReport) error { return lines.Encode(map[string]any{"report": r}) }
	case "pdf":
		p := &reportPDF{doc: doc}
		p.rows = newBreachRows(&p.csv)
		b.breach = func(t *timing.Timing) error { b.rows++; return p.breach(t) }
		b.end = func(r *timing.ClockReport) error { return p.write(w, r) }
	default:
		text := breachText{w, doc.Lang}
		b.breach = func(t *timing.Timing) error { b.rows++; return text.breach(t) }
		b.end = text.account
	}
	return b
}

// Breach adds a notification of which a time was not kept, or is not known.
func (b *BreachWriter) Breach(t *timing.Timing) error { return b.breach(t) }

// End writes the account and what is buffered.
func (b *BreachWriter) End(r *timing.ClockReport) error { return b.end(r) }

// Rows is how many rows or notifications were written so far.
func (b *BreachWriter) Rows() int64 { return b.rows }

// breachRows is the report as a table.
type breachRows struct{ *Table }

func newBreachRows(w io.Writer) breachRows {
	return breachRows{NewTable(w,
		"notificationId", "changeId", "clientId", "kind", "resourceId", "state", "occurredAt", "receivedAt", "decidedAt", "attempt", "interactionId", "startedAt",
		"sinceEventMicros", "sinceReceiptMicros", "sinceFailureMicros", "fromEvent", "fromReceipt", "fromFailure", "cause",
		"firstReceivedAt", "refusals", "refusedFor", "integrity",
	)}
}

// write writes one row for each time that was not kept, and returns how many.
func (b breachRows) write(t *timing.Timing) (rows int64, err error) {
	row := func(n int, since [3]string, verdicts [3]timing.Punctuality, cause notice.Delay) error {
		rows++
		var interaction, started string
		if n <= len(t.Attempts) {
			interaction, started = t.Attempts[n-1].Interaction.String(), instant(t.Attempts[n-1].StartedAt)
		}
		return b.Row([]string{
			t.Notification.String(), t.ChangeID.String(), string(t.Client), t.Kind.String(), t.ResourceID, string(t.State), instant(t.OccurredAt),
			instant(t.ReceivedAt), instant(t.DecidedAt), strconv.Itoa(n), interaction, started, since[0], since[1], since[2],
			string(verdicts[0]), string(verdicts[1]), string(verdicts[2]), string(cause),
			instant(t.FirstAt), strconv.FormatInt(t.Refusals, 10), t.RefusedFor, integrityOf(t),
		})
	}
	if t.Tampered { // one row, without verdicts that are not known
		return rows, row(1, [3]string{}, [3]timing.Punctuality{timing.Unknown, timing.Unknown}, notice.DelayTampered)
	}
	micros := func(m history.Micros) string { return strconv.FormatInt(int64(m), 10) }
	if v := t.First; v.Late() {
		err := row(1, [3]string{micros(v.SinceEvent), micros(v.SinceReceipt)}, [3]timing.Punctuality{v.FromEvent, v.FromReceipt}, v.Cause)
		if err != nil {
			return rows, err
		}
	}
	for i := 1; i < len(t.Attempts); i++ {
		if a := &t.Attempts[i]; a.Gap == timing.TooLate || a.Gap == timing.TooEarly {
			if err := row(i+1, [3]string{2: micros(a.Since)}, [3]timing.Punctuality{2: a.Gap}, a.Cause); err != nil {
				return rows, err
			}
		}
	}
	return rows, nil
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

// instant is a moment in UTC, to the microsecond; nothing where it is not known.
func instant(m history.Moment) string {
	if m.IsZero() {
		return ""
	}
	return m.UTC().Format("2006-01-02T15:04:05.000000Z")
}

// breachText is the report as plain text.
type breachText struct {
	file io.Writer
	lang string
}

func (b breachText) breach(t *timing.Timing) error {
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

// accountWords are the words of the account.
var accountWords = map[string][]string{
	"pt": {
		"Período", "iniciadora", "notificações", "no prazo", "atrasadas (evento)", "atrasadas (chegada)", "aguardando", "reenvios manuais", "após o evento", "após a chegada",
		"tentativas 2 e 3", "no prazo", "atrasadas", "adiantadas", "causas de atraso", "causas de atraso das tentativas 2 e 3", "estados", "mudanças sem aviso", "total", "sem veredito (adulteradas)",
	},
	"en": {
		"Period", "initiator", "notifications", "on time", "late (event)", "late (arrival)", "waiting", "resent by hand", "after the event", "after arrival",
		"attempts 2 and 3", "on time", "late", "early", "causes of lateness", "causes of lateness of attempts 2 and 3", "states", "silent", "total", "without a verdict (tampered with)",
	},
}

// account writes totals, by initiator, and the silent.
func (b breachText) account(r *timing.ClockReport) error {
	w := accountWords[b.lang]
	var out bytes.Buffer
	fmt.Fprintf(&out, "\n%s: %s … %s\n", w[0], instant(r.From), instant(r.To))
	for _, line := range r.Integrity.Lines(b.lang) {
		fmt.Fprintln(&out, line)
	}
	if line := lacking(r, b.lang); line != "" {
		fmt.Fprintln(&out, line)
	}
	b.summary(&out, w[18], r.Total)
	for _, client := range slices.Sorted(maps.Keys(r.ByClient)) {
		b.summary(&out, fmt.Sprintf("%s %q", w[1], client), r.ByClient[client])
	}
	fmt.Fprintf(&out, "\n%s:%s\n", w[17], silences(r, b.lang))
	_, err := out.WriteTo(b.file)
	return err
}

// lacking says that the log does not have all of a period; "": it does.
func lacking(r *timing.ClockReport, lang string) string {
	if !r.WholeSince.After(r.From.Time) {
		return ""
	}
	return fmt.Sprintf(map[string]string{
		"pt": "O log não tem todos os registros de antes de %s: começou ali, ou os anteriores foram removidos após o prazo de guarda. O que falta não está neste relatório.",
		"en": "The log does not have every entry from before %s: it began then, or older ones were removed after their retention time. What is missing is not in this report.",
	}[lang], bothTimes(r.WholeSince.Time, lang))
}

func (b breachText) summary(out io.Writer, name string, t *timing.TimingSummary) {
	w := accountWords[b.lang]
	fmt.Fprintf(out, "\n%s\n  %s %d: %d %s, %d %s, %d %s, %d %s, %d %s\n", name, w[2], t.Notifications, t.OnTime, w[3], t.Late, w[4], t.LateOurs, w[5], t.Waiting, w[6], t.Manual, w[7])
	if t.Unknown > 0 {
		fmt.Fprintf(out, "  %d %s\n", t.Unknown, w[19])
	}
	for n, s := range []*timing.Spread{&t.SinceEvent, &t.SinceReceipt} {
		fmt.Fprintf(out, "  %s: %s\n", w[8+n], spread(s, b.lang))
	}
	fmt.Fprintf(out, "  %s %d: %d %s, %d %s, %d %s\n", w[10], t.Retries, t.RetriesOnTime, w[11], t.RetriesLate, w[12], t.RetriesEarly, w[13])
	fmt.Fprintf(out, "  %s:%s\n  %s:%s\n", w[14], causes(t.LateBy, b.lang), w[15], causes(t.RetriesBy, b.lang))
	fmt.Fprintf(out, "  %s:%s\n", w[16], states(t, b.lang))
}

// spread is a distribution in words; "–" of nothing. Percentiles are upper bounds, as on the pages, and none is above the maximum, which is exact.
func spread(s *timing.Spread, lang string) string {
	if s.Count() == 0 {
		return "–"
	}
	p, most := s.Percentiles(), map[string]string{"pt": "máximo", "en": "max"}[lang]
	return fmt.Sprintf("p50 ≤ %s, p95 ≤ %s, p99 ≤ %s, %s %s", readable(p.P50, lang), readable(p.P95, lang), readable(p.P99, lang), most, readable(p.Max, lang))
}

// readable is a percentile for people; "–" of nothing.
func readable(v *history.Micros, lang string) string {
	if v == nil {
		return "–"
	}
	return timing.Readable(v.Duration(), lang)
}

func causes(m map[notice.Delay]int64, lang string) string {
	if len(m) == 0 {
		return " " + map[string]string{"pt": "nenhuma", "en": "none"}[lang]
	}
	return Counts(m, notice.Delays(), func(d notice.Delay) string { return timing.CauseWord(d, lang) })
}

func states(t *timing.TimingSummary, lang string) string {
	if len(t.States) == 0 {
		return " " + map[string]string{"pt": "nenhum", "en": "none"}[lang]
	}
	return Counts(t.States, nil, func(s notice.State) string { return timing.StateWord(s, lang) })
}

func silences(r *timing.ClockReport, lang string) string {
	if len(r.Silent) == 0 {
		return " " + map[string]string{"pt": "nenhuma", "en": "none"}[lang]
	}
	return Counts(r.Silent, nil, func(s string) string { return timing.SilenceWord(ofb.Silence(s), lang) })
}

// Counts lists how often what was seen, each after a space, in a given order; what that does not have comes first, in the
// order of names. Nothing at all is " 0".
func Counts[K ~string](m map[K]int64, order []K, name func(K) string) string {
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
