package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// sessionValue is a setting of a session that everything else relies on. A pooler that drops start-up parameters leaves another
// value in force: statements would then run as another role, in another schema, or in another time zone.
type sessionValue struct{ name, want, query string }

var (
	runsAs    = sessionValue{"role", Role, "current_user::text"}
	looksIn   = sessionValue{"search_path", Schema, "current_setting('search_path')"}
	countsIn  = sessionValue{"TimeZone", "UTC", "current_setting('TimeZone')"}
	ofServing = []sessionValue{runsAs, looksIn, countsIn}
	ofOwner   = []sessionValue{looksIn, countsIn}
)

// ExpectOwnSchema returns an error with the cause CauseSession when a session has not the search path and time zone that every statement
// about our tables relies on. It is for sessions that do not run as Role.
func ExpectOwnSchema(ctx context.Context, conn *pgx.Conn) error {
	return compareSession(ofOwner)(ctx, conn)
}

// compareSession returns what looks at each new session once: it refuses one whose values are not those that were asked for. The
// error has the cause CauseSession.
func compareSession(values []sessionValue) func(context.Context, *pgx.Conn) error {
	queries := make([]string, len(values))
	for i, v := range values {
		queries[i] = v.query
	}
	query := "SELECT ARRAY[" + strings.Join(queries, ", ") + "]"
	return func(ctx context.Context, conn *pgx.Conn) error {
		var have []string
		if err := conn.QueryRow(ctx, query).Scan(&have); err != nil {
			return Unavailable("read the values of a new session", err)
		}
		var wrong []string
		for i, v := range values {
			if !strings.EqualFold(strings.Trim(have[i], `"`), v.want) {
				wrong = append(wrong, fmt.Sprintf("%s is %q instead of %q", v.name, have[i], v.want))
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("%s: %w", strings.Join(wrong, ", "), outage{cause: CauseSession})
		}
		return nil
	}
}
