// Package postgres reads a PostgreSQL core by logical replication: the database's own log, decoded by the plugin
// pgoutput that every server has. The core's code and tables stay as they are.
//
// A publication names the tables, a slot on the server remembers how far we are. A Reader that connects holds a lease
// (an advisory lock on a connection that must show signs of life), so that of two replicas one reads; it makes sure that
// the database is the one it knew, and that the slot still is there; the first time it reads the rows that were there
// before, in a snapshot that fits the stream to the transaction. Then it follows the stream: transactions in the order of
// their commits, rows in batches of at most 200, a large transaction in as many as it takes.
//
// What stays true:
//   - The server is told a position only after everything before it was taken and done. So whatever dies, the server
//     tells the rest again.
//   - A row's revision is the position of its own change in the log. It is the same when told again, and grows with each
//     change of the row, because a transaction that changes a row holds its lock until the commit. A row of a snapshot carries the
//     position from which the slot reads, which lies below all that the slot will ever tell and above what was written
//     before (docs/decisions/0012).
//   - A slot that was lost is not made anew in silence: what changed meanwhile cannot be known, and somebody must decide.
//   - A position is confirmed only when the catalogue, compared each second with what is remembered, shows that the stream
//     carries all rows of the followed tables up to it. Otherwise Read ends with ErrGap, and a person decides.
//   - Memory is bounded: by batches, not by transactions.
//
// When the stream is late by more than Config.FastLane, a second stream from a temporary slot begins at the present and
// goes first, so that what happens now does not wait behind the backlog; see fastlane.go.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/arauto/arauto/internal/watch"
)

// Errors by which Read says that a person must decide.
var (
	// ErrLost says that the slot is gone, or that the server threw away what it still had to tell. What changed since
	// our last position and changed again cannot be known. Config.Snapshot "again" begins anew with the rows as they are.
	ErrLost = errors.New("the place in the database's log is lost")
	// ErrOther says that this is not the database that was read before, or that it was set back to an earlier state.
	// Positions, and with them revisions, would not grow. A higher generation in the mapping lifts them above the old.
	ErrOther = errors.New("this is not the database that was read before")
)

// Memory stores a few bytes of a source across restarts. Without it a lost slot looks like one that was never made, and
// another database like the known one.
type Memory interface {
	// Recall returns what was last remembered, nil when nothing was.
	Recall(ctx context.Context) ([]byte, error)
	Remember(ctx context.Context, note []byte) error
}

// Options are a Reader's dependencies, besides its Config.
type Options struct {
	// Tables are the mapping's: "payments", found as the connection's search_path finds it, or "app.payments". Letters
	// count as they stand.
	Tables []string
	// Joined are the tables in which the mapping looks up rows, named likewise. Only Check asks for them.
	Joined []string
	// Generation is the mapping's: a higher one accepts another database.
	Generation int64
	// Erasing are those of Tables of which a deleted row means something, so that a TRUNCATE, which tells no row, stops Read.
	Erasing []string
	// Memory may be nil, in tests.
	Memory Memory
	// Accepted lists the findings that persons accepted besides Config.Accept, and whose acceptance is not used up. Each Read and
	// Check asks anew. Nil: none.
	Accepted func(ctx context.Context) ([]string, error)
	// UseUp ends acceptances that Accepted listed, by their codes: Read has passed what they accepted, and the catalogue does not show
	// it any more. Nil: they end with the Read.
	UseUp  func(ctx context.Context, codes []string) error
	Logger *slog.Logger
}

// Reader is a watch.Reader of one database. Make it with New, end it with Close.
type Reader struct {
	config  Config
	options Options
	log     *slog.Logger

	mu      sync.Mutex
	queries *pgxpool.Pool // made at first use

	unseen unseen      // transactions handed over of late, for Find
	types  catalog     // forms of types
	state  state       // what Health tells
	old    atomic.Bool // the server is a PostgreSQL 14: it publishes no schemas

	accepted atomic.Pointer[[]string] // findings that persons accepted, as the last Read or Check found

	truncates, rows, unlisted atomic.Int64
}

// StreamCounts are the records since the Reader was made.
type StreamCounts struct {
	Rows      int64 // handed over, snapshots included
	Truncates int64 // TRUNCATE of a table of ours: told in the log and otherwise ignored, as no state follows from it
	Unlisted  int64 // changes of tables that the publication has and the mapping has not
}

// New checks the configuration and makes a Reader. It does not connect.
func New(c Config, o Options) (*Reader, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	if _, err := c.connection(); err != nil {
		return nil, err
	}
	if len(o.Tables) == 0 {
		return nil, errors.New("the mapping names no table")
	}
	if o.Logger == nil {
		return nil, errors.New("a Logger is missing")
	}
	return &Reader{config: c, options: o, log: o.Logger.With("slot", c.Slot)}, nil
}

// Close closes the connections. Call it after Read has returned.
func (r *Reader) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.queries != nil {
		r.queries.Close()
		r.queries = nil
	}
}

// Counts returns the numbers so far; it may be called at any time.
func (r *Reader) Counts() StreamCounts {
	return StreamCounts{Rows: r.rows.Load(), Truncates: r.truncates.Load(), Unlisted: r.unlisted.Load()}
}

// Read implements watch.Reader. The calls of Hand.Take and Hand.Schema come from one goroutine, those of Hand.Lag from
// another, so that the lag is known while Take waits. ErrLost and ErrOther are wrapped in errors that name the cure;
// they return until it is done.
func (r *Reader) Read(ctx context.Context, to watch.Hand) error {
	err := r.read(ctx, to)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // asked to stop: whatever broke meanwhile, the server tells it again
	}
	return err
}

var errEnded = errors.New("the session has ended")

func (r *Reader) read(ctx context.Context, to watch.Hand) error {
	ctx, fail := context.WithCancelCause(ctx)
	lease, err := r.lease(ctx, fail)
	if err != nil {
		fail(errEnded)
		return err
	}
	s := &session{Reader: r, to: to, fail: fail, told: map[string][]watch.Column{}}
	err = s.run(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause // what broke first; the rest followed from it
	}
	fail(errEnded)
	s.beside.Wait()
	s.closeCatalogue()
	s.keepGap(err)
	r.state.halt(err)
	s.abandon()
	lease.end()
	return err
}

// session is one Read, from its connect to its end.
type session struct {
	*Reader
	to     watch.Hand
	fail   context.CancelCauseFunc // ends the session
	beside sync.WaitGroup          // goroutines of the session
	known  *note                   // what we remember of this database; goes to Memory
	system pglogrepl.IdentifySystemResult
	noted  string                    // what of it went to Memory last
	told   map[string][]watch.Column // to the Hand, of each table

	catalogue *pgconn.PgConn // for comparisons of the membership; nil: made when needed
	followed  *watermark     // of the comparison that passed last
	standing  []finding      // that it found, all accepted
	compared  pglogrepl.LSN  // a position that the server had reached before that comparison
	limit     confirmLimit   // of what may be confirmed

	main, fast *slotStream
	opened     chan opening // a fast lane is on its way
	notBefore  time.Time    // of the next try to open one
}

func (s *session) run(ctx context.Context) error {
	if err := s.loadAccepted(ctx); err != nil {
		return err
	}
	connection, err := s.replication(ctx)
	if err != nil {
		return err
	}
	defer closeConnection(connection) // nothing, once a lane has taken it over
	if connection.ParameterStatus("server_encoding") == checksNoText {
		return errChecksNoText
	}
	if err := s.identify(ctx, connection); err != nil {
		return err
	}
	tables, err := s.tables(ctx)
	if err != nil {
		return err
	}
	if err := s.prepare(ctx, connection, tables); err != nil {
		return err
	}
	s.main = newLane(s.Reader, tables)
	s.main.limit = &s.limit
	s.main.parts.adopt(s.followed)
	if err := s.main.start(ctx, connection, s.config.Slot, s.resume()); err != nil {
		return fmt.Errorf("follow slot %s: %w", s.config.Slot, err)
	}
	s.beside.Go(func() { s.watchOver(ctx, s.config.Slot, s.main) })
	s.log.InfoContext(ctx, "reading the database's log", "publication", s.config.Publication, "tables", len(tables))
	return s.follow(ctx)
}

// describe tells the Hand how the tables look.
func (s *session) describe(ctx context.Context, tables map[string]*table) {
	for _, name := range s.options.Tables {
		if t := tables[name]; t != nil {
			s.told[name] = t.columns
		} else {
			s.log.ErrorContext(ctx, "a table of the mapping is not there", "table", name)
		}
		s.to.Schema(name, s.told[name])
	}
}

// abandon closes a fast lane that came too late.
func (s *session) abandon() {
	select {
	case o := <-s.opened:
		if o.lane != nil {
			_ = o.lane.wire.Close()
		}
	default:
	}
}

// soon bounds what should take milliseconds: a connect, a query of the catalog.
const soon = 10 * time.Second
