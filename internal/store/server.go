package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// ServerFacts are what matters about the database server itself.
type ServerFacts struct {
	Version  int           // as in server_version_num, such as 150004
	Standby  bool          // it takes no writes until it is promoted
	ReadOnly bool          // its sessions refuse writes, as some managed servers do when their disk is full
	Skew     time.Duration // its clock minus ours, give or take half the round trip
	Unsafe   []string      // settings that would lose what was acknowledged, each with the cure
}

// safe names the settings that must be as they are for a commit to survive a power cut.
var safe = map[string]string{"fsync": "on", "full_page_writes": "on", "data_sync_retry": "off"}

// ServerFacts reads how the server is set up (cases P4): what it acknowledges must not be lost.
func (s *Store) ServerFacts(ctx context.Context) (ServerFacts, error) {
	var f ServerFacts
	var commit string
	var now time.Time
	asked := time.Now()
	err := s.query.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), current_setting('transaction_read_only')::bool,
  current_setting('synchronous_commit'), clock_timestamp()`).
		Scan(&f.Version, &f.Standby, &f.ReadOnly, &commit, &now)
	if err != nil {
		return f, Unavailable("read the server's settings", err)
	}
	f.Skew = now.Sub(asked.Add(time.Since(asked) / 2))
	if commit == "off" || commit == "local" {
		f.Unsafe = append(f.Unsafe, "synchronous_commit is "+commit+": set it to on")
	}
	rows, _ := s.query.Query(ctx, "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'data_sync_retry') ORDER BY name")
	var name, value string
	_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		if value != safe[name] {
			f.Unsafe = append(f.Unsafe, fmt.Sprintf("%s is %s: set it to %s", name, value, safe[name]))
		}
		return nil
	})
	return f, Unavailable("read the server's settings", err)
}

// MakeHistory makes the partitions of the history for the months ahead and says how many were missing.
func (s *Store) MakeHistory(ctx context.Context, monthsAhead int) (int, error) {
	var made int
	err := s.query.QueryRow(ctx, "SELECT make_history($1)", monthsAhead).Scan(&made)
	return made, Unavailable("make partitions of the history", err)
}

// Backlog counts the queue by state, by estimate where it is large, and says how long its earliest due row has waited.
type Backlog struct {
	Waiting  int64
	InFlight int64
	Oldest   time.Duration
}

// Backlog reads what waits. It looks at no more than a hundred thousand rows.
func (s *Store) Backlog(ctx context.Context) (Backlog, error) {
	var b Backlog
	err := s.query.QueryRow(ctx, `
SELECT (SELECT count(*) FROM (SELECT FROM queue WHERE token IS NULL LIMIT 100000) w), (SELECT count(*) FROM queue WHERE token IS NOT NULL) + (SELECT coalesce(sum(unsettled), 0) FROM flight),
  coalesce(now() - (SELECT min(q.due_at) FROM initiator i CROSS JOIN LATERAL (
    SELECT due_at FROM queue WHERE client_id = i.client_id AND push_epoch = i.push_epoch AND token IS NULL ORDER BY due_at, id LIMIT 1) q WHERE i.push), interval '0')`).
		Scan(&b.Waiting, &b.InFlight, &b.Oldest)
	return b, Unavailable("read the backlog", err)
}
