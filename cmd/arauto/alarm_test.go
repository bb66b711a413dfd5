package main

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/alarms"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// TestTheAlarmsOfASourceRingTheFirstTime causes what they tell of in a core's database that a gateway follows: a column is
// renamed, nothing can be stored here, the core's database is gone, a table is taken out of the publication.
func TestTheAlarmsOfASourceRingTheFirstTime(t *testing.T) {
	t.Parallel()
	bench := alarms.New(t, "../../docs/operations/deploy/arauto.rules.yaml")
	f := openForeign(t, stage.Options{})
	of := map[string]string{"source": "mockbank"}
	scrape := func() alarms.Scrape {
		text, err := f.replica.Metrics(t.Context())
		require.NoError(t, err)
		return alarms.Scrape{Text: text, At: time.Now()}
	}
	figureOf := func(s alarms.Scrape, name string) float64 {
		v, _ := s.Value(name + `{source="mockbank"}`)
		return v
	}
	figure := func(name string) float64 { return figureOf(scrape(), name) }
	var behind alarms.Scrape
	ids := f.begin(ofb.PixPayment, 2)
	well := scrape()
	f.exec("ALTER TABLE payments RENAME COLUMN proxy TO pix_key")
	require.NoError(t, f.bank.Move(t.Context(), ofb.PixPayment, ids[0], ofb.RJCT))
	f.until("the table stops", 15*time.Second, func() bool { return figure("arauto_source_tables_stopped") > 0 })
	f.until("a row is put aside", 15*time.Second, func() bool {
		v, _ := scrape().Value(`arauto_source_records_total{fate="quarantined",source="mockbank",table="payments"}`)
		return v > 0
	})
	misfit := scrape()
	bench.Rings(t, "ArautoSourceTableStopped", of, well, misfit)
	bench.Rings(t, "ArautoSourceRefusing", of, well, misfit)
	bench.Rings(t, "ArautoSourceRefusing", of, alarms.Scrape{}, misfit)

	f.exec("ALTER TABLE payments RENAME COLUMN pix_key TO proxy")
	ours, err := pgx.Connect(t.Context(), f.Database)
	require.NoError(t, err)
	defer ours.Close(context.WithoutCancel(t.Context()))
	_, err = ours.Exec(t.Context(), "BEGIN; LOCK TABLE arauto.resource IN ACCESS EXCLUSIVE MODE") // nothing is stored here
	require.NoError(t, err)
	require.NoError(t, f.bank.Move(t.Context(), ofb.PixPayment, ids[1], ofb.RJCT))
	f.until("the lag is over 5 s", time.Minute, func() bool { behind = scrape(); return figureOf(behind, "arauto_source_lag_seconds") > 5 })
	bench.Rings(t, "ArautoSourceLag", of, well, behind)
	_, err = ours.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)

	require.NoError(t, f.server.Kill())
	f.until("nobody reads", 30*time.Second, func() bool { return figure("arauto_source_reading") == 0 })
	bench.Rings(t, "ArautoSourceStopped", of, well, scrape())
	require.NoError(t, f.server.Restart(t.Context()))
	f.until("it is read again", 30*time.Second, func() bool { return figure("arauto_source_reading") == 1 })
	require.Zero(t, figure("arauto_source_halted"))
	f.exec("ALTER PUBLICATION arauto DROP TABLE enrollments") // rows of it never come any more
	f.until("the source stops", 30*time.Second, func() bool { return figure("arauto_source_halted") == 1 })
	bench.Rings(t, "ArautoSourceHalted", of, well, scrape())
	f.until("it is told as halted, and its lag as unknown", 30*time.Second, func() bool {
		_, figured := scrape().Value(`arauto_source_lag_seconds{source="mockbank"}`)
		st := f.source("mockbank").Status
		seconds, there := st["lagSeconds"]
		return !figured && st["halted"] == true && st["state"] == "waiting" && there && seconds == nil
	})
}
