package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
)

func auditCompletenessCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "completeness --client ID --from DATE --to DATE --out FILE", Short: "prove that nothing of a client in a period is missing", Args: cobra.NoArgs,
		Long: "Write a bundle with everything of one client, or of an organisation's clients, in a period, with the log's own counts of these clients.\n" +
			"Verify it at once, and print the verdict: \"ok ENTRIES ROOT; complete\", or why completeness is not shown, with exit code 1.\n" +
			"arauto audit verify --require-complete and docs/verify.py --require-complete repeat the verdict from FILE and the public key alone.\n" +
			"The newest 1 h to 2 h are never covered, because the log counts every hour. The export itself is recorded in the history.",
	}
	database, size := databaseFlag(c), sizeFlags(c)
	client, organisation := c.Flags().String("client", "", "the clientId"), c.Flags().String("organisation", "", "all clients that were ever registered under this organisation")
	period, out := periodFlags(c), c.Flags().String("out", "", "the file to write (required)")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		from, to, err := period()
		if err != nil {
			return err
		}
		asOf, err := size()
		switch {
		case err != nil:
			return err
		case (*client == "") == (*organisation == ""):
			return wrongUse("completeness: name one of --client and --organisation")
		case from.IsZero() || to.IsZero():
			return wrongUse("completeness: --from and --to are both needed; the proof is about a period")
		case *out == "":
			return wrongUse("--out: is not set; name the file to write")
		}
		url, err := databaseURL(w, *database)
		if err != nil {
			return err
		}
		ctx := cmd.Context()
		x, err := openLog(ctx, url, "--size", asOf)
		if err != nil {
			return err
		}
		defer x.Close(ctx)
		filter := map[string]string{"from": from.Format(time.RFC3339Nano), "to": to.Format(time.RFC3339Nano)}
		for name, value := range map[string]string{"clientId": *client, "organisationId": *organisation} {
			if value != "" {
				filter[name] = value
			}
		}
		s, err := history.ParseSearch(filter)
		if err != nil {
			return wrongUse("completeness: %v", err)
		}
		f, _ := evidence.FormatNamed(evidence.FileBundle) // it is one of them
		r := report{url: url, out: *out, reading: history.LogReading{Act: "export", Filter: s.Filter(), Size: x.Checkpoint.Size}}
		if err := r.handOver(ctx, w, func(file io.Writer) (int64, error) { return f.Write(ctx, x, s, version, file) }); err != nil {
			return err
		}
		file, err := os.Open(*out)
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		verdict, err := evidence.VerifyFile(file, info.Size(), x.Public, nil, audit.WholeMost)
		fmt.Fprintf(w.stderr, "note: %s has sha256 %s\n", *out, r.reading.SHA256)
		return tellVerdict(w, verdict, true, err)
	}
	return c
}
