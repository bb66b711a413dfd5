package stage

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/ofb"
)

// FreezeServer stops every process of the database server, as a stalled machine does: connections stay open and nothing
// answers. It returns how to let them go on, which may be called twice. The error wraps os.ErrNotExist where the system
// does not tell a process's children.
func (s *Stage) FreezeServer() (thaw func(), err error) {
	postmaster := s.Server.Pid()
	children := func() ([]int, error) {
		pids := []int{postmaster}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", postmaster, postmaster))
		if err != nil {
			return pids, fmt.Errorf("list the server's processes: %w", err)
		}
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return pids, fmt.Errorf("list the server's processes: %w", err)
			}
			pids = append(pids, pid)
		}
		return pids, nil
	}
	signal := func(sig syscall.Signal) error {
		pids, err := children()
		for _, pid := range pids {
			_ = syscall.Kill(pid, sig) // one that has just ended needs no signal
		}
		return err
	}
	// The postmaster first: it makes no more children then.
	if err := syscall.Kill(postmaster, syscall.SIGSTOP); err != nil {
		return nil, fmt.Errorf("stop the postmaster: %w", err)
	}
	thaw = func() { _ = signal(syscall.SIGCONT) }
	if err := signal(syscall.SIGSTOP); err != nil {
		thaw()
		return nil, err
	}
	return thaw, nil
}

// attempts are the attempts that the history has: in entries of their own, or the first one in the entry of its change.
const attempts = "(SELECT notification_id, coalesce(number, 1) AS number, interaction_id, xid FROM arauto.entry WHERE kind = 'attempt' OR kind = 'change' AND interaction_id IS NOT NULL)"

// oneRowAFact are queries that count what must not be in the database, beside what the gateway says of itself.
var oneRowAFact = map[string]string{
	"attempt numbers recorded twice":             "SELECT count(*) FROM (SELECT FROM " + attempts + " a GROUP BY notification_id, number HAVING count(*) > 1) x",
	"attempt numbers other than 1, 2, 3":         "SELECT count(*) FROM " + attempts + " a WHERE number NOT BETWEEN 1 AND 3",
	"interaction ids used twice":                 "SELECT count(*) FROM (SELECT FROM " + attempts + " a GROUP BY interaction_id HAVING count(*) > 1) x",
	"attempts that ended twice":                  "SELECT count(*) FROM (SELECT FROM arauto.entry WHERE kind = 'result' GROUP BY notification_id, number HAVING count(*) > 1) x",
	"results without their attempt":              "SELECT count(*) FROM arauto.entry r WHERE kind = 'result' AND NOT EXISTS (SELECT FROM " + attempts + " a WHERE a.notification_id = r.notification_id AND a.number = r.number)",
	"revisions announced twice":                  "SELECT count(*) FROM (SELECT FROM arauto.entry WHERE kind IN ('change', 'decision') AND notification_id IS NOT NULL AND revision IS NOT NULL GROUP BY resource_kind, resource_id, revision HAVING count(*) > 1) x",
	"changes recorded twice":                     "SELECT count(*) FROM (SELECT FROM arauto.entry WHERE kind = 'change' AND revision IS NOT NULL GROUP BY resource_kind, resource_id, revision HAVING count(*) > 1) x",
	"revisions without an entry":                 "SELECT count(*) FROM arauto.stored_revision v WHERE NOT EXISTS (SELECT FROM arauto.entry e WHERE e.id = v.change_id AND e.kind = 'change')",
	"notifications in the queue from nowhere":    "SELECT count(*) FROM arauto.queue q WHERE NOT EXISTS (SELECT FROM arauto.entry e WHERE e.notification_id = q.id AND e.kind IN ('change', 'decision'))",
	"notifications that were closed twice":       "SELECT count(*) FROM (SELECT FROM arauto.entry WHERE closes IS NOT NULL GROUP BY notification_id HAVING count(*) > 1) x",
	"notifications neither queued nor ended":     "SELECT count(*) FROM (SELECT DISTINCT notification_id FROM arauto.entry WHERE kind IN ('change', 'decision') AND notification_id IS NOT NULL) n WHERE NOT EXISTS (SELECT FROM arauto.queue q WHERE q.id = n.notification_id) AND NOT EXISTS (SELECT FROM " + attempts + " a WHERE a.notification_id = n.notification_id AND a.xid IN (SELECT xid FROM arauto.flight) AND NOT EXISTS (SELECT FROM arauto.entry r WHERE r.notification_id = a.notification_id AND r.kind = 'result' AND r.number = 1)) AND NOT EXISTS (SELECT FROM arauto.entry e WHERE e.notification_id = n.notification_id AND e.closes IS NOT NULL)",
	"flights that do not count their attempts":   "SELECT count(*) FROM arauto.flight f WHERE unsettled <> (SELECT count(*) FROM " + attempts + " a WHERE a.xid = f.xid AND NOT EXISTS (SELECT FROM arauto.entry r WHERE r.notification_id = a.notification_id AND r.kind = 'result' AND r.number = 1))",
	"polls recorded twice":                       "SELECT count(*) FROM (SELECT FROM arauto.entry WHERE kind = 'poll' GROUP BY id HAVING count(*) > 1) x",
	"current documents of a revision not stored": "SELECT count(*) FROM arauto.resource c WHERE revision > 0 AND NOT EXISTS (SELECT FROM arauto.stored_revision v WHERE v.kind = c.kind AND v.resource_id = c.id AND v.revision = c.revision)",
}

// OneRowAFact looks into the database and tells what is there that must not be.
func (s *Stage) OneRowAFact(ctx context.Context) (wrong []string, err error) {
	conn, err := pgx.Connect(ctx, s.Database)
	if err != nil {
		return nil, fmt.Errorf("look into the database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for what, query := range oneRowAFact {
		var n int
		if err := conn.QueryRow(ctx, query).Scan(&n); err != nil {
			return nil, fmt.Errorf("count %s: %w", what, err)
		}
		if n > 0 {
			wrong = append(wrong, fmt.Sprintf("the database holds %d %s", n, what))
		}
	}
	return wrong, nil
}

// StoredRevisions reads all that the database holds of changes with a revision.
func (s *Stage) StoredRevisions(ctx context.Context) (map[Revision]string, error) {
	conn, err := pgx.Connect(ctx, s.Database)
	if err != nil {
		return nil, fmt.Errorf("read the revisions: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, _ := conn.Query(ctx, "SELECT kind, resource_id, revision, change_id::text FROM arauto.stored_revision")
	out := map[Revision]string{}
	var kind int16
	var key Revision
	var change string
	_, err = pgx.ForEachRow(rows, []any{&kind, &key.ResourceID, &key.Number, &change}, func() error {
		key.Kind = ofb.Kind(kind).String()
		out[key] = change
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the revisions: %w", err)
	}
	return out, nil
}
