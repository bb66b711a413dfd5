package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

func auditDossierCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "dossier ID --out FILE", Short: "write down everything about one payment, consent or enrolment", Args: cobra.ExactArgs(1),
		Long: "Collect what the sealed history has about one resource, in one document for people: each change with its decision, each attempt,\n" +
			"each answer, each poll. ID is the resource's, or that of a notification or an interaction about it. Every entry in it is verified\n" +
			"against the log's checkpoint first, and carries its position. The dossier itself is recorded in the history.",
	}
	database := databaseFlag(c)
	out, format, lang := c.Flags().String("out", "", "the file to write; empty: standard output"), c.Flags().String("format", "html", "html or text"), c.Flags().String("lang", "pt", "pt or en")
	size := c.Flags().Int64("size", 0, "read the log as of the checkpoint of this many entries; 0: the newest")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		words, known := dossierWords[*lang]
		if !known || *format != "html" && *format != "text" {
			return wrongUse("dossier: --lang is pt or en, and --format is html or text")
		}
		url, err := databaseURL(w, *database)
		if err != nil {
			return err
		}
		d, err := collect(cmd.Context(), url, args[0], *size, words)
		if err != nil {
			return err
		}
		var page bytes.Buffer
		if *format == "html" {
			err = dossierPage.Execute(&page, d)
		} else {
			err = dossierText.Execute(&page, d)
		}
		if err != nil {
			return fmt.Errorf("write the dossier: %w", err)
		}
		sum := sha256.Sum256(page.Bytes())
		err = store.RecordReading(cmd.Context(), url, version, store.Reading{
			Act: "dossier", Filter: map[string]string{"id": args[0]}, Size: d.Size, Rows: int64(len(d.Events)), SHA256: hex.EncodeToString(sum[:]),
		})
		if err != nil {
			return err
		}
		if *out == "" {
			_, err = w.stdout.Write(page.Bytes())
			return err
		}
		return os.WriteFile(*out, page.Bytes(), 0o600)
	}
	return c
}

// dossier is what the document shows.
type dossier struct {
	Words      map[string]string
	ID         string
	Kind       string
	Clients    string
	Log        string
	Size       int64
	Root       string
	SealedAt   string
	Events     []dossierEvent
	Checkpoint string
}

// dossierEvent is one entry of the log.
type dossierEvent struct {
	Seq     int64
	At      string // UTC, to the millisecond
	Kind    string
	Number  string // of an attempt
	Outcome string
	IDs     []dossierFact
	Facts   []dossierFact
}

type dossierFact struct{ Name, Value string }

// collect finds the entries and verifies each by its proof.
func collect(ctx context.Context, url, id string, size int64, words map[string]string) (*dossier, error) {
	x, err := store.OpenExport(ctx, url, size)
	if err != nil {
		return nil, err
	}
	defer x.Close(ctx)
	found, err := about(ctx, x, id)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("nothing about %q is in the sealed log of %d entries", id, x.Checkpoint.Size)
	}
	d := &dossier{
		Words: words, ID: *found[0].Entry.ResourceID, Log: audit.Origin(x.Public), Size: x.Checkpoint.Size, Root: x.Checkpoint.Root.String(),
		SealedAt: x.Checkpoint.At.String(), Checkpoint: string(x.Note),
	}
	var clients []string
	for _, e := range found {
		path, err := x.Prove(ctx, e.Seq)
		if err != nil {
			return nil, err
		}
		if _, err := (audit.Proof{Record: e.Record(nil), Seq: e.Seq, Path: path, Checkpoint: x.Note}).Check(x.Public); err != nil {
			return nil, err
		}
		if k := e.Entry.ResourceKind; k != nil {
			d.Kind = ofb.Kind(*k).String()
		}
		if c := e.Entry.ClientID; c != nil && !slices.Contains(clients, *c) {
			clients = append(clients, *c)
		}
		d.Events = append(d.Events, event(&e, words))
	}
	d.Clients = strings.Join(clients, ", ")
	return d, nil
}

// about finds all entries of the resource that an id leads to.
func about(ctx context.Context, x *store.Exporter, id string) ([]store.Exported, error) {
	find := func(q store.ExportQuery) (out []store.Exported, err error) {
		err = x.Each(ctx, q, func(e *store.Exported) error { out = append(out, *e); return nil })
		return out, err
	}
	found, err := find(store.ExportQuery{Resource: id})
	if err != nil || len(found) > 0 {
		return found, err
	}
	if (store.ExportQuery{Notification: id}).Check() != nil {
		return nil, nil //nolint:nilerr // not an id of ours either: nothing is found
	}
	for _, q := range []store.ExportQuery{{Notification: id}, {Interaction: id}} {
		some, err := find(q)
		if err != nil {
			return nil, err
		}
		for _, e := range some {
			if e.Entry.ResourceID != nil {
				return find(store.ExportQuery{Resource: *e.Entry.ResourceID})
			}
		}
	}
	return nil, nil
}

func event(e *store.Exported, words map[string]string) dossierEvent {
	word := func(s string) string {
		if w := words[s]; w != "" {
			return w
		}
		return s
	}
	out := dossierEvent{Seq: e.Seq, At: e.At.Time().Format("2006-01-02 15:04:05.000"), Kind: word(e.Entry.Kind)}
	columns := audit.Columns()
	for i, v := range e.Entry.Values() {
		switch name := columns[i][1]; name {
		case "number":
			out.Number = v
		case "outcome":
			out.Outcome = word(v)
		case "revision", "notificationId", "changeId", "interactionId", "closes":
			if v != "" {
				out.IDs = append(out.IDs, dossierFact{name, word(v)})
			}
		}
	}
	out.Facts = factsOf(e.Entry.Facts)
	return out
}

// factsOf lists the members of a JSON object in their order; nested values stay JSON.
func factsOf(text string) []dossierFact {
	d := json.NewDecoder(strings.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return []dossierFact{{"facts", text}}
	}
	var out []dossierFact
	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err = errors.Join(err, d.Decode(&value)); err != nil {
			return []dossierFact{{"facts", text}}
		}
		shown := string(value)
		var s string
		if json.Unmarshal(value, &s) == nil && !strings.HasPrefix(shown, "null") {
			shown = s
		}
		if t, err := time.Parse(time.RFC3339Nano, shown); err == nil {
			shown = t.UTC().Format("2006-01-02 15:04:05.000")
		}
		out = append(out, dossierFact{fmt.Sprint(name), shown})
	}
	return out
}
