package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// failStatement has the database refuse one kind of fact about one client, with an error drawn from those that say "try
// again" and those that do not (cases F8, F9): whatever else the statement was about must not stay undone for long.
func failStatement(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	kind := []string{"change", "attempt", "result", "poll"}[r.IntN(4)]
	code := []string{"P0001", "40001", "40P01", "57014", "53100"}[r.IntN(5)]
	client := n.clients[r.IntN(len(n.clients))]
	pause := between(r, 5*time.Second, 14*time.Second)
	conn, err := n.owner(ctx)
	if err != nil {
		return err
	}
	defer func() { leave(ctx, conn) }()
	w := n.begin(f, "every entry %q of %s is refused with %s for %.1f s", kind, client.id, code, pause.Seconds())
	// Definitions take no parameters; all three are from our own lists.
	create := strings.NewReplacer("%kind", kind, "%code", code, "%client", client.id).Replace(`
CREATE OR REPLACE FUNCTION nemesis() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the nemesis refuses' USING ERRCODE = '%code'; END $$;
CREATE TRIGGER nemesis BEFORE INSERT ON arauto.entry FOR EACH ROW WHEN (NEW.kind = '%kind' AND NEW.client_id = '%client') EXECUTE FUNCTION nemesis();`)
	if err := n.insist(ctx, &conn, create); err != nil {
		return err
	}
	rest(ctx, pause)
	if err := n.insist(ctx, &conn, "DROP TRIGGER IF EXISTS nemesis ON arauto.entry"); err != nil {
		return err
	}
	n.end(w, "")
	return nil
}

// lockTable holds a lock that nothing goes beside, for longer than the product waits for one (2 s).
func lockTable(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	table := []string{"queue", "resource", "entry", "initiator"}[r.IntN(4)]
	pause := between(r, time.Second, 5*time.Second)
	conn, err := n.owner(ctx)
	if err != nil {
		return err
	}
	defer func() { leave(ctx, conn) }()
	w := n.begin(f, "table %s is locked for %.1f s", table, pause.Seconds())
	if err := n.insist(ctx, &conn, "ROLLBACK; BEGIN; LOCK TABLE arauto."+pgx.Identifier{table}.Sanitize()+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		return err
	}
	rest(ctx, pause)
	_, _ = conn.Exec(ctx, "ROLLBACK") // another fault may have ended this session, and the lock with it
	n.end(w, "")
	return nil
}

// revokeRight takes a right away from the product's role for some seconds, as an administrator's mistake does. It is an outage
// for everybody: nothing is quarantined for it, and nothing is lost.
func revokeRight(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	one := [][2]string{{"INSERT", "queue"}, {"UPDATE", "resource"}, {"INSERT", "revision"}, {"UPDATE", "queue"}}[r.IntN(4)]
	pause := between(r, 3*time.Second, 9*time.Second)
	conn, err := n.owner(ctx)
	if err != nil {
		return err
	}
	defer func() { leave(ctx, conn) }()
	w := n.begin(f, "%s on %s is revoked from arauto_app for %.1f s", one[0], one[1], pause.Seconds())
	if err := n.insist(ctx, &conn, "REVOKE "+one[0]+" ON arauto."+one[1]+" FROM arauto_app"); err != nil {
		return err
	}
	rest(ctx, pause)
	if err := n.insist(ctx, &conn, "GRANT "+one[0]+" ON arauto."+one[1]+" TO arauto_app"); err != nil {
		return err
	}
	n.end(w, "")
	return nil
}

// holdSnapshot keeps a snapshot open, as somebody who reads at length does. Nothing may become late for it.
func holdSnapshot(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	pause := between(r, 15*time.Second, 30*time.Second)
	conn, err := n.owner(ctx)
	if err != nil {
		return err
	}
	defer func() { leave(ctx, conn) }()
	w := n.begin(f, "a REPEATABLE READ transaction stays open for %.1f s", pause.Seconds())
	if err := n.insist(ctx, &conn, "ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM arauto.queue"); err != nil {
		return err
	}
	rest(ctx, pause)
	_, _ = conn.Exec(ctx, "ROLLBACK") // another fault may have ended this session, and the snapshot with it
	n.end(w, "")
	return nil
}

// insist runs a statement until it succeeds, on new connections if need be, for at most a minute.
func (n *nemesis) insist(ctx context.Context, conn **pgx.Conn, statement string) error {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	var last error
	for {
		_, err := (*conn).Exec(limited, statement)
		if err == nil {
			return nil
		}
		if limited.Err() != nil {
			return errors.Join(err, last)
		}
		last = err
		rest(limited, 200*time.Millisecond)
		if (*conn).IsClosed() {
			if again, err := n.owner(limited); err == nil {
				*conn = again
			}
		}
	}
}
