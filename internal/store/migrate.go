package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/arauto/arauto/migrations"
)

// Migrate brings the schema forward as the owner of the database. It may be run twice, by two at once, or be killed
// half-way: each migration is a transaction and one runner holds a lock.
func Migrate(ctx context.Context, url string) error {
	db, err := ownerDB(ctx, url)
	if err != nil {
		return err
	}
	defer db.Close()
	provider, err := migrator(db)
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return migrationFailed(ctx, db, "migrate", err)
	}
	return nil
}

// ownerDB connects as the user that the URL names, with the product's schema made and in the search path.
func ownerDB(ctx context.Context, url string) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, notUsable(err)
	}
	cfg.ConnectTimeout = 5 * time.Second
	cfg.RuntimeParams["search_path"] = Schema
	cfg.RuntimeParams["timezone"] = "UTC"
	cfg.RuntimeParams["application_name"] = "arauto migrate"
	cfg.RuntimeParams["lock_timeout"] = "2000" // never queue behind a long transaction with a lock that blocks others
	db := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(compareSession(ofOwner)))
	if _, err := db.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgx.Identifier{Schema}.Sanitize()); err != nil && !IsCode(err, "23505", "42P06") && !hasSchema(ctx, db) {
		err = migrationFailed(ctx, db, "create schema "+Schema, err)
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

// hasSchema tells that our schema is there. An owner who may not create schemas is refused CREATE SCHEMA IF NOT EXISTS then, too.
func hasSchema(ctx context.Context, db *sql.DB) (there bool) {
	err := db.QueryRowContext(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", Schema).Scan(&there)
	return err == nil && there
}

func migrator(db *sql.DB) (*goose.Provider, error) {
	// Waiters ask for the lock again each second, for at most a minute.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60), lock.WithUnlockTimeout(1, 10))
	if err != nil {
		return nil, fmt.Errorf("prepare the migration lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.Files, goose.WithSessionLocker(locker))
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return provider, nil
}

// SchemaVersions returns the version the database is at and the one this binary was built for. serve refuses to run on
// an older one; a newer one is the next release's and is compatible by the rule that migrations only expand. An error that is no
// ErrUnavailable says why our login cannot act as Role.
func (s *Store) SchemaVersions(ctx context.Context) (have, want int64, err error) {
	want = builtFor()
	err = s.query.QueryRow(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied").Scan(&have)
	if IsCode(err, "42P01", "3F000", "22023", "42501") {
		if why := s.roleRefused(ctx); why != nil {
			return 0, want, why
		}
	}
	if IsCode(err, "42P01", "3F000", "22023") {
		return 0, want, nil // nothing was ever migrated here
	}
	if err != nil {
		return 0, want, Unavailable("read the schema's version", err)
	}
	return have, want, nil
}

// builtFor is the highest number among the embedded migrations.
func builtFor() int64 {
	names, _ := fs.Glob(migrations.Files, "*.sql")
	var highest int64
	for _, name := range names {
		if n, err := goose.NumericComponent(name); err == nil && n > highest {
			highest = n
		}
	}
	return highest
}
