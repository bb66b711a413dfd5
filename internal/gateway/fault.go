package gateway

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/store"
)

// faultNamedEvery is how often the log names a fault of our database that goes on.
const faultNamedEvery = time.Minute

// measureFaults looks what keeps this replica from writing, and shows it.
func (g *Gateway) measureFaults(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, storableWithin)
	_ = g.store.Writable(within) // the faults know how it ended
	cancel()
	all := g.store.Faults()
	now := map[store.FaultCause]bool{}
	for _, f := range all {
		now[f.Cause] = true
	}
	g.metrics.ShowFaults(now)
	if len(all) == 0 {
		if !g.named.IsZero() {
			g.log.Info("database accepts writes again")
		}
		g.named = time.Time{}
		return
	}
	if time.Since(g.named) < faultNamedEvery {
		return
	}
	g.named = time.Now()
	for _, act := range slices.Sorted(maps.Keys(all)) {
		f := all[act]
		g.log.ErrorContext(ctx, "our database does not let us write", "act", act, "cause", string(f.Cause), "since", f.Since.UTC(), "cure", f.Cause.Cure(), "error", f.Text)
	}
}

// actsPT are the acts of faults in Portuguese.
var actsPT = map[string]string{
	"store changes": "gravar mudanças", "claim": "tomar notificações", "settle": "gravar desfechos", "store polls": "gravar consultas",
	"record who reads the history": "registrar quem lê o histórico", "write": "gravar",
}

// faultNotes names what keeps this replica from writing, in Portuguese or, as /readyz does, in English.
func (g *Gateway) faultNotes(portuguese bool) (notes []string) {
	all := g.store.Faults()
	for _, act := range slices.Sorted(maps.Keys(all)) {
		f := all[act]
		if portuguese {
			notes = append(notes, fmt.Sprintf("banco de dados: %s falha desde %s, causa %s: %s", cmp.Or(actsPT[act], act), f.Since.UTC().Format(time.RFC3339), f.Cause, f.Cause.CurePT()))
			continue
		}
		notes = append(notes, fmt.Sprintf("database: %s fails since %s, cause %s: %s", act, f.Since.UTC().Format(time.RFC3339), f.Cause, f.Cause.Cure()))
	}
	return notes
}

// storableWithin bounds the question whether our database can store.
const storableWithin = 5 * time.Second

// storable tells whether our database can store what sources read: sources read nothing while it cannot.
func (g *Gateway) storable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storableWithin)
	defer cancel()
	return g.checkDatabase(ctx)
}
