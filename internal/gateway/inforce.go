package gateway

import (
	"context"

	"github.com/arauto/arauto/internal/api/bank"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/history"
)

// nowInForce shows the settings of this replica, and who else serves the database.
type nowInForce struct{ g *Gateway }

// Settings lists every setting, secrets masked.
func (f nowInForce) Settings() []bank.Setting {
	var out []bank.Setting
	for _, s := range f.g.cfg.Effective() {
		out = append(out, bank.Setting{Key: s.Key, Env: s.Env, Value: s.Value, Origin: s.Origin})
	}
	return out
}

// Schema is the version of the database's schema, and the one this binary was built for.
func (f nowInForce) Schema(ctx context.Context) (have, want int64, err error) {
	return f.g.store.SchemaVersions(ctx)
}

// Replicas lists the processes of the last week.
func (f nowInForce) Replicas(ctx context.Context) ([]history.Replica, error) {
	return f.g.auditlog.Replicas(ctx)
}

// Starts lists the newest starts and what was read again since.
func (f nowInForce) Starts(ctx context.Context, limit int) ([]history.RecordedStart, []history.RecordedReload, error) {
	starts, err := f.g.auditlog.Starts(ctx, limit)
	if err != nil {
		return nil, nil, err
	}
	reloads, err := f.g.auditlog.Reloads(ctx, limit)
	return starts, reloads, err
}

// fourEyes lists the acts that wait for a second person. Where console.four_eyes is not set and this replica has no console,
// these are none: nobody could approve them.
func fourEyes(cfg *config.Config) []string {
	if cfg.Console.Addr == "" && len(cfg.Console.FourEyes) == 0 {
		return nil
	}
	return cfg.FourEyes()
}
