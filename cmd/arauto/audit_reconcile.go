package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	statusapi "github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/reconcile"
)

func auditReconcileCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "reconcile", Short: "compare the history with itself and with the queue, and report each difference", Args: cobra.NoArgs,
		Long: "Compare the history with itself and with the tables derived from it: each change and its decision with the rules and its revision,\n" +
			"each notification with its attempts, their results and the queue; documents, deadlines, quarantine and status queries with their\n" +
			"entries. Without --from it covers the whole history. It needs SELECT only and changes nothing. Exit code 0: no difference;\n" +
			"1: a difference, or the comparison failed; 2: wrong use. docs/operations/reconcile.md explains each finding.",
	}
	database, period := databaseFlag(c), periodFlags(c)
	format, lang := c.Flags().String("format", "text", "text, or json: one line a difference, the account last"), documentLanguage(c, "pt or en, for text")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		from, to, err := period()
		if err != nil {
			return err
		}
		if err := errors.Join(oneOf("--format", *format, "text", "json"), oneOf("--lang", *lang, "pt", "en")); err != nil {
			return err
		}
		i, _, err := openInspector(cmd.Context(), w, *database)
		if err != nil {
			return err
		}
		defer i.Close(cmd.Context())
		if to, err = lookedAt(cmd.Context(), i, from, to); err != nil {
			return err
		}
		tell := differenceWriter{w.stdout, *lang}
		write, end := tell.text, tell.account
		if *format == "json" {
			lines := json.NewEncoder(w.stdout)
			write = func(x history.Difference) error { return lines.Encode(x) }
			end = func(r *history.Reconciliation) error { return lines.Encode(map[string]any{"reconciliation": r}) }
		}
		r, err := i.Reconcile(cmd.Context(), from, to, write)
		if err != nil {
			return err
		}
		if err := end(r); err != nil {
			return err
		}
		fmt.Fprintln(w.stderr, notCompared[*lang])
		if r.Differences > 0 {
			return errFailed
		}
		return nil
	}
	return c
}

// notCompared says what these commands do not do.
var notCompared = map[string]string{
	"pt": "nota: os registros não foram comparados com o log selado; arauto audit verify o faz",
	"en": "note: the entries were not compared with the sealed log; run arauto audit verify to compare them",
}

// differenceWriter tells differences to a person.
type differenceWriter struct {
	out  io.Writer
	lang string
}

var differenceWords = map[string][]string{
	"pt": {"desde", "recurso", "revisão", "notificação", "mudança", "interação", "iniciadora", "o que fazer", "registros examinados", "recursos", "na fila", "diferenças", "nenhuma diferença", "desde o início do histórico até %s", "de %s até %s"},
	"en": {"since", "resource", "revision", "notification", "change", "interaction", "initiator", "what to do", "entries looked at", "resources", "in the queue", "differences", "no difference", "from the beginning of the history to %s", "from %s to %s"},
}

func (d differenceWriter) text(x history.Difference) error {
	w := differenceWords[d.lang]
	what, do := x.What.Explain(d.lang)
	lines := []string{fmt.Sprintf("%s: %s (%s)", x.What, what, x.Detail)}
	add := func(name, value string, there bool) {
		if there {
			lines = append(lines, "  "+name+": "+value)
		}
	}
	add(w[0], moment(x.Since), !x.Since.IsZero())
	add(w[1], fmt.Sprintf("%s %q", x.Kind, x.ResourceID), x.ResourceID != "")
	add(w[2], fmt.Sprint(x.Revision), x.Revision > 0)
	add(w[3], x.Notification.String(), !x.Notification.IsZero())
	add(w[4], x.Change.String(), !x.Change.IsZero())
	add(w[5], x.Interaction.String(), !x.Interaction.IsZero())
	add(w[6], fmt.Sprintf("%q", x.Client), x.Client != "")
	add(w[7], do, true)
	_, err := fmt.Fprintln(d.out, strings.Join(lines, "\n"))
	return err
}

func (d differenceWriter) account(r *history.Reconciliation) error {
	w := differenceWords[d.lang]
	var total int64
	for n := range maps.Values(r.Entries) {
		total += n
	}
	found := w[12]
	if r.Differences > 0 {
		found = fmt.Sprintf("%d %s:%s", r.Differences, w[11], evidence.Counts(r.Found, history.Findings(), func(f history.Finding) string { return string(f) }))
	}
	period := fmt.Sprintf(w[13], moment(r.To))
	if !r.From.IsZero() {
		period = fmt.Sprintf(w[14], moment(r.From), moment(r.To))
	}
	_, err := fmt.Fprintf(d.out, "%s: %d %s, %d %s, %d %s; %s\n", period, total, w[8], r.Resources, w[9], r.Queued, w[10], found)
	return err
}

func auditReportCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "report --day YYYY-MM-DD", Short: "list the status queries of a day, or sum up what pushes saved of them in a month", Args: cobra.NoArgs,
		Long: "Write one line for each status query of a day in Brasília time: time, endpoint, method, status, duration, x-fapi-interaction-id, caller\n" +
			"and responder. Then print their number by endpoint and status. --format: jsonl or csv. The report is recorded in the history.\n" +
			"With --polling --month YYYY-MM, write for each initiator the status queries of a month in Brasília time, and how many pushes saved.\n" +
			"--format: text, json or csv.",
	}
	database := databaseFlag(c)
	day, out, format := c.Flags().String("day", "", "the day in Brasília time, as 2026-11-21 (required)"), c.Flags().String("out", "", "the file to write; empty: standard output"), c.Flags().String("format", "jsonl", "jsonl or csv; with --polling text (the default), json or csv")
	organisation := c.Flags().String("organisation", "", "the organisation that answered; empty: holder.organisation_id of the settings")
	settings := configFlag(c)
	polling, month := c.Flags().Bool("polling", false, "sum up the polling that pushes saved, in place of the list"), c.Flags().String("month", "", "with --polling: the month in Brasília time, as 2026-11 (required)")
	lang := documentLanguage(c, "with --polling: pt or en, for text; the columns of csv are English without it")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := oneOf("--lang", *lang, "pt", "en"); err != nil {
			return err
		}
		if *polling {
			if !cmd.Flags().Changed("format") {
				*format = "text"
			}
			if *format == "csv" && !cmd.Flags().Changed("lang") {
				*lang = "en" // programs read the columns by name
			}
			return pollingReport{month: *month, format: *format, language: *lang, out: *out}.run(cmd, w, *database)
		}
		begins, err := time.ParseInLocation(time.DateOnly, *day, ofb.Brasilia)
		if err != nil {
			return wrongUse("--day: %q is not a day; write it as 2026-11-21", *day)
		}
		now := time.Now()
		if err := begun("--day", begins, now); err != nil {
			return err
		}
		if err := oneOf("--format", *format, "jsonl", "csv"); err != nil {
			return err
		}
		var organisations map[brand.Prefix]string
		if *organisation == "" {
			cfg, err := config.Read(*settings, w.environ)
			if err != nil {
				return err
			}
			if organisations = cfg.Organisations(); slices.Contains(slices.Collect(maps.Values(organisations)), "") {
				return wrongUse("--organisation: is not set, nor is holder.organisation_id (ARAUTO_ORGANISATION_ID); each line must name the organisation that answered: give one of them, or --config")
			}
		}
		i, url, err := openInspector(cmd.Context(), w, *database)
		if err != nil {
			return err
		}
		defer i.Close(cmd.Context())
		var calls *history.CallReport
		var whole time.Time
		list := reconcile.CallList{Day: *day, Organisation: *organisation, Organisations: organisations, Format: *format, Endpoint: statusapi.Endpoint}
		r := report{url: url, out: *out, reading: history.LogReading{Act: "calls", Filter: map[string]string{"day": *day}}}
		err = r.handOver(cmd.Context(), w, func(file io.Writer) (int64, error) {
			if calls, err = reconcile.WriteCalls(cmd.Context(), i, list, file); err != nil {
				return 0, err
			}
			if whole, err = i.WholeSince(cmd.Context()); err != nil {
				return 0, err
			}
			return calls.Calls, nil
		})
		if err != nil {
			return err
		}
		tellLacking(w, begins, whole, "en")
		tellUnfinished(w, begins.AddDate(0, 0, 1), now, "en")
		fmt.Fprintln(w.stderr, strings.Join(append(reconcile.CallSummary(calls), notCompared["en"]), "\n"))
		return nil
	}
	return c
}
