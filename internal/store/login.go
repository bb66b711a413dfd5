package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// SessionUser is the user that our sessions log in as.
type SessionUser struct {
	User      string
	Superuser bool // it may do anything on the server
	Owner     bool // it may act as the owner of our schema
}

// Login asks the server who we log in as. Every session acts as Role, under any login; a login that may more is a risk because of
// its password alone.
func (s *Store) Login(ctx context.Context) (u SessionUser, err error) {
	err = s.query.QueryRow(ctx, `SELECT session_user::text, r.rolsuper,
  coalesce((SELECT pg_has_role(session_user, n.nspowner, 'MEMBER') FROM pg_namespace n WHERE n.nspname = $1), false)
FROM pg_roles r WHERE r.rolname = session_user`, Schema).Scan(&u.User, &u.Superuser, &u.Owner)
	return u, Unavailable("ask who we log in as", err)
}

// roleFacts are what a session that does not act as Role sees of it.
type roleFacts struct {
	user     string
	exists   bool // Role
	member   bool // the login may act as Role
	migrated bool // the schema has its table of versions
	sees     bool // Role may use the schema
}

// roleRefused says why our login cannot act as Role, or why Role sees nothing of a schema that is there. It returns nil when the
// database was never migrated, and when the reason is another one.
func (s *Store) roleRefused(ctx context.Context) error {
	f, err := s.roleFacts(ctx)
	switch {
	case err != nil || !f.migrated && (!f.exists || f.member):
		return nil //nolint:nilerr // the caller has an error of its own
	case !f.exists:
		return fmt.Errorf("the role %s does not exist on this server, although the schema does (a dump has no roles); make it with CREATE ROLE %s NOLOGIN, and restore its rights", Role, Role)
	case !f.member:
		return fmt.Errorf("the login %s is no member of %s; run GRANT %s TO %s", f.user, Role, Role, pgx.Identifier{f.user}.Sanitize())
	case !f.sees:
		return fmt.Errorf("the role %s may not use the schema %s; run GRANT USAGE ON SCHEMA %s TO %s as its owner", Role, Schema, Schema, Role)
	}
	return nil
}

// roleFacts asks in a session of its own, without Role.
func (s *Store) roleFacts(ctx context.Context) (f roleFacts, err error) {
	pool := s.query.Config()
	cfg := pool.ConnConfig
	delete(cfg.RuntimeParams, "role")
	if pool.BeforeConnect != nil {
		if err := pool.BeforeConnect(ctx, cfg); err != nil {
			return f, err
		}
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return f, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // what was asked is known by then
	err = conn.QueryRow(ctx, `SELECT session_user::text, r.oid IS NOT NULL,
  coalesce(pg_has_role(session_user, r.oid, CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END), false),
  EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'goose_db_version'), coalesce(has_schema_privilege(r.oid, n.oid, 'USAGE'), false)
FROM (SELECT) AS one LEFT JOIN pg_roles r ON r.rolname = $1::text LEFT JOIN pg_namespace n ON n.nspname = $2::text`, Role, Schema).
		Scan(&f.user, &f.exists, &f.member, &f.migrated, &f.sees)
	return f, err
}

// migrationRights are what an owner needs for migrations beside the schema itself.
type migrationRights struct {
	user       string
	makesRoles bool
	missing    []string // roles that migrations make and that are not there
	member     bool     // of Role, if that is there
	mayCreate  bool     // schemas, in this database
	hasSchema  bool
	owner      bool // of the schema, if that is there
}

// rolesMade lists the roles that migrations make.
var rolesMade = []string{Role, AuditorRole}

// migrationFailed is the error of a migration. Where a right is missing it says which one, and what gives it. db logs in as the
// owner.
func migrationFailed(ctx context.Context, db *sql.DB, doing string, err error) error {
	refused := IsCode(err, "42501")
	if !refused && !IsCode(err, "42P01") { // a login without the schema's USAGE sees no table in it
		return Unavailable(doing, err)
	}
	var m migrationRights
	row := db.QueryRowContext(ctx, `SELECT current_user::text, r.rolcreaterole OR r.rolsuper, has_database_privilege(current_database(), 'CREATE'), n.oid IS NOT NULL,
  coalesce(pg_has_role(current_user, n.nspowner, 'MEMBER'), true), coalesce((SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = $2), true)
FROM pg_roles r LEFT JOIN pg_namespace n ON n.nspname = $1 WHERE r.rolname = current_user`, Schema, Role)
	if row.Scan(&m.user, &m.makesRoles, &m.mayCreate, &m.hasSchema, &m.owner, &m.member) != nil {
		return Unavailable(doing, err)
	}
	for _, role := range rolesMade {
		var there bool
		if db.QueryRowContext(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role).Scan(&there) == nil && !there {
			m.missing = append(m.missing, role)
		}
	}
	if cure := m.cure(); cure != "" && (refused || !m.owner) {
		return fmt.Errorf("%s: %w; %s, then run arauto migrate again", doing, err, cure)
	}
	return Unavailable(doing, err)
}

// cure says which statements a role that may runs; "" when nothing is missing that we know of.
func (m *migrationRights) cure() string {
	login := pgx.Identifier{m.user}.Sanitize()
	switch {
	case !m.hasSchema && !m.mayCreate:
		return m.user + " may not create the schema " + Schema + ": the owner of the database runs CREATE SCHEMA " + Schema + " AUTHORIZATION " + login
	case !m.owner:
		return fmt.Sprintf("%s is not the owner of the schema %s: log in as the owner", m.user, Schema)
	case len(m.missing) > 0 && !m.makesRoles, !m.member:
		var made []string
		for _, role := range m.missing {
			made = append(made, "CREATE ROLE "+role+" NOLOGIN;")
		}
		return fmt.Sprintf("%s lacks CREATEROLE, or is no member of %s: a role that has CREATEROLE runs %s", m.user, Role,
			strings.Join(append(made, "GRANT "+Role+" TO "+login+";"), " "))
	}
	return ""
}
