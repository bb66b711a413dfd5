package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// replicaRole is the login of the replicas, which owns nothing; ours is the owner.
const replicaRole = "nemesis_serve"

// openLogin makes the replicas' login, and the file that holds its password.
func (w *world) openLogin(ctx context.Context) error {
	conn, err := w.owner(ctx)
	if err != nil {
		return err
	}
	defer leave(ctx, conn)
	const first = "first"
	if _, err := conn.Exec(ctx, "CREATE ROLE "+replicaRole+" LOGIN PASSWORD '"+first+"' IN ROLE arauto_app"); err != nil {
		return fmt.Errorf("make the replicas' login: %w", err)
	}
	return w.writePassword(first)
}

func (w *world) passwordFile() string { return filepath.Join(w.dir, "database.password") }

// writePassword replaces the file in one step: nobody reads half of it.
func (w *world) writePassword(password string) error {
	next := w.passwordFile() + ".next"
	if err := os.WriteFile(next, []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(next, w.passwordFile())
}

// login are the settings by which a replica logs in at an address of the database.
func (w *world) login(database *url.URL, address string) []string {
	own := *database
	own.Host, own.User = address, url.User(replicaRole)
	return []string{"ARAUTO_DATABASE_URL=" + own.String(), "ARAUTO_DATABASE_PASSWORD_FILE=" + w.passwordFile()}
}

// rotatePassword gives the replicas' login another password and ends its sessions; the file that the replicas read has the
// new one some seconds later, as where two administrators, or two programs, change the two. The replicas must go on by
// themselves, and it is an outage like another: nothing is lost, and nothing is quarantined (F41).
func rotatePassword(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	late, password := between(r, 2*time.Second, 9*time.Second), fmt.Sprintf("%016x", r.Uint64())
	conn, err := n.owner(ctx)
	if err != nil {
		return err
	}
	defer func() { leave(ctx, conn) }()
	w := n.begin(f, "the replicas' login gets another password, its sessions are ended, and the replicas' file has the new password %.1f s later", late.Seconds())
	for _, statement := range []string{
		"ALTER ROLE " + replicaRole + " PASSWORD '" + password + "'",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + replicaRole + "'",
	} {
		if err := n.insist(ctx, &conn, statement); err != nil {
			return err
		}
	}
	rest(ctx, late)
	if err := n.writePassword(password); err != nil {
		return err
	}
	began := time.Now()
	for _, v := range n.replicas {
		process := v.process.Load()
		err := process.WaitReady(ctx)
		_, ended := v.expected.Load(process)
		if err != nil && ctx.Err() == nil && !ended {
			n.fail("%s is not ready again after its password was changed, and its file holds the new one: %v", process.Name, err)
		}
	}
	n.end(w, "(the replicas were ready %.1f s after the file had the new password)", time.Since(began).Seconds())
	return nil
}
