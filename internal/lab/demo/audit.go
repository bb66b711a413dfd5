package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// prove plays the auditor, with the commands one would use: it waits until the sealer has signed everything, takes the
// log away in a bundle, verifies that file without the database, and writes down one payment's story.
func (d *demo) prove(ctx context.Context) error {
	state := filepath.Join(d.stage.Dir, "state")
	key, bundle := filepath.Join(state, "log.pub.pem"), filepath.Join(d.stage.Dir, "history.zip")
	if err := d.sealed(ctx, key); err != nil {
		return err
	}
	out, err := d.audit(ctx, "export", "--database-url", d.stage.Database, "--out", bundle)
	if err != nil {
		return err
	}
	d.say("auditor", "arauto audit export: %s", strings.TrimPrefix(out, "export: "))
	if out, err = d.audit(ctx, "verify", bundle, "--key", key, "--anchors", filepath.Join(state, "checkpoints.txt")); err != nil {
		return err
	}
	if !strings.HasPrefix(out, "ok ") {
		return fmt.Errorf("the bundle does not verify: %s", out)
	}
	d.say("auditor", "arauto audit verify history.zip, without the database: %s", out)
	dossier, err := d.audit(ctx, "dossier", d.told[0].id, "--database-url", d.stage.Database, "--format", "text", "--lang", "en")
	if err != nil {
		return err
	}
	d.say("auditor", "arauto audit dossier %s, here without the details of each line:", d.told[0].id)
	d.mu.Lock()
	defer d.mu.Unlock()
	for line := range strings.Lines(dossier) {
		if detail := strings.HasPrefix(line, "      "); !detail && strings.TrimSpace(line) != "" {
			fmt.Fprint(d.out, "            | ", line)
		}
	}
	fmt.Fprint(d.out, "\n\n")
	return nil
}

// audit runs one of the auditor's commands and returns what it printed, without its notes.
func (d *demo) audit(ctx context.Context, args ...string) (string, error) {
	cmd := d.Command(append([]string{"audit"}, args...)...)
	var out, notes strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &notes
	err := cmd.Start()
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
		err = cmd.Wait()
		stop()
	}
	text := strings.TrimSpace(out.String())
	if err != nil {
		return text, fmt.Errorf("arauto audit %s: %s%s: %w", args[0], notes.String(), text, err)
	}
	return text, nil
}

// sealed verifies the database until all that the stories made is signed.
func (d *demo) sealed(ctx context.Context, key string) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := d.audit(ctx, "verify", "--database-url", d.stage.Database, "--key", key)
		var entries int
		if _, scanned := fmt.Sscanf(out, "ok %d", &entries); err == nil && scanned == nil && entries >= d.facts() {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the history does not verify: %s: %w", out, errors.Join(err, ctx.Err()))
		case <-tick.C:
		}
	}
}

// facts is the least number of entries the stories made: two registrations, and for each story its change and, for each
// attempt, its start and its end; and the poll.
func (d *demo) facts() int {
	n := 3
	for _, s := range d.told {
		n += 1 + 2*len(s.outcomes)
	}
	return n
}
