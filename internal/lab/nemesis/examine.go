package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// quietWithin is how long the last chains may take: three attempts that hang, their gaps, and one lease.
const quietWithin = 3 * time.Minute

// examine waits for quiet and holds everything against everything else.
func (n *nemesis) examine(ctx context.Context) error {
	if err := n.awaitBank(ctx); err != nil {
		return err
	}
	if err := n.settle(ctx); err != nil {
		return err
	}
	lines, err := stage.ReadSubmissions(n.book())
	if err != nil {
		return err
	}
	core := n.replicas[0].core.Load()
	books := stage.RunRecord{Submissions: lines, Posts: n.posts(), Disturbed: n.disturbed, Ahead: n.clock.ahead, Hostile: map[string]bool{}}
	for _, c := range n.clients {
		books.Hostile[c.id] = c.receiver == n.receivers[receiverCount-1]
	}
	if books.Notifications, err = core.Notifications(ctx, url.Values{}); err != nil {
		return fmt.Errorf("read the notifications: %w", err)
	}
	if books.Notifications, err = n.examineBrands(ctx, books.Notifications); err != nil {
		return err
	}
	if books.Stored, err = n.stage.StoredRevisions(ctx); err != nil {
		return err
	}
	n.say("check", "%d changes in the ledger, %d POSTs at receivers, %d notifications, %d revisions, %d polls",
		len(lines), len(books.Posts), len(books.Notifications), len(books.Stored), len(n.polls.all))
	report := books.Check()
	n.say("check", "%s", report)
	n.say("check", "from the change to its first POST: %s; %d over 1.5 s", report.First, report.First.Over(1500*time.Millisecond))
	n.say("check", "gaps beyond 10 s: %s; beyond 60 s: %s", report.Second, report.Third)
	n.say("check", "%d attempts followed one that a receiver had accepted, whose end nobody saw", report.AcceptedAgain)
	for _, text := range report.Wrong {
		n.fail("%s", text)
		n.explain(text, books.Notifications)
	}
	n.examineLedger(lines, books.Notifications)
	n.examineAddresses(books.Posts)
	if err := n.examineBank(ctx, books.Notifications); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{n.examineRows, n.examineStories, n.examinePolls, n.examineProof, n.examineReconciliation, n.examineProcesses} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if len(n.faults()) > 0 {
		return n.keepEntries(ctx)
	}
	return nil
}

// settle waits until every chain has ended and every deadline of the stories has fired.
func (n *nemesis) settle(ctx context.Context) error {
	for _, r := range n.replicas {
		if err := r.process.Load().WaitReady(ctx); err != nil {
			return err
		}
	}
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, quietWithin)
	defer cancel()
	if _, err := n.replicas[0].core.Load().Settle(limited, 24*time.Hour); err != nil {
		n.fail("there is no quiet after %s: %v", quietWithin, err)
		return nil
	}
	n.say("nemesis", "quiet after %.1f s: every chain has ended", time.Since(began).Seconds())
	return nil
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// explain prints what is known around a wrong result: the notification it names, and the faults at that time.
func (n *nemesis) explain(text string, all []stage.Notification) {
	ids := uuids.FindAllString(text, -1)
	for i := range all {
		v := &all[i]
		if !slices.ContainsFunc(ids, func(id string) bool {
			return v.ID == id || slices.ContainsFunc(v.Attempts, func(t stage.Attempt) bool { return t.InteractionID == id })
		}) {
			continue
		}
		until := v.CreatedAt
		story := fmt.Sprintf("    notification %s of %s %s %s for %s, made %s, %s\n", v.ID, v.Kind, v.ResourceID, v.Status, v.ClientID, n.when(v.CreatedAt), v.State)
		for _, t := range v.Attempts {
			until = t.StartedAt
			outcome, detail, ended := "none", "", ""
			if t.Outcome != nil {
				outcome = *t.Outcome
			}
			if t.Detail != nil {
				detail = *t.Detail
			}
			if t.EndedAt != nil {
				ended = n.when(*t.EndedAt)
			}
			story += fmt.Sprintf("      attempt %d, interaction %s: due %s, began %s, ended %s: %s %s\n", t.Number, t.InteractionID, n.when(t.ScheduledAt), n.when(t.StartedAt), ended, outcome, detail)
		}
		if len(n.faults()) <= mostSaid {
			n.print("%s%s", story, n.timeline(n.around(v.CreatedAt, until, 2*grace)))
		}
	}
}

func (n *nemesis) when(t time.Time) string {
	return fmt.Sprintf("%.2f s", t.Sub(n.began).Seconds())
}

// examineLedger checks that each change was told of or not as the rules say, and that what was cancelled had its reason.
func (n *nemesis) examineLedger(lines []stage.Line, all []stage.Notification) {
	for i := range lines {
		l := &lines[i]
		key, err := l.Change.Key()
		if err != nil || l.Fate != stage.Acknowledged {
			n.fail("%v has no acknowledgement at the end: %s %s", key, l.Fate, l.Error)
			continue
		}
		v := n.load.known[key.ResourceID]
		state := v.story.states[(l.Change.Revision-1)/3]
		must := slices.Contains(told[v.story.kind], state)
		reason := ""
		if l.Answer.Reason != nil {
			reason = *l.Answer.Reason
		}
		switch got := len(l.Answer.Notifications); {
		case must && got == 0 && (reason == "no-webhook" || reason == "unknown-client") && v.client.away(l.Change.OccurredAt, l.At):
		case must && got != 1:
			n.fail("%v into %s made %d notifications (%s) and must make one", key, state, got, reason)
		case !must && got != 0:
			n.fail("%v into %s made %d notifications and must make none", key, state, got)
		}
	}
	clients := map[string]*client{}
	for _, c := range n.clients {
		clients[c.id] = c
	}
	if n.bank != nil {
		clients[n.bank.client.id] = n.bank.client
	}
	for i := range all {
		if v := &all[i]; v.State == "cancelled" && !clients[v.ClientID].away(v.CreatedAt, v.CreatedAt.Add(2*time.Minute)) {
			n.fail("notification %s for %s, made %s, was cancelled, and the client was registered all the time", v.ID, v.ClientID, n.when(v.CreatedAt))
		}
	}
}

// attemptWithin is one attempt's time (hurried).
const attemptWithin = 5 * time.Second

// examineAddresses checks that nothing was sent to an address after the gateway had answered that it is no more, but what
// was under way then.
func (n *nemesis) examineAddresses(posts []stage.Post) {
	over := map[string]time.Time{}
	for _, c := range n.clients {
		for _, e := range c.ended {
			over[e.path+"/"] = e.at
		}
	}
	for _, p := range posts {
		base := p.Target[:strings.Index(p.Target, "open-banking/")]
		if at, ended := over[base]; ended && p.At.After(at.Add(attemptWithin)) && !n.touched(at, p.At, "stop-replica") {
			n.fail("a POST (interaction id %s) arrived at %s %s after that address was no more", p.Interaction, base, p.At.Sub(at).Round(time.Millisecond))
		}
	}
}

// examineRows looks into the database beside what the gateway says of it.
func (n *nemesis) examineRows(ctx context.Context) error {
	wrong, err := n.stage.OneRowAFact(ctx)
	for _, text := range wrong {
		n.fail("%s", text)
	}
	return err
}

// examineStories checks that every resource ended as its story does, and that a deadline fired once.
func (n *nemesis) examineStories(ctx context.Context) error {
	conn, err := n.owner(ctx)
	if err != nil {
		return err
	}
	defer leave(ctx, conn)
	rows, _ := conn.Query(ctx, `
		SELECT c.id, c.status, c.revision, coalesce(t.fired, 0) FROM arauto.resource c
		LEFT JOIN (SELECT resource_id, count(*) AS fired FROM arauto.entry WHERE kind = 'change' AND revision IS NULL GROUP BY resource_id) t ON t.resource_id = c.id`)
	var id, status string
	var revision, timers int
	found, expired := 0, 0
	_, err = pgx.ForEachRow(rows, []any{&id, &status, &revision, &timers}, func() error {
		if n.bank.of(id) != nil || n.brands.Tells(id) {
			return nil // see examineBank, and Ends in examineBrands
		}
		found++
		if h := n.load.hot[id]; h != nil {
			if status != string(ofb.RCVD) || int64(revision) < h.acknowledged.Load() || int64(revision) > h.given.Load() {
				n.fail("%s ended as %s at revision %d, and %d of %d revisions were acknowledged", id, status, revision, h.acknowledged.Load(), h.given.Load())
			}
			return nil
		}
		v := n.load.known[id]
		if v == nil {
			n.fail("resource %s is not one of ours", id)
			return nil
		}
		last, fired := len(v.story.states)-1, 0
		want := v.story.states[last]
		if v.story.expires {
			want, fired = ofb.Rejected, 1
			expired++
		}
		if status != string(want) || revision != 3*last+1 || timers != fired {
			n.fail("%s ended as %s at revision %d after %d deadlines, and not as %s at revision %d after %d", id, status, revision, timers, want, 3*last+1, fired)
		}
		return nil
	})
	n.say("check", "%d resources ended as their stories do, %d of them by a deadline", found, expired)
	return err
}

// examinePolls holds what initiators know of their polls against what is recorded, both ways.
func (n *nemesis) examinePolls(ctx context.Context) error {
	conn, err := n.owner(ctx)
	if err != nil {
		return err
	}
	defer leave(ctx, conn)
	rows, _ := conn.Query(ctx, "SELECT interaction_id::text, outcome FROM arauto.entry WHERE kind = 'poll' AND interaction_id IS NOT NULL")
	recorded := map[string][]string{}
	var interaction, outcome string
	if _, err := pgx.ForEachRow(rows, []any{&interaction, &outcome}, func() error {
		recorded[interaction] = append(recorded[interaction], outcome)
		return nil
	}); err != nil {
		return err
	}
	asked := slices.Clone(n.polls.all)
	for _, a := range n.brands.Asked() {
		asked = append(asked, poll{interaction: a.Interaction, client: a.Client + " at " + a.Brand.Name, at: a.At, status: a.Status})
	}
	lost, kept := 0, 0
	for _, p := range asked {
		entries := recorded[p.interaction]
		delete(recorded, p.interaction)
		if len(entries) == 1 {
			kept++
		}
		switch {
		case len(entries) > 1:
			n.fail("the poll with interaction id %s of %s at %s is recorded %d times", p.interaction, p.client, n.when(p.at), len(entries))
		case p.status == 0: // no answer came: it may be recorded or not
			lost++
		case len(entries) == 0 && p.status == 200:
			n.fail("the poll with interaction id %s of %s at %s was answered %d and is not recorded", p.interaction, p.client, n.when(p.at), p.status)
		case len(entries) == 1 && entries[0] != fmt.Sprint(p.status):
			n.fail("the poll with interaction id %s of %s at %s was answered %d and is recorded as %s", p.interaction, p.client, n.when(p.at), p.status, entries[0])
		}
	}
	for interaction := range recorded {
		n.fail("a poll with interaction id %s is recorded, and nobody asked", interaction)
	}
	n.say("check", "%d of %d polls have their record; %d had no answer", kept, len(asked), lost)
	return nil
}

// examineProof verifies the whole history with the command an auditor uses, against the checkpoints kept outside.
func (n *nemesis) examineProof(ctx context.Context) error {
	conn, err := n.owner(ctx)
	if err != nil {
		return err
	}
	defer leave(ctx, conn)
	state := filepath.Join(n.dir, "state")
	limit := time.Now().Add(time.Minute)
	for {
		var entries int
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM arauto.entry").Scan(&entries); err != nil {
			return err
		}
		verify := exec.CommandContext(ctx, n.arauto, "audit", "verify", "--database-url", n.stage.Database, //nolint:gosec // the product
			"--key", filepath.Join(state, "log.pub.pem"), "--anchors", filepath.Join(state, "checkpoints.txt"))
		var notes bytes.Buffer
		verify.Stderr = &notes
		out, err := verify.Output()
		var verified int
		_, scanned := fmt.Sscanf(string(out), "ok %d", &verified)
		switch {
		case err != nil:
			n.fail("the history does not verify: %s %s %v", bytes.TrimSpace(out), bytes.TrimSpace(notes.Bytes()), err)
			return nil
		case scanned == nil && verified == entries:
			n.say("check", "arauto audit verify, with the anchors: %s", bytes.TrimSpace(out))
			return nil
		case time.Now().After(limit):
			n.fail("the history has %d entries, and a minute later only %s is proven: %s", entries, bytes.TrimSpace(out), bytes.TrimSpace(notes.Bytes()))
			return nil
		}
		rest(ctx, time.Second)
	}
}

// examineReconciliation asks the product's own proof of completeness, which must agree with ours.
func (n *nemesis) examineReconciliation(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, n.arauto, "audit", "reconcile", "--lang", "en", "--database-url", n.stage.Database).CombinedOutput() //nolint:gosec // the product
	text := string(bytes.TrimSpace(out))
	if err != nil {
		n.fail("arauto audit reconcile: %v: %.1500s", err, text)
		return nil
	}
	n.say("check", "arauto audit reconcile: %s", text[strings.LastIndexByte(text, '\n')+1:])
	return nil
}

// panicked matches what a process says that came to harm.
var panicked = regexp.MustCompile(`(?m)^(panic:|fatal error:|WARNING: DATA RACE|unexpected fault address)|"msg":"[^"]*panic`)

// examineProcesses reads what the processes said, and what those that run weigh now.
func (n *nemesis) examineProcesses(ctx context.Context) error {
	logs, err := filepath.Glob(filepath.Join(n.dir, "replica-*.*"))
	if err != nil {
		return err
	}
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if at := panicked.FindIndex(text); at != nil {
			n.fail("%s: %.1500s", filepath.Base(name), text[at[0]:])
		}
	}
	for _, r := range n.replicas {
		f, err := r.weigh(ctx)
		if err != nil {
			return err
		}
		n.say("check", "%s in quiet: %s; a replica under load at the beginning: %s", r.process.Load().Name, f, r.first)
		if f.panics > 0 {
			n.fail("%s caught %d panics", r.process.Load().Name, f.panics)
		}
		if f.goroutines > r.first.goroutines+roomGoroutines || f.descriptors > r.first.descriptors+roomDescriptors || f.resident > r.first.resident+roomMiB {
			n.fail("%s in quiet: %s; a replica under load at the beginning: %s", r.process.Load().Name, f, r.first)
		}
	}
	return nil
}

// How much more than under load at the beginning a replica may weigh in quiet.
const (
	roomGoroutines  = 100
	roomDescriptors = 50
	roomMiB         = 150
)

// keepEntries writes the whole history into the folder, since the database goes.
func (n *nemesis) keepEntries(ctx context.Context) error {
	conn, err := n.owner(ctx)
	if err != nil {
		return err
	}
	defer leave(ctx, conn)
	file, err := os.Create(filepath.Join(n.dir, "entries.csv"))
	if err != nil {
		return err
	}
	_, err = conn.PgConn().CopyTo(ctx, file, "COPY (SELECT * FROM arauto.entry ORDER BY at, id) TO STDOUT WITH (FORMAT csv, HEADER)")
	return errors.Join(err, file.Close())
}
