package bench

import (
	"fmt"
	"strings"
)

// walSplit is what a notification wrote to the write-ahead log, in bytes.
type walSplit struct {
	total, images, document float64 // records without page images; images of whole pages; the document's own bytes
	records                 float64 // records a notification
	why                     string  // why the rest is not known; "": it is
	lines                   []walLine
}

// walLine is the part of one table, of the indexes of one table, or of what belongs to no table.
type walLine struct {
	Name           string
	Records, Bytes float64 // of one notification
}

// walBetween splits the write-ahead log between two positions, record by record as pg_walinspect reads it. A record that touches several
// tables counts for the first. Where no record can be read, the parts are said to be not known.
func (w *world) walBetween(from, to string, n int) (s walSplit) {
	w.b.Helper()
	w.sql("SELECT avg(pg_column_size(document))::float8 FROM arauto.resource", &s.document)
	w.exec("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
	var records int64
	w.sql(fmt.Sprintf("SELECT sum(record_size)::float8, sum(fpi_size)::float8, sum(count)::bigint FROM pg_get_wal_stats('%s', '%s')", from, to), &s.total, &s.images, &records)
	s.total, s.images, s.records = s.total/float64(n), s.images/float64(n), float64(records)/float64(n)
	var text string
	w.sql(fmt.Sprintf(`WITH r AS (
  SELECT record_length - fpi_length AS bytes, resource_manager, substring(block_ref from 'rel \d+/\d+/(\d+)')::oid AS node
  FROM pg_get_wal_records_info('%s', '%s')
), named AS (
  SELECT r.bytes, CASE WHEN c.relname IS NULL THEN 'no table: ' || r.resource_manager
    ELSE regexp_replace(coalesce(t.relname, c.relname), '_?[0-9]{6}|_[0-7]$', '') || CASE WHEN c.relkind = 'i' THEN ', indexes' ELSE '' END END AS name
  FROM r LEFT JOIN pg_class c ON c.relfilenode = r.node AND c.relkind IN ('r', 'i', 't') LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class t ON t.oid = i.indrelid
)
SELECT coalesce(string_agg(format('%%s|%%s|%%s', name, records, bytes), E'\n' ORDER BY bytes DESC), '') FROM (
  SELECT name, count(*) AS records, sum(bytes) AS bytes FROM named GROUP BY name) s`, from, to), &text)
	for l := range strings.Lines(text) {
		name, figures, _ := strings.Cut(strings.TrimSpace(l), "|")
		line := walLine{Name: name}
		if _, err := fmt.Sscanf(figures, "%g|%g", &line.Records, &line.Bytes); err != nil {
			w.b.Fatalf("read the parts of the write-ahead log: %v in %q", err, l)
		}
		line.Bytes, line.Records = line.Bytes/float64(n), line.Records/float64(n)
		s.lines = append(s.lines, line)
	}
	if len(s.lines) == 0 {
		s.why = "pg_walinspect told no record"
	}
	return s
}

// String lists the parts, the largest first.
func (s walSplit) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "WAL a notification: %.0f B in %.1f records, of which the document is %.0f B; page images after checkpoints %.0f B more\n",
		s.total, s.records, s.document, s.images)
	if s.why != "" {
		fmt.Fprintf(&out, "  its parts are not known: %s\n", s.why)
	}
	for _, l := range s.lines {
		if l.Bytes >= 1 {
			fmt.Fprintf(&out, "  %-32s %6.0f B in %.2f records\n", l.Name, l.Bytes, l.Records)
		}
	}
	return out.String()
}
