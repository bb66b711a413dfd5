package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/timing"
)

// pollingReport is the report of the polling that pushes saved.
type pollingReport struct {
	month, format, language, out string
}

// pollingWords are the words of the report, in the order of its columns, and what an unknown figure is.
var pollingWords = map[string]struct {
	columns         []string
	unknown, others string
}{
	"en": {
		[]string{"initiator", "resources", "pushes", "GETs", "before push", "within 60 s", "later", "already final", "cadence (s)", "avoided", "avoided at others' cadence"},
		"not known", "initiators without push ask every %s s",
	},
	"pt": {
		[]string{"iniciadora", "recursos", "pushes", "GETs", "antes do push", "em até 60 s", "depois", "já final", "cadência (s)", "evitados", "evitados na cadência das outras"},
		"não conhecido", "iniciadoras sem push consultam a cada %s s",
	},
}

// run writes the report of a month of Brasília time.
func (p pollingReport) run(cmd *cobra.Command, w world, database string) error {
	if err := oneOf("--format", p.format, "text", "json", "csv"); err != nil {
		return err
	}
	from, err := time.ParseInLocation("2006-01", p.month, ofb.Brasilia)
	if err != nil {
		return wrongUse("--month: %q is not a month; write it as 2026-11", p.month)
	}
	now := time.Now()
	if err := begun("--month", from, now); err != nil {
		return err
	}
	i, url, err := openInspector(cmd.Context(), w, database)
	if err != nil {
		return err
	}
	defer i.Close(cmd.Context())
	r := report{url: url, out: p.out, reading: history.LogReading{Act: "polling", Filter: map[string]string{"month": p.month}}}
	until := from.AddDate(0, 1, 0)
	var whole time.Time
	err = r.handOver(cmd.Context(), w, func(file io.Writer) (int64, error) {
		sums, err := i.Polling(cmd.Context(), from, until)
		if err != nil {
			return 0, err
		}
		whole = sums.Whole
		return int64(len(sums.Clients)), p.write(&sums, file)
	})
	if err != nil {
		return err
	}
	tellLacking(w, from, whole, p.language)
	tellUnfinished(w, until, now, p.language)
	return nil
}

func (p pollingReport) write(sums *figures.PollingReport, file io.Writer) error {
	words := pollingWords[p.language]
	switch p.format {
	case "json":
		return json.NewEncoder(file).Encode(sums)
	case "csv":
		out := evidence.NewTable(file, words.columns...)
		for _, cells := range pollingRows(sums, "", "") {
			_ = out.Row(cells) // Flush returns its error
		}
		return out.Flush()
	}
	t := tabwriter.NewWriter(file, 0, 8, 2, ' ', 0)
	for _, line := range append([][]string{words.columns}, pollingRows(sums, words.unknown, p.language)...) {
		for i, cell := range line {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, cell)
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if sums.UntoldCadence != nil {
		_, err := fmt.Fprintf(file, "\n"+words.others+"\n", seconds(sums.UntoldCadence, "", p.language))
		return err
	}
	return nil
}

// pollingRows are the lines of the clients. Without a language they are for machines, with a decimal point.
func pollingRows(sums *figures.PollingReport, unknown, lang string) (rows [][]string) {
	for i := range sums.Clients {
		rows = append(rows, pollingCells(&sums.Clients[i], unknown, lang))
	}
	return rows
}

// pollingCells are the columns of one client.
func pollingCells(c *figures.PollingClient, unknown, lang string) []string {
	number := func(n *int64) string {
		if n == nil {
			return unknown
		}
		return strconv.FormatInt(*n, 10)
	}
	cells := []string{string(c.Client)}
	for _, n := range []int64{c.Resources, c.Pushes, c.Queries, c.Before, c.Own, c.Later, c.Final} {
		cells = append(cells, number(&n))
	}
	return append(cells, seconds(c.Cadence, unknown, lang), number(c.Avoided), number(c.AvoidedAtOthers))
}

// seconds writes milliseconds as seconds, as people of a language read them.
func seconds(millis *int64, unknown, lang string) string {
	if millis == nil {
		return unknown
	}
	return timing.Decimal(strconv.FormatFloat(float64(*millis)/1000, 'f', 1, 64), lang)
}
