package auditlog

import (
	"context"
	"fmt"

	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// eraseBatch is how many resources one transaction of the walk looks at: it must end within the time limit of a statement.
const eraseBatch = 200

// finals lists the final states as the function erase_documents takes them.
func finals() (all []string) {
	for _, k := range ofb.Kinds() {
		for _, s := range k.Statuses() {
			if k.Final(s) {
				all = append(all, fmt.Sprintf("%d %s", int(k), s))
			}
		}
	}
	return all
}

// EraseDocuments walks through all resources, unless a walk of any replica ended in the last day or one is under way. It erases the
// document and what it is found by of each resource that has been in a final state for this many days, 30 or more, and that no hold
// keeps; each erasure is an entry in the same transaction. The revisions stay: by their hashes a repeated change is a duplicate. It
// returns how many were erased.
func (l *Log) EraseDocuments(ctx context.Context, days int) (erased int, err error) {
	var due bool
	if err := l.query.QueryRow(ctx, "SELECT ended_at < now() - interval '1 day' FROM erasure_walk").Scan(&due); err != nil {
		return 0, store.Unavailable("look when documents were erased last", err)
	}
	for due {
		var gone int
		var ended bool
		err := l.query.QueryRow(ctx, "SELECT gone, ended FROM erase_documents($1, make_interval(days => $2), $3)", finals(), days, eraseBatch).Scan(&gone, &ended)
		if err != nil {
			return erased, store.Unavailable("erase documents", err)
		}
		erased += gone
		due = !ended && ctx.Err() == nil
	}
	return erased, ctx.Err()
}
