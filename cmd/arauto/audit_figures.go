package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/store/auditlog"
)

func auditRebuildFiguresCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "rebuild-figures", Short: "fold the log into figures again and compare them with the kept ones", Args: cobra.NoArgs,
		Long: "Fold the whole sealed log into the sums that pages and reports show, beside the sums in use, compare the two, and put the new\n" +
			"ones in their place. The gateway may run meanwhile. Sums of removed months stay as they are. Prints \"ok ROWS\", or\n" +
			"\"DIFFERENT N of ROWS\" with the first difference and exits 1; the new sums are in force in both cases.",
	}
	database := databaseFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		url, err := databaseURL(w, *database)
		if err != nil {
			return err
		}
		told := int64(0)
		out, err := auditlog.RebuildFigures(cmd.Context(), url, func(folded, all int64) {
			if folded-told >= 1_000_000 {
				told = folded
				_, _ = fmt.Fprintf(w.stderr, "%d of %d entries\n", folded, all)
			}
		})
		if err != nil {
			return err
		}
		if len(out.Kept) > 0 {
			_, _ = fmt.Fprintf(w.stderr, "note: sums of %s are kept as they were: entries were removed after their retention time\n", strings.Join(out.Kept, ", "))
		}
		if out.Differ > 0 {
			_, _ = fmt.Fprintf(w.stdout, "DIFFERENT %d of %d; first: %s\n", out.Differ, out.Rows, out.First)
			return errFailed
		}
		_, err = fmt.Fprintf(w.stdout, "ok %d\n", out.Rows)
		return err
	}
	return c
}
