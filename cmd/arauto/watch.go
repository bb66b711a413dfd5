package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/explain"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/watch/postgres"
	"github.com/arauto/arauto/internal/watch/sources"
	"github.com/arauto/arauto/internal/watch/suggest"
	"github.com/arauto/arauto/openapi"
)

func watchCommand(w world) *cobra.Command {
	c := &cobra.Command{Use: "watch", Short: "write the mapping by which a core's database is followed", Args: cobra.NoArgs}
	c.AddCommand(suggestCommand(w))
	return c
}

func suggestCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "suggest --url-file FILE --table NAME[=KIND] [--out FILE]", Short: "write a mapping to start from, out of the catalogue of the core's database", Args: cobra.NoArgs,
		Long: "Compares the names of a table's columns, of the rows that its foreign keys lead to, and of the newest row's JSON with the members of the API, and\n" +
			"writes a commented mapping. TODO marks what was not found, guess what was inferred. Then it tries the mapping with the newest row of each table. It\n" +
			"reads the core's database and changes nothing there; the mapping holds no value of a row but those of the state.\n" +
			"The members are those of the minor versions that the settings declare (schema.versions).",
	}
	urlFile := c.Flags().String("url-file", "", "file with the URL of the core's database, of a role that may SELECT from the tables")
	tables := c.Flags().StringArray("table", nil, "table to read, with its kind if the name does not tell it: app.pgto=pix-payment; repeat it for more tables")
	req := suggest.Wanted{}
	c.Flags().StringVar(&req.Source, "source", "core", "name of the source")
	c.Flags().StringVar(&req.Zone, "zone", "America/Sao_Paulo", "IANA zone of the core's clock, for columns without zone")
	c.Flags().StringVar(&req.Namespace, "namespace", "", "the bank's namespace in the URNs of consents and enrollments, such as bancoexemplo")
	out := c.Flags().String("out", "", "new file for the mapping; without it the mapping goes to the standard output")
	settings := configFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if *urlFile == "" || len(*tables) == 0 {
			return wrongUse("watch suggest: --url-file or --table is missing; name the file with the URL of the core's database, and a table")
		}
		if _, err := time.LoadLocation(req.Zone); err != nil {
			return wrongUse("--zone: %q is not a zone; give an IANA name such as America/Sao_Paulo", req.Zone)
		}
		var err error
		if req.URLFile, err = filepath.Abs(*urlFile); err != nil {
			return fmt.Errorf("--url-file: %w", err)
		}
		if req.Tables, err = tablesOf(*tables); err != nil {
			return err
		}
		cfg, err := config.Read(*settings, w.environ)
		if err != nil {
			return err
		}
		return suggestMapping(cmd.Context(), w, cfg, req, *out)
	}
	return c
}

// tablesOf reads NAME or NAME=KIND, several of them between commas.
func tablesOf(given []string) (all []suggest.CoreTable, err error) {
	for _, text := range splitUnquoted(strings.Join(given, ","), ',') {
		parts := splitUnquoted(text, '=')
		t := suggest.CoreTable{}
		if t.Name, err = tableName(parts[0]); err != nil {
			return nil, wrongUse("--table %s: %v", text, err)
		}
		if len(parts) > 1 {
			if t.Kind, err = ofb.ParseKind(strings.Join(parts[1:], "=")); err != nil {
				return nil, wrongUse("--table %s: %v", text, err)
			}
		}
		if t.Name == "" || slices.ContainsFunc(all, func(other suggest.CoreTable) bool { return other.Name == t.Name }) {
			return nil, wrongUse("--table %s: the name is empty or occurs twice; name each table once", text)
		}
		all = append(all, t)
	}
	return all, nil
}

// splitUnquoted splits a text at each separator that does not stand in quotes.
func splitUnquoted(text string, separator rune) []string {
	parts, quoted, begin := []string{}, false, 0
	for i, c := range text {
		switch {
		case c == '"':
			quoted = !quoted
		case c == separator && !quoted:
			parts, begin = append(parts, text[begin:i]), i+1
		}
	}
	return append(parts, text[begin:])
}

// tableName is the name that a mapping gives to TABLE or SCHEMA.TABLE. Capitals stay without quotes too; a part in quotes is read as in SQL,
// so that it may hold commas and points, and a quote that is doubled. A mapping ends the schema at the first point. The name is empty where
// a part is.
func tableName(text string) (string, error) {
	parts := splitUnquoted(text, '.')
	for i, part := range parts {
		bare := strings.TrimSuffix(strings.TrimPrefix(part, `"`), `"`)
		isQuoted := len(part) == len(bare)+2
		inside := strings.ReplaceAll(bare, `""`, "")
		switch {
		case strings.Contains(inside, `"`), !isQuoted && strings.Contains(part, `"`):
			return "", errors.New(`a quote stands alone; put quotes around a part of the name, and double those within: app."a ""b"" c"`)
		case isQuoted && i == 0 && strings.Contains(bare, ".") && len(parts) == 1:
			return "", errors.New(`a name with a point needs its schema before it: app."a.b"`)
		case isQuoted && i == 0 && strings.Contains(bare, "."):
			return "", errors.New("a mapping cannot name a schema with a point in its name; rename the schema, or publish a table of another")
		}
		if bare == "" {
			return "", nil
		}
		if isQuoted {
			bare = strings.ReplaceAll(bare, `""`, `"`)
		}
		parts[i] = bare
	}
	return strings.Join(parts, "."), nil
}

func suggestMapping(ctx context.Context, w world, cfg *config.Config, req suggest.Wanted, out string) error {
	names := make([]string, len(req.Tables))
	for i, t := range req.Tables {
		names[i] = t.Name
	}
	reader, err := postgres.New(postgres.Config{URLFile: req.URLFile}, postgres.Options{Tables: names, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return &config.Error{Problems: []string{"--url-file: " + err.Error()}}
	}
	defer reader.Close()
	schemas, err := openapi.Load(openapi.Declare(cfg.DeclaredVersions()))
	if err != nil {
		return fmt.Errorf("load our own API documents: %w", err)
	}
	text, todo, err := suggest.Mapping(ctx, reader, schemas, req)
	if errors.Is(err, suggest.ErrNoKind) {
		return wrongUse("%v", err)
	}
	if err != nil {
		return err
	}
	file, report := out, w.stdout
	if out == "" {
		folder, err := os.MkdirTemp("", "arauto-suggest")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(folder) }()
		file, report = filepath.Join(folder, "mapping.yaml"), w.stderr
		if _, err := w.stdout.Write(text); err != nil {
			return err
		}
	}
	if err := writeNew(file, text); err != nil {
		return err
	}
	if out != "" {
		fmt.Fprintf(report, "written: %s\n", out)
	}
	fmt.Fprintf(report, "to do: %d lines are marked TODO; also make sure of those marked guess\n", todo)
	if m, err := sources.ReadMapping(file); err != nil {
		return err
	} else if columns, err := reader.Describe(ctx, slices.Concat(m.Tables(), m.Joined())); err == nil {
		for _, f := range m.Check(columns) {
			fmt.Fprintf(report, "check: %s\n", f)
		}
	}
	for _, name := range names {
		tried, err := explain.Row(ctx, cfg, version, explain.CoreRow{Mapping: file, Table: name})
		if err != nil {
			fmt.Fprintf(report, "%s: not tried: %s\n", name, strings.TrimSuffix(strings.TrimPrefix(err.Error(), "--source: "), "; give a row with --row"))
			continue
		}
		for i := range tried {
			tellTried(report, name, &tried[i])
		}
	}
	return nil
}

// writeNew makes a file that only its owner can change, and never replaces one.
func writeNew(file string, text []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640) //nolint:gosec // the file that the caller names
	if errors.Is(err, fs.ErrExist) {
		return wrongUse("--out: %s is there already; name a new file", file)
	}
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// tellTried writes what would become of the newest row.
func tellTried(out io.Writer, table string, e *explain.Explanation) {
	problems := slices.Clone(e.Mapped.Problems)
	var nonconforming []notice.Problem
	if e.Foresight != nil {
		problems, nonconforming = append(problems, e.Foresight.Problems...), e.Foresight.Nonconforming
	}
	list := func(heading string, problems []notice.Problem) {
		fmt.Fprintf(out, heading+":\n", table)
		for _, p := range problems {
			fmt.Fprintf(out, "    %s %s: %s\n", p.Pointer, p.Code, p.Detail)
		}
	}
	switch {
	case len(problems) > 0:
		list("%s: its newest row would go to quarantine", problems)
	case len(nonconforming) > 0:
		list("%s: its newest row would be told, and listed as non-conforming; with schema.nonconforming: refuse it would go to quarantine", nonconforming)
	case e.LineError != nil:
		fmt.Fprintf(out, "%s: its newest row gives no change: %s %s\n", table, e.LineError.Pointer, e.LineError.Detail)
	case e.Foresight != nil && e.Foresight.Verdict == notice.Conflicting:
		fmt.Fprintf(out, "%s: its newest row contradicts what is stored (%s)\n", table, e.Foresight.Why)
	default:
		fmt.Fprintf(out, "%s: its newest row would be applied\n", table)
	}
	for _, s := range e.Mapped.Steps {
		if s.Inside && s.Null() {
			fmt.Fprintf(out, "    null in this row, so make sure of the name: %s (%s)\n", s.Key, s.Expression)
		}
	}
}
