package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/lab/stage"
)

// setBack is the last act, after everything was found in order: the database is set back to a state from before its newest
// checkpoints, under running replicas, as a restore or an asynchronous failover does. What was acknowledged in between is
// gone, and no product can bring it back; what must not happen is that the log goes on as if nothing had been. So sealing
// must stop at every replica that seals, the anchors must keep what they have, and the verifier must call the log BAD.
func (n *nemesis) setBack(ctx context.Context) error {
	if n.stage.Server.DataDir() == "" {
		n.say("nemesis", "NOT POSSIBLE HERE: a database set back, since the server is not ours")
		return nil
	}
	n.say("nemesis", "the last act: the database is set back under the running gateway")
	if err := n.copyCluster(ctx, keepCluster); err != nil {
		return err
	}
	anchors := filepath.Join(n.dir, "state", "checkpoints.txt")
	before, err := os.ReadFile(anchors)
	if err != nil {
		return err
	}
	if err := n.growLog(ctx, anchors, len(before)); err != nil {
		return err
	}
	if err := n.copyCluster(ctx, restoreCluster); err != nil {
		return err
	}
	anchored, err := os.ReadFile(anchors)
	if err != nil {
		return err
	}
	stopped := func(page string) bool { return strings.Contains(page, "arauto_log_sealing_stopped 1") }
	for _, r := range n.replicas {
		if err := r.until(ctx, 2*time.Minute, stopped); err != nil {
			n.fail("%s seals on, or says nothing of it, after the database was set back: %v", r.process.Load().Name, err)
		}
	}
	// A change is accepted all the same; its entry waits.
	if err := n.handIn(ctx, "urn:bancoarauto:nemesis-after-setback"); err != nil {
		n.fail("a change is not accepted after the database was set back: %v", err)
	}
	if now, err := os.ReadFile(anchors); err != nil || string(now) != string(anchored) {
		n.fail("the anchors changed after the database was set back: %v", err)
	}
	verify := exec.CommandContext(ctx, n.arauto, "audit", "verify", "--database-url", n.stage.Database, //nolint:gosec // the product
		"--key", filepath.Join(n.dir, "state", "log.pub.pem"), "--anchors", anchors)
	out, err := verify.Output()
	if text := strings.TrimSpace(string(out)); err == nil || !strings.HasPrefix(text[strings.LastIndexByte(text, '\n')+1:], "BAD ") {
		n.fail("the verifier does not find that the database was set back: %q", text)
	} else {
		n.say("check", "set back: sealing stopped at every replica, the anchors kept what they had, arauto audit verify says %.120s", text)
	}
	return nil
}

// until asks a replica for its metrics until they satisfy.
func (r *replica) until(ctx context.Context, within time.Duration, satisfied func(page string) bool) error {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var last error
	for {
		page, err := r.process.Load().Metrics(limited)
		if err == nil && satisfied(page) {
			return nil
		}
		if limited.Err() != nil {
			return errors.Join(fmt.Errorf("not within %s", within), last)
		}
		last = err
		rest(limited, 200*time.Millisecond)
	}
}

// handIn hands in one change of a consent that nobody must be told of, and waits for its acknowledgement.
func (n *nemesis) handIn(ctx context.Context, id string) error {
	change := n.load.consent(n.clients[0], id)
	return n.administer(ctx, n.load.random(), func(core *stage.Core) error {
		_, err := core.Change(ctx, change)
		return err
	})
}

// growLog hands in changes until a checkpoint over them was added to the anchor file.
func (n *nemesis) growLog(ctx context.Context, anchors string, size int) error {
	limit := time.Now().Add(time.Minute)
	for number := 0; ; number++ {
		if err := n.handIn(ctx, fmt.Sprintf("urn:bancoarauto:nemesis-setback-%d", number)); err != nil {
			return fmt.Errorf("hand in a change before the database is set back: %w", err)
		}
		now, err := os.ReadFile(anchors)
		switch {
		case err != nil:
			return err
		case len(now) > size:
			return nil
		case time.Now().After(limit):
			return errors.New("no checkpoint was anchored within a minute, before the database was set back")
		}
		rest(ctx, time.Second)
	}
}

// The two directions of copyCluster.
const (
	keepCluster    = false
	restoreCluster = true
)

// copyCluster crashes the server, copies its folders into the nemesis' own, or back, and starts it again: what a crashed
// server leaves on its disk is a state that it recovers from.
func (n *nemesis) copyCluster(ctx context.Context, back bool) error {
	folders := []string{n.stage.Server.DataDir()}
	if n.data != nil {
		folders = []string{n.data.path, n.wal.path}
	}
	if err := n.stage.Server.Kill(); err != nil {
		return err
	}
	for i, folder := range folders {
		kept := filepath.Join(n.dir, fmt.Sprintf("kept-%d", i))
		from, to := folder, kept
		if back {
			from, to = kept, folder
		}
		if err := replaceContent(ctx, from, to); err != nil {
			return err
		}
	}
	return n.stage.Server.Restart(context.WithoutCancel(ctx))
}

// replaceContent makes a folder hold what another one holds, with owners and modes. The folder itself may be a mount point.
func replaceContent(ctx context.Context, from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	old, err := os.ReadDir(to)
	if err != nil {
		return err
	}
	for _, one := range old {
		if err := os.RemoveAll(filepath.Join(to, one.Name())); err != nil {
			return err
		}
	}
	out, err := exec.CommandContext(ctx, "cp", "-a", from+"/.", to).CombinedOutput() //nolint:gosec // folders of ours
	if err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	return nil
}
