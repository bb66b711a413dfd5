package evidence

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/arauto/arauto/internal/timing"
)

// ReportFormat is the format of the machine-readable report, report.json.
const ReportFormat = "arauto-report/1"

// listedBreaches is how many notifications the pages of a report list; the attached table has all.
const listedBreaches = 500

// reportPDF collects a report until it is written.
type reportPDF struct {
	doc    PaperFrom
	csv    bytes.Buffer
	rows   breachRows
	listed [][]string
	count  int64
}

func (p *reportPDF) breach(t *timing.Timing) error {
	if p.count++; len(p.listed) < listedBreaches {
		words := t.Words(p.doc.Lang)
		p.listed = append(p.listed, []string{
			inUTC(t.OccurredAt.Time, p.doc.Lang) + " UTC\n" + inBrasilia(t.OccurredAt.Time, p.doc.Lang), string(t.Client),
			t.Kind.String() + "\n" + t.ResourceID, strings.Join(words.Verdicts, "\n"),
		})
	}
	_, err := p.rows.write(t)
	return err
}

// write writes the report. It is about a period and not about a checkpoint, so the end of the period is the file's time.
func (p *reportPDF) write(to io.Writer, r *timing.ClockReport) error {
	w, lang := paperWords[p.doc.Lang], p.doc.Lang
	if err := p.rows.Flush(); err != nil {
		return err
	}
	period := bothTimes(r.From.Time, lang) + "\n" + bothTimes(r.To.Time, lang)
	s := newSheets(w["report"], instant(r.From)+" … "+instant(r.To), p.doc, r.To.Time)
	s.heading(17, w["report"])
	about := [][2]string{{w["period"], period}, {w["holder"], partyText(p.doc.Holder, w)}, {w["integrity"], strings.Join(r.Integrity.Lines(lang), "\n")}}
	if text := lacking(r, lang); text != "" {
		about = append(about, [2]string{w["lacking"], text})
	}
	s.pairs(sheetWidth, about)
	s.heading(11, w["total"])
	s.pairs(sheetWidth, [][2]string{
		{w["notifications"], strconv.FormatInt(r.Total.Notifications, 10)},
		{w["onTime"], fmt.Sprintf("%d (%s %%)", r.Total.OnTime, share(r.Total, lang))},
		{w["lateEvent"], strconv.FormatInt(r.Total.Late, 10)},
		{w["lateOurs"], strconv.FormatInt(r.Total.LateOurs, 10)},
		{w["unknown"], strconv.FormatInt(r.Total.Unknown, 10)},
		{w["manual"], strconv.FormatInt(r.Total.Manual, 10)},
		{w["percentiles"], spread(&r.Total.SinceEvent, lang)},
		{w["retries"], fmt.Sprintf("%d / %d / %d", r.Total.RetriesOnTime, r.Total.RetriesLate, r.Total.RetriesEarly)},
		{w["causes"], strings.TrimSpace(causes(r.Total.LateBy, lang))},
		{w["states"], strings.TrimSpace(states(r.Total, lang))},
		{w["silent"], strings.TrimSpace(silences(r, lang))},
	})
	s.statement(w, "report")
	p.clients(s, r)
	s.heading(14, w["late"])
	if p.count == 0 {
		s.paragraph(w["none"])
	} else {
		s.paragraph(fmt.Sprintf(w["lateNote"], listedBreaches, p.count))
		s.table([]column{{w["time"], 40, "L"}, {w["client"], 36, "L"}, {"", 44, "L"}, {w["cause"], sheetWidth - 120, "L"}}, p.listed)
	}
	text, err := json.MarshalIndent(map[string]any{"format": ReportFormat, "holder": p.doc.Holder, "report": r}, "", "  ")
	if err != nil {
		return err
	}
	s.attach(attachedReport, w["attachedReport"], append(text, '\n'))
	s.attach(attachedBreaches, w["attachedBreaches"], p.csv.Bytes())
	pdf, err := s.finish()
	if err != nil {
		return err
	}
	_, err = to.Write(pdf)
	return err
}

// clients is the table by initiator.
func (p *reportPDF) clients(s *sheets, r *timing.ClockReport) {
	w := paperWords[p.doc.Lang]
	s.AddPage()
	s.heading(14, w["byClient"])
	var rows [][]string
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	for _, client := range slices.Sorted(maps.Keys(r.ByClient)) {
		t := r.ByClient[client]
		rows = append(rows, []string{
			string(client), number(t.Notifications), share(t, p.doc.Lang), number(t.Late), number(t.LateOurs), number(t.Unknown),
			readable(t.SinceEvent.Percentiles().P95, p.doc.Lang), strings.TrimSpace(causes(t.LateBy, p.doc.Lang)),
		})
	}
	s.table([]column{
		{w["client"], 44, "L"},
		{w["notifications"], 20, "R"},
		{w["share"], 16, "R"},
		{w["lateEvent"], 18, "R"},
		{w["lateOurs"], 18, "R"},
		{w["unknown"], 16, "R"},
		{"p95 ≤", 18, "R"},
		{w["causes"], sheetWidth - 150, "L"},
	}, rows)
}

// share is how many per cent of the first attempts that were judged were on time; a dash when there were none.
func share(t *timing.TimingSummary, lang string) string {
	if t.OnTime+t.Late == 0 {
		return "–"
	}
	return timing.Decimal(strconv.FormatFloat(float64(t.OnTime)*100/float64(t.OnTime+t.Late), 'f', 3, 64), lang)
}
