package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	failed, is := errors.AsType[*pgconn.ConnectError](err)
	if !is || failed.Config == nil {
		return err
	}
	from := "url"
	if r.config.URLFile != "" {
		from = "url_file " + r.config.URLFile
	}
	var reasons []string
	lines := strings.Split(failed.Error(), "\n\t")
	for _, line := range lines[min(1, len(lines)-1):] {
		if line = strings.TrimSpace(line); !strings.HasSuffix(line, notTried) && !slices.Contains(reasons, line) {
			reasons = append(reasons, line)
		}
	}
	if len(reasons) == 0 {
		reasons = append(reasons, notTried+"; start TLS at the server")
	}
	text := fmt.Sprintf("%s: user %s, database %s: %s", from, failed.Config.User, failed.Config.Database, strings.Join(reasons, "; "))
	if cure := cureOf(err, failed.Config); cure != "" {
		text += "; " + cure
	}
	return &unreachedError{text, err}
}

// cureOf is what to do about a connection that was not made; "" where its error says so itself, or nobody knows.
func cureOf(err error, to *pgconn.Config) string {
	user := pgx.Identifier{to.User}.Sanitize()
	switch code(err) {
	case "28P01":
		return "correct the user or the password in it"
	case "28000":
		return "correct the user in it, or let it in by a line of pg_hba.conf; the line of the database counts, not one for replication"
	case "3D000":
		return "correct the name of the database in it"
	case "42501":
		return "let a superuser run: ALTER ROLE " + user + " REPLICATION; and GRANT CONNECT ON DATABASE " + pgx.Identifier{to.Database}.Sanitize() + " TO " + user
	case "53300":
		return "raise max_connections or max_wal_senders, or the role's CONNECTION LIMIT"
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "nothing listens there: correct the host or the port in it, or start the server"
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

// unreadable says which statement lets the role read a table.
func (r *Reader) unreadable(t *table) error {
	return fmt.Errorf("the role may not read %s: let its owner run: GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT ON %s TO %[3]s", t.name, t.path[:1].Sanitize(), r.role(), t.sql())
}

// mostNear is how many names noTable lists.
const mostNear = 5

// nearTables are tables that the role may read, those first whose names are most like the given one. A name that needs its schema has it.
const nearTables = `
SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname::text ELSE n.nspname || '.' || c.relname END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' AND has_table_privilege(c.oid, 'SELECT')
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
