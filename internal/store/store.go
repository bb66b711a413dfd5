// Package store is, with its part auditlog, the only package that knows SQL and gorm. Its methods are acts, each one
// transaction: Record (T1 of the design: what a change brings about), Claim (T2), Settle and Rescue (T3), and the
// registrations and readings around them.
//
// What must stay true here: an answer leaves only after its commit; an attempt is recorded before it is sent; settling
// needs the lease; history is added to and never changed; due, lease and late are compared with the database's now().
// Facts about the past are rows of the table entry, which is the log itself.
package store

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/sync/singleflight"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/arauto/arauto/internal/history"
)

// Schema is where every table lives; a bank's database may hold others beside it.
const Schema = "arauto"

// Role is what serve runs as: it may add to the history and may not change it.
const Role = "arauto_app"

// AuditorRole is what auditors who use the command line are members of: it reads the history, and records that it did.
const AuditorRole = "arauto_auditor"

// Options say how to reach the database. Only URL is required.
type Options struct {
	URL string // postgres://…
	// PasswordFile names the file of the password, which is read at each new session; "": the URL, or the passfile it or the
	// environment names, read again at each new session as well.
	PasswordFile string
	Replica      string // name of this process in the history's entries and in pg_stat_activity
	Version      string // of the binary, for the entries

	IntakeConns   int32 // connections for accepting changes (default 4)
	DispatchConns int32 // for claiming and settling (default 6)
	StatusConns   int32 // for initiators' status queries and their records (default 8)
	QueryConns    int32 // for everything else that reads (default 8)
	Warm          bool  // each pool has a connection from the start, for a process that serves; else from its first use

	Log *slog.Logger // nil: discarded
}

// Store talks to PostgreSQL through four small pools, so that a burst of one kind of work cannot starve another.
type Store struct {
	intake    *pgxpool.Pool
	dispatch  *pgxpool.Pool
	status    *pgxpool.Pool
	query     *pgxpool.Pool
	orm       *gorm.DB // over query
	log       *slog.Logger
	system    string // replica and version: the name of this process in the entries that it writes
	replica   string
	faults    faults
	looks     looks // of claims and sweeps
	lost      looks // of rescues
	timers    looks // of timers that are due
	companies companies
	asking    singleflight.Group // of Answers
	walk      struct {
		mu    sync.Mutex
		after history.Position // up to where ForgetReplaced has looked
	}
}

// Open prepares the pools and checks nothing: the database may be away, which readiness reports and not Open.
func Open(ctx context.Context, o Options) (*Store, error) {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	s := &Store{system: o.Replica + " " + o.Version, log: o.Log, replica: o.Replica}
	var err error
	if s.intake, err = o.pool(ctx, "intake", cmp.Or(o.IntakeConns, 4), hotSession); err != nil {
		return nil, err
	}
	if s.dispatch, err = o.pool(ctx, "dispatch", cmp.Or(o.DispatchConns, 6), hotSession); err != nil {
		return nil, err
	}
	if s.status, err = o.pool(ctx, "status", cmp.Or(o.StatusConns, 8), hotSession); err != nil {
		return nil, err
	}
	if s.query, err = o.pool(ctx, "query", cmp.Or(o.QueryConns, 8), nil); err != nil {
		return nil, err
	}
	s.orm, err = gorm.Open(postgres.New(postgres.Config{Conn: stdlib.OpenDBFromPool(s.query)}), &gorm.Config{
		Logger:                 logger.Discard, // gorm's log prints bound values
		SkipDefaultTransaction: true,
		DisableAutomaticPing:   true,
	})
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("open gorm: %w", err)
	}
	return s, nil
}

// LongPauses lets a transaction wait for its process for longer than others may (1 s): it computes between its statements, and holds no lock
// that a change, a claim or a status query needs.
const LongPauses = "SET LOCAL idle_in_transaction_session_timeout = '5s'"

// hotSession pins the plans of the few statements that carry the product: each is a handful of index probes, and a
// plan made while a table was empty must not survive into a backlog of a million rows.
var hotSession = map[string]string{
	"enable_seqscan":    "off",
	"enable_bitmapscan": "off",
	"enable_hashjoin":   "off",
	"enable_mergejoin":  "off",
	"jit":               "off",
	"plan_cache_mode":   "force_generic_plan", // planning a claim anew takes as long as the claim
}

// pool makes a pool of at most size connections; session are settings of its sessions beside those of every pool.
func (o Options) pool(ctx context.Context, name string, size int32, session map[string]string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, notUsable(err)
	}
	cfg.MaxConns = size
	if o.Warm {
		cfg.MinConns = 1
	}
	cfg.MaxConnIdleTime = 5 * time.Minute
	cfg.HealthCheckPeriod = 5 * time.Second
	cfg.ConnConfig.ConnectTimeout = 2 * time.Second
	cfg.ConnConfig.RuntimeParams = map[string]string{
		"application_name":                    "arauto " + name + " " + o.Replica,
		"role":                                Role,
		"search_path":                         Schema,
		"timezone":                            "UTC",
		"lock_timeout":                        "2000",
		"statement_timeout":                   "5000",
		"idle_in_transaction_session_timeout": "1000", // of a process that hangs or is cut off, which must not keep its locks (cases F9); LongPauses
		"default_transaction_isolation":       "read committed",
	}
	for k, v := range session {
		cfg.ConnConfig.RuntimeParams[k] = v
	}
	if severalHosts(cfg.ConnConfig) && cfg.ConnConfig.ValidateConnect == nil {
		cfg.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite // a standby is passed over (cases F3)
	}
	cfg.BeforeConnect = freshCredentials(o)
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		place := &writePlace{}
		conn.PgConn().CustomData()[placeKey] = place
		writeArraysWith(conn.TypeMap(), place)
		return compareSession(ofServing)(ctx, conn)
	}
	p, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open pool %s: %w", name, err)
	}
	return p, nil
}

// severalHosts tells whether a URL names more than one server; the same one without TLS is no other.
func severalHosts(c *pgx.ConnConfig) bool {
	return slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.Host != c.Host || f.Port != c.Port })
}

// Close ends the pools; it waits for what is running.
func (s *Store) Close() {
	if s.orm != nil {
		if db, err := s.orm.DB(); err == nil {
			_ = db.Close() // its own goroutine; the pool below it is ours
		}
	}
	for _, p := range []*pgxpool.Pool{s.intake, s.dispatch, s.status, s.query} {
		if p != nil {
			p.Close()
		}
	}
}

// Reach tells whether each pool can reach the database: every kind of work has sessions of its own, and a server may refuse those of one
// pool alone. The error names the first pool that cannot. A pool whose connections are all in use is not asked for another one.
func (s *Store) Reach(ctx context.Context) error {
	pools := s.pools()
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		p := pools[name]
		if stat := p.Stat(); stat.AcquiredConns() >= stat.MaxConns() {
			continue
		}
		if err := p.Ping(ctx); err != nil {
			return fmt.Errorf("connections for %s: %w", name, Unavailable("reach the database", err))
		}
	}
	return nil
}

// pools are the pools by name.
func (s *Store) pools() map[string]*pgxpool.Pool {
	return map[string]*pgxpool.Pool{"intake": s.intake, "dispatch": s.dispatch, "status": s.status, "query": s.query}
}

// Access is what package auditlog works with: nothing of it belongs to intake, dispatch or status queries, so that no
// reader of the history can slow them down.
type Access struct {
	Query  *pgxpool.Pool // closed by Store.Close
	System string        // replica and version: the name of this process in the entries that it writes

	// Wrote is told how a write of the history ended that people wait for, and returns the error. nil: nobody is told.
	Wrote func(error) error
}

// Access lets package auditlog work with this store's connections.
func (s *Store) Access() Access {
	return Access{s.query, s.system, func(err error) error {
		if all := s.query.Stat(); err != nil && all.AcquiredConns() == all.MaxConns() {
			return err // it waited for other readers perhaps, which is no fault of the database
		}
		return s.noteFault(actHistory, err)
	}}
}

// Pools reports connections in use and at most, by pool, for metrics.
func (s *Store) Pools() map[string][2]int32 {
	out := map[string][2]int32{}
	for name, p := range s.pools() {
		stat := p.Stat()
		out[name] = [2]int32{stat.AcquiredConns(), stat.MaxConns()}
	}
	return out
}
