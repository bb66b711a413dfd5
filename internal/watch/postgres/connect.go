package postgres

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/arauto/arauto/internal/watch"
)

// patience is how long the server waits for a sign of life of a reader before it frees slot and lease. With a second
// until the next replica asks, and the time to connect, a replica that died is replaced within 5 s.
const patience = 3 * time.Second

// settings make values print the same, whatever the server's defaults are, and what the bank sets for its own
// applications does not end a stream or a snapshot.
func settings(application string) map[string]string {
	return map[string]string{
		"application_name": application, "TimeZone": "UTC", "DateStyle": "ISO, YMD", "IntervalStyle": "iso_8601",
		"extra_float_digits": "1", "bytea_output": "hex", "lc_monetary": "C", "client_encoding": "UTF8",
		"statement_timeout": "0", "idle_in_transaction_session_timeout": "0", "lock_timeout": "0",
	}
}

// readOnly makes a connection refuse to write as soon as it is there. As a setting of its start this would make every server look
// read-only to target_session_attrs.
func readOnly(config *pgconn.Config) {
	before := config.AfterConnect
	config.AfterConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		if before != nil {
			if err := before(ctx, c); err != nil {
				return err
			}
		}
		_, err := c.Exec(ctx, "SET default_transaction_read_only = on").ReadAll()
		return err
	}
}

// dial opens a connection of its own, with our settings and those given.
func (r *Reader) dial(ctx context.Context, purpose string, more map[string]string, change ...func(*pgconn.Config)) (*pgconn.PgConn, error) {
	config, err := r.config.connection()
	if err != nil {
		return nil, err
	}
	maps.Copy(config.RuntimeParams, settings("arauto "+r.config.Slot+" "+purpose))
	maps.Copy(config.RuntimeParams, more)
	for _, c := range change {
		c(config)
	}
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	connection, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect for the %s: %w", purpose, r.unreached(err))
	}
	return connection, nil
}

// replication opens a connection that can follow a slot. It answers plain SQL as well.
func (r *Reader) replication(ctx context.Context) (*pgconn.PgConn, error) {
	return r.dial(ctx, "stream", map[string]string{
		"replication": "database", "wal_sender_timeout": milliseconds(patience),
	})
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// code is the server's SQLSTATE of an error, "" when it is not the server's.
func code(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// closeConnection ends a connection in an orderly way, if that is possible within a second.
func closeConnection(c *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

// pool returns the connections for queries: the catalog, rows beside the changed one, our health. They cannot write.
func (r *Reader) pool(ctx context.Context) (*pgxpool.Pool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.queries != nil {
		return r.queries, nil
	}
	config, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, err
	}
	config.MaxConns, config.MinConns, config.MaxConnIdleTime = 4, 0, time.Minute
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec // tables change under us: no statement is kept
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		fresh, err := r.config.connection()
		if err != nil {
			return err
		}
		c.Config = *fresh
		maps.Copy(c.RuntimeParams, settings("arauto "+r.config.Slot+" queries"))
		c.RuntimeParams["statement_timeout"] = milliseconds(soon)
		readOnly(&c.Config)
		c.ConnectTimeout = soon
		return nil
	}
	r.queries, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), config)
	return r.queries, err
}

// queryRow asks for one row. That there is no pool is told when the row is scanned.
func (r *Reader) queryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	pool, err := r.pool(ctx)
	if err != nil {
		return noRow{err}
	}
	return pool.QueryRow(ctx, sql, args...)
}

// noRow is a row that could not be asked for.
type noRow struct{ err error }

// Scan returns why.
func (r noRow) Scan(...any) error { return r.err }

// lease is the right to read this slot: an advisory lock, on a connection that the server ends when it is silent for
// longer than our patience. A slot in use refuses a second reader by itself; the lease covers the moments when nobody
// uses it: the snapshot, and the time between two streams.
type lease struct {
	connection *pgconn.PgConn
	stop       context.CancelFunc
	stopped    chan struct{}
}

// leaseKey is the lock's key, which all replicas of this product derive alike.
func leaseKey(slot string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte("arauto logical slot " + slot))
	return strconv.FormatInt(int64(h.Sum64()), 10)
}

// lease takes the lease or returns watch.ErrElsewhere. When it is lost later, fail is called.
func (r *Reader) lease(ctx context.Context, fail context.CancelCauseFunc) (*lease, error) {
	connection, err := r.dial(ctx, "lease", map[string]string{"idle_session_timeout": milliseconds(patience)})
	if err != nil {
		return nil, err
	}
	var free bool
	bounded, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	result := connection.ExecParams(bounded, "SELECT pg_try_advisory_lock($1)", [][]byte{[]byte(leaseKey(r.config.Slot))}, nil, nil, nil).Read()
	if err = result.Err; err == nil {
		free = string(result.Rows[0][0]) == "t"
	}
	if err == nil && !free {
		err = watch.ErrElsewhere
	}
	if err != nil {
		closeConnection(connection)
		return nil, fmt.Errorf("take the lease of slot %s: %w", r.config.Slot, err)
	}
	l := &lease{connection: connection, stopped: make(chan struct{})}
	ctx, l.stop = context.WithCancel(ctx)
	go l.keep(ctx, fail)
	return l, nil
}

// keep shows signs of life until ctx ends.
func (l *lease) keep(ctx context.Context, fail context.CancelCauseFunc) {
	defer close(l.stopped)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		bounded, done := context.WithTimeout(ctx, patience)
		_, err := l.connection.Exec(bounded, "SELECT 1").ReadAll()
		done()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			fail(fmt.Errorf("keep the lease: %w", err))
			return
		}
	}
}

// end gives the lease back.
func (l *lease) end() {
	l.stop()
	<-l.stopped
	closeConnection(l.connection)
}
