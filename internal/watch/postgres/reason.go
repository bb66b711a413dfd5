package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// unreachedError is a connection that was not made, in words for the person who wrote its URL.
type unreachedError struct {
	text string
	err  error
}

// Error is one line: where the URL stands, to whom it leads, why that failed, and what would be right.
func (e *unreachedError) Error() string { return e.text }

// Unwrap returns what the driver reported.
func (e *unreachedError) Unwrap() error { return e.err }

// notTried is what the driver reports of an attempt with TLS that sslmode=prefer repeats without.
const notTried = "tls error: server refused TLS connection"

// unreached says of a failed connection what in the URL, or at the server, would be right. Another error is returned as it is.
func (r *Reader) unreached(err error) error {
	to, reasons := r.failure(err)
	if to == nil {
		return err
	}
	from := "url"
	if r.config.URLFile != "" {
		from = "url_file " + r.config.URLFile
	}
	text := fmt.Sprintf("%s: user %s, database %s: %s", from, to.User, to.Database, strings.Join(reasons, "; "))
	if cure := cureOf(err, to); cure != "" {
		text += "; " + cure
	}
	return &unreachedError{text, err}
}

// failure tells where a connection should have led, and why it was not made; nil: the error is another.
func (r *Reader) failure(err error) (to *pgconn.Config, reasons []string) {
	failed, is := errors.AsType[*pgconn.ConnectError](err)
	switch {
	case is && failed.Config != nil:
		for line := range strings.Lines(failed.Unwrap().Error()) {
			if line = strings.TrimSpace(line); !strings.HasSuffix(line, notTried) && !slices.Contains(reasons, line) {
				reasons = append(reasons, line)
			}
		}
		if len(reasons) == 0 {
			reasons = []string{notTried + "; start TLS at the server"}
		}
		return failed.Config, reasons
	case errors.Is(err, context.DeadlineExceeded) && !pgconn.Timeout(err) && !r.connected(): // of the pool, not of a query
		if to, err = r.config.connection(); err != nil {
			return nil, nil
		}
		return to, []string{"no answer in time from " + strings.Join(addresses(to), ", ")}
	}
	return nil, nil
}

// connected reports whether the pool has a connection. Without one, what the pool gave up at a deadline was a first connection; it does not
// tell what the driver is still waiting for.
func (r *Reader) connected() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.queries == nil {
		return false
	}
	stat := r.queries.Stat()
	return stat.AcquiredConns()+stat.IdleConns() > 0
}

// addresses are the hosts and ports that a URL names, in its order.
func addresses(to *pgconn.Config) []string {
	all := []string{net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port)))}
	for _, other := range to.Fallbacks {
		if a := net.JoinHostPort(other.Host, strconv.Itoa(int(other.Port))); !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// cureOf is what to do about a connection that was not made; "" where its error says so itself, or nobody knows.
func cureOf(err error, to *pgconn.Config) string {
	user := pgx.Identifier{to.User}.Sanitize()
	switch code(err) {
	case "28P01":
		return "correct the user or the password in it"
	case "28000":
		if refused, is := errors.AsType[*pgconn.PgError](err); is && refused.Routine == "InitializeSessionUserId" { // its text is in the server's language
			return "correct the user in it, or let a superuser give an existing role the right: ALTER ROLE " + user + " LOGIN"
		}
		return "correct the user in it, or let it in by a line of pg_hba.conf; the line of the database counts, not one for replication"
	case "3D000":
		return "correct the name of the database in it"
	case "42501":
		return "let a superuser run: ALTER ROLE " + user + " REPLICATION; and GRANT CONNECT ON DATABASE " + pgx.Identifier{to.Database}.Sanitize() + " TO " + user
	case "53300":
		return "raise max_connections or max_wal_senders, or the role's CONNECTION LIMIT"
	}
	if _, unresolved := errors.AsType[*net.DNSError](err); unresolved {
		return "correct the host in it, or this machine's name service"
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: correct the host or the port in it, or start the server"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return "correct the host or the port in it, or let the firewall on the way pass the connection"
	}
	return ""
}

// role is the role of the URL, for statements.
func (r *Reader) role() string {
	config, err := r.config.connection()
	if err != nil || config.User == "" {
		return "…"
	}
	return pgx.Identifier{config.User}.Sanitize()
}

// unreadable says which statements let the role read a table.
func (r *Reader) unreadable(t *table) error {
	var lacking []string
	if !t.schemaOpen {
		lacking = append(lacking, "let the owner of its schema run: GRANT USAGE ON SCHEMA "+t.path[:1].Sanitize()+" TO "+r.role())
	}
	if !t.selectable {
		lacking = append(lacking, "let its owner run: GRANT SELECT ON "+t.sql()+" TO "+r.role())
	}
	return fmt.Errorf("the role may not read %s: %s", t.name, strings.Join(lacking, "; "))
}

// mostNear is how many names noTable lists.
const mostNear = 5

// nearTables are tables that the role may read, those first whose names are most like the given one. A name that needs its schema has it.
const nearTables = `
SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname::text ELSE n.nspname || '.' || c.relname END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' AND has_table_privilege(c.oid, 'SELECT')
  AND has_schema_privilege(n.oid, 'USAGE')
ORDER BY lower(c.relname) = lower($1) DESC, lower(left(c.relname, 4)) = lower(left($1, 4)) DESC, c.relname LIMIT $2`

// noTable says that a table is not there, and which are.
func (r *Reader) noTable(ctx context.Context, name string) error {
	const wrong = "table %s does not exist, or is not a table, or the role's search_path does not lead to it; write its name as the catalog has it, capitals and all, with its schema"
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	bare := identifier(name)
	var near []string
	pool, err := r.pool(ctx)
	if err == nil {
		rows, _ := pool.Query(ctx, nearTables, bare[len(bare)-1], mostNear)
		near, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	switch {
	case err != nil:
		return fmt.Errorf(wrong, name)
	case len(near) == 0:
		return fmt.Errorf(wrong+"; the role %s may read no table", name, r.role())
	}
	return fmt.Errorf(wrong+"; the role may read: %s", name, strings.Join(near, ", "))
}
