package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// felt is how long a fault that is over in a moment counts as lasting, so that what it did is seen in the account.
const felt = 2 * time.Second

// killPostmaster is a crash of the whole database server.
func killPostmaster(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	pause := between(r, 0, 8*time.Second)
	w := n.begin(f, "the postmaster is killed (SIGKILL) and started again %.1f s later", pause.Seconds())
	if err := n.stage.Server.Kill(); err != nil {
		return err
	}
	rest(ctx, pause)
	return n.revive(ctx, w)
}

// revive starts a server that is down, and waits until it answers.
func (n *nemesis) revive(ctx context.Context, w *window) error {
	began := time.Now()
	if err := n.stage.Server.Restart(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	took := time.Since(began)
	rest(ctx, felt)
	n.end(w, "(PostgreSQL answered %.1f s after its start)", took.Seconds())
	return nil
}

// restartPostgres is an administrator's restart.
func restartPostgres(ctx context.Context, n *nemesis, f *fault, _ *rand.Rand) error {
	return n.revive(ctx, n.begin(f, "PostgreSQL is restarted in an orderly manner"))
}

// stopPostgres keeps every process of the server from running: connections stay open, and nothing answers.
func stopPostgres(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	pause := between(r, 3*time.Second, 14*time.Second)
	w := n.begin(f, "all processes of PostgreSQL are stopped (SIGSTOP) for %.1f s", pause.Seconds())
	thaw, err := n.stage.FreezeServer()
	if err != nil {
		return err
	}
	rest(ctx, pause)
	thaw()
	n.end(w, "")
	return nil
}

// owner connects as the owner of the database, straight to it. The connection does nothing by itself.
func (w *world) owner(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, w.stage.Database)
		if err == nil || ctx.Err() != nil {
			return conn, err
		}
		rest(ctx, 200*time.Millisecond)
	}
}

// leave ends a connection; what it did is done.
func leave(ctx context.Context, conn *pgx.Conn) { _ = conn.Close(context.WithoutCancel(ctx)) }

// backend draws one of the product's sessions, a busy one if it can. While another fault keeps every session away it waits;
// errNothing after 15 s.
func (n *nemesis) backend(ctx context.Context, r *rand.Rand) (pid int, what string, err error) {
	conn, err := n.owner(ctx)
	if err != nil {
		return 0, "", err
	}
	defer leave(ctx, conn)
	for began := time.Now(); time.Since(began) < 15*time.Second && ctx.Err() == nil; rest(ctx, 20*time.Millisecond) {
		rows, _ := conn.Query(ctx, `SELECT pid, application_name || ', ' || coalesce(state, '?') FROM pg_stat_activity
			WHERE datname = current_database() AND application_name LIKE 'arauto%' AND (state <> 'idle' OR $1) ORDER BY pid`, time.Since(began) > time.Second)
		type session struct {
			PID  int
			What string
		}
		found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[session])
		if err != nil {
			return 0, "", err
		}
		if len(found) > 0 {
			one := found[r.IntN(len(found))]
			return one.PID, one.What, nil
		}
	}
	return 0, "", fmt.Errorf("%w: the product has no session", errNothing)
}

// killBackend crashes one session's process; the server then ends all of them and recovers.
func killBackend(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	for range 2 {
		pid, what, err := n.backend(ctx, r)
		if err != nil {
			return err
		}
		w := n.begin(f, "the backend of one session (%s) is killed (SIGKILL)", what)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		if err := n.untilAnswers(ctx); err != nil {
			return err
		}
		rest(ctx, felt+between(r, 0, 3*time.Second))
		n.end(w, "")
	}
	return nil
}

// untilAnswers waits until the server takes connections.
func (n *nemesis) untilAnswers(ctx context.Context) error {
	conn, err := n.owner(ctx)
	if err != nil {
		return err
	}
	return conn.Close(context.WithoutCancel(ctx))
}

// stopBackend keeps one session's process from running, with whatever locks it holds.
func stopBackend(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	pid, what, err := n.backend(ctx, r)
	if err != nil {
		return err
	}
	pause := between(r, 3*time.Second, 9*time.Second)
	w := n.begin(f, "the backend of one session (%s) is stopped (SIGSTOP) for %.1f s", what, pause.Seconds())
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	rest(ctx, pause)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	n.end(w, "")
	return nil
}

// endSessions ends every session of the product, a few times.
func endSessions(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	for range 3 {
		conn, err := n.owner(ctx)
		if err != nil {
			return err
		}
		w := n.begin(f, "all sessions are ended (pg_terminate_backend)")
		tag, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		if err := errors.Join(err, conn.Close(context.WithoutCancel(ctx))); err != nil {
			return err
		}
		rest(ctx, felt+between(r, 0, 2*time.Second))
		n.end(w, "(%d of them)", tag.RowsAffected())
	}
	return nil
}

// takeSessions takes all the connections there may be, and ends the product's own so that it must ask for new ones.
func takeSessions(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	pause := between(r, 3*time.Second, 8*time.Second)
	conn, err := n.owner(ctx)
	if err != nil {
		return err
	}
	defer leave(ctx, conn)
	if _, err := conn.Exec(ctx, "DROP ROLE IF EXISTS nemesis; CREATE ROLE nemesis LOGIN PASSWORD 'taking'"); err != nil {
		return err
	}
	w := n.begin(f, "all connections of PostgreSQL are taken for %.1f s", pause.Seconds())
	taken, err := n.takeAll(ctx, conn)
	rest(ctx, pause)
	for _, one := range taken {
		_ = one.Close(context.WithoutCancel(ctx)) // it did nothing
	}
	if err != nil {
		return err
	}
	n.end(w, "(%d were taken)", len(taken))
	return nil
}

func (n *nemesis) takeAll(ctx context.Context, owner *pgx.Conn) (taken []*pgx.Conn, err error) {
	config, err := pgx.ParseConfig(n.stage.Database)
	if err != nil {
		return nil, err
	}
	config.User, config.Password = "nemesis", "taking"
	for refused := 0; refused < 12 && ctx.Err() == nil; {
		one, err := pgx.ConnectConfig(ctx, config)
		if err == nil {
			taken = append(taken, one)
			continue
		}
		refused++ // now the product's own, which it will want to have back
		if _, err := owner.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'arauto%'"); err != nil {
			return taken, err
		}
	}
	return taken, nil
}

func canFill(n *nemesis) error { return n.full }

// fillData takes the room of the tables' volume away.
func fillData(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	pause := between(r, 5*time.Second, 14*time.Second)
	w := n.begin(f, "the volume of the tables is full for %.1f s", pause.Seconds())
	restore, err := n.data.fill()
	if err != nil {
		return err
	}
	rest(ctx, pause)
	return n.giveBack(ctx, w, restore)
}

// fillWAL takes the room of the log's volume away, and has PostgreSQL use up what it had prepared.
func fillWAL(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	conn, err := n.owner(ctx)
	if err != nil {
		return err
	}
	defer leave(ctx, conn)
	pause := between(r, 2*time.Second, 8*time.Second)
	w := n.begin(f, "the volume of PostgreSQL's own log is full; %.1f s after PostgreSQL gave up there is room again", pause.Seconds())
	restore, err := n.wal.fill()
	if err != nil {
		return err
	}
	limit := time.Now().Add(20 * time.Second)
	for ctx.Err() == nil && time.Now().Before(limit) {
		if _, err := conn.Exec(ctx, "SELECT pg_switch_wal(), pg_logical_emit_message(true, 'nemesis', 'x')"); err != nil {
			break // as it must
		}
	}
	rest(ctx, pause)
	return n.giveBack(ctx, w, restore)
}

// giveBack restores the room, and the server if it did not survive.
func (n *nemesis) giveBack(ctx context.Context, w *window, restore func() error) error {
	if err := restore(); err != nil {
		return err
	}
	if n.stage.Server.Pid() == 0 {
		return n.revive(ctx, w)
	}
	if err := n.untilAnswers(ctx); err != nil {
		if n.stage.Server.Pid() == 0 {
			return n.revive(ctx, w)
		}
		return err
	}
	n.end(w, "(PostgreSQL was not restarted)")
	return nil
}

func canMoveClock(n *nemesis) error { return n.still }

// jumpClock brings the database back with a clock that is seconds off the replicas', and later with the right one.
func jumpClock(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	offset := between(r, 2*time.Second, 5*time.Second)
	if r.IntN(2) == 0 {
		offset = -offset
	}
	pause := between(r, 10*time.Second, 20*time.Second)
	w := n.begin(f, "PostgreSQL is started anew with a clock that is %+.1f s off, and %.1f s later with the right one", offset.Seconds(), pause.Seconds())
	if err := n.newClock(ctx, fmt.Sprintf("%+.3f", offset.Seconds()), offset); err != nil {
		return err
	}
	rest(ctx, pause)
	return n.rightClock(ctx, w, func() time.Duration { return offset })
}

// newClock starts the server with another clock, and makes sure that it has it.
func (n *nemesis) newClock(ctx context.Context, said string, offset time.Duration) error {
	if err := n.stage.Server.Restart(context.WithoutCancel(ctx), n.clock.environ(said)...); err != nil {
		return err
	}
	n.clock.moved(offset)
	conn, err := n.owner(ctx)
	if err != nil {
		return err
	}
	defer leave(ctx, conn)
	var now time.Time
	if err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now); err != nil {
		return err
	}
	if off := time.Until(now) - offset; off.Abs() > time.Second {
		return fmt.Errorf("PostgreSQL's clock is %s ahead and not %s", time.Until(now), offset)
	}
	return nil
}

// rightClock starts the server with the right clock. The wrong one went on until a moment within the restart; offset is by how
// much it was ahead.
func (n *nemesis) rightClock(ctx context.Context, w *window, offset func() time.Duration) error {
	if err := n.stage.Server.Restart(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	n.clock.moved(offset())
	n.clock.moved(0)
	n.end(w, "")
	return nil
}

// driftClock lets the database's clock run too fast, or too slowly, for a while.
func driftClock(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	rate := 1 + float64(between(r, 50, 150))/1000
	if r.IntN(2) == 0 {
		rate = 1 / rate
	}
	const seconds = 20
	w := n.begin(f, "PostgreSQL is started anew with a clock that runs %.2f times as fast, and %d s later with the right one", rate, seconds)
	began := time.Now() // the server's processes count from a moment within its start
	drifted := func() time.Duration { return time.Duration(float64(time.Since(began)) * (rate - 1)) }
	if err := n.newClock(ctx, fmt.Sprintf("+0 x%.3f", rate), 0); err != nil {
		return err
	}
	for range seconds {
		rest(ctx, time.Second)
		n.clock.moved(drifted())
	}
	return n.rightClock(ctx, w, drifted)
}
