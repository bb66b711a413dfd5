package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/internal/tiles"
)

func auditTilesCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "tiles --out FOLDER", Short: "publish the log as static files that standard tools mirror", Args: cobra.NoArgs,
		Long: "Write the sealed log as files in the form of C2SP tlog-tiles, for any web server: the hashes of the tree and the newest checkpoint.\n" +
			"A run adds what is new to FOLDER, and refuses a log that does not extend it. Hashes tell nothing about entries.\n" +
			"--entries also writes the records, for the bank's own auditors; that is recorded in the history.",
	}
	database, size := databaseFlag(c), sizeFlags(c)
	out, entries := c.Flags().String("out", "", "the folder to write (required)"), c.Flags().Bool("entries", false, "also write the records of the entries")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		asOf, err := size()
		if err != nil {
			return err
		}
		if *out == "" {
			return wrongUse("--out: is not set; name the folder to write")
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
		if *entries { // recorded first: who reads it is known even if the run ends early
			r := history.LogReading{Act: "export", Filter: map[string]string{}, Size: x.Checkpoint.Size, Rows: x.Checkpoint.Size}
			if err := auditlog.RecordReading(ctx, url, version, r); err != nil {
				return err
			}
		}
		p, err := tiles.Publish(ctx, x, tiles.ToFolder(*out), *entries)
		if err != nil {
			return err
		}
		fmt.Fprintf(w.stdout, "tiles: the log of %d entries, %d of them new, %d tiles and %d bundles written\n", p.Size, p.Size-p.Old, p.Tiles, p.Bundles)
		if p.Left > 0 {
			fmt.Fprintf(w.stderr, "note: %d bundles are left out: an entry of them was removed after its retention time, or is longer than %d bytes\n", p.Left, 1<<16-1)
		}
		return nil
	}
	return c
}
