package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store/auditlog"
)

func auditDossierCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "dossier ID --out FILE", Short: "write a document with everything about one payment, consent or enrolment", Args: cobra.ExactArgs(1),
		Long: "Write one document for people about one resource, from the sealed history: each change with its decision, each attempt, each answer,\n" +
			"each poll. ID is the id of the resource, or of a notification, a change or an interaction about it. Every entry is verified\n" +
			"against the log's checkpoint first, and shows its position. The dossier itself is recorded in the history.",
	}
	database := databaseFlag(c)
	out, format, lang := c.Flags().String("out", "", "the file to write; empty: standard output"), c.Flags().String("format", "html", "html, text, or pdf with the entries and their proofs attached"), documentLanguage(c, "pt or en")
	settings := configFlag(c)
	size := sizeFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		asOf, err := size()
		if err := errors.Join(err, oneOf("--format", *format, "html", "text", "pdf"), oneOf("--lang", *lang, "pt", "en")); err != nil {
			return err
		}
		doc, err := documentOf(w, *settings, *lang)
		if err != nil {
			return err
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
		var page []byte
		var entries int64
		if *format == "pdf" {
			page, entries, err = evidence.DossierPDF(cmd.Context(), x, args[0], doc)
		} else {
			page, entries, err = evidence.Dossier(cmd.Context(), x, args[0], *format, *lang)
		}
		if errors.Is(err, evidence.ErrDossier) {
			return wrongUse("dossier: --lang or --format is not allowed; use pt or en, and html, text or pdf")
		}
		if err != nil {
			return err
		}
		sum := sha256.Sum256(page)
		err = auditlog.RecordReading(cmd.Context(), url, version, history.LogReading{
			Act: "dossier", Filter: map[string]string{"id": args[0]}, Size: x.Checkpoint.Size, Rows: entries, SHA256: hex.EncodeToString(sum[:]),
		})
		if err != nil {
			return err
		}
		if *out == "" {
			_, err = w.stdout.Write(page)
			return err
		}
		return os.WriteFile(*out, page, 0o600)
	}
	return c
}
