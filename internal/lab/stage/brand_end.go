package stage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/ofb"
)

// brandSide is a resource at one brand, as far as the core told that brand of it. Revisions count the states from 1.
type brandSide struct {
	kind         ofb.Kind
	states       []ofb.Status
	given        int64 // the last revision that was handed in
	acknowledged int64 // the last revision that was acknowledged
}

// brandEnd is a resource as the database has it.
type brandEnd struct {
	key      string
	kind     ofb.Kind
	status   string
	revision int64
}

// wrong says how a resource differs from what the core told; "": not at all. A change whose answer was lost may be there or not.
func (s *brandSide) wrong(e brandEnd) string {
	switch {
	case s == nil:
		return fmt.Sprintf("%s is %s at revision %d, and the core told this brand nothing of it", e.key, e.status, e.revision)
	case e.kind != s.kind:
		return fmt.Sprintf("%s is a %s and not a %s", e.key, e.kind, s.kind)
	case e.revision < max(s.acknowledged, 1) || e.revision > s.given:
		return fmt.Sprintf("%s ended as %s at revision %d; %d of %d revisions were acknowledged", e.key, e.status, e.revision, s.acknowledged, s.given)
	case e.status != string(s.states[e.revision-1]):
		return fmt.Sprintf("%s ended as %s at revision %d, and not as %s", e.key, e.status, e.revision, s.states[e.revision-1])
	}
	return ""
}

// Ends judges all resources of the run, of which nothing may be under way any more: each brand has each of its resources in the last state that was
// acknowledged, at that revision, and no other one. It returns how many there are, and what is not so.
func (r *BrandRun) Ends(ctx context.Context) (found int, wrong []string, err error) {
	conn, err := pgx.Connect(ctx, r.Stage.Database)
	if err != nil {
		return 0, nil, fmt.Errorf("read the resources: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, _ := conn.Query(ctx, "SELECT id, kind, status, revision FROM arauto.resource")
	var kind int16
	var one brandEnd
	var ends []brandEnd
	_, err = pgx.ForEachRow(rows, []any{&one.key, &kind, &one.status, &one.revision}, func() error {
		one.kind = ofb.Kind(kind)
		if r.Tells(one.key) {
			ends = append(ends, one)
		}
		return nil
	})
	if err != nil {
		return 0, nil, fmt.Errorf("read the resources: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(ends), wrongEnds(r.sides, ends), nil
}

// wrongEnds compares what the core told, by key, with what the database has.
func wrongEnds(sides map[string]*brandSide, ends []brandEnd) (wrong []string) {
	missing := maps.Clone(sides)
	for _, e := range ends {
		delete(missing, e.key)
		if text := sides[e.key].wrong(e); text != "" {
			wrong = append(wrong, text)
		}
	}
	for key, s := range missing {
		if s.acknowledged > 0 {
			wrong = append(wrong, fmt.Sprintf("%s is not there, and %d of its revisions were acknowledged", key, s.acknowledged))
		}
	}
	slices.Sort(wrong)
	return wrong
}

// Chains judges the POSTs of the run as RunRecord does, each brand's by themselves: at most three for a notification, each a recorded attempt, none
// early, no interaction id twice. It does not judge what is late or of unknown end. Of all notifications it takes those of its clients.
func (r *BrandRun) Chains(posts []Post, all []Notification, ahead func(from, to time.Time) time.Duration) (wrong []string) {
	for _, b := range r.brands() {
		record := RunRecord{Ahead: ahead}
		for _, p := range posts {
			if strings.HasPrefix(p.Target, "/"+b.Name+"/") { // BrandRecord.Check judges the others
				record.Posts = append(record.Posts, p)
			}
		}
		for _, n := range all {
			if r.Has(n.ClientID) && string(brand.Of(n.ClientID)) == b.key() {
				n.ResourceID = brand.ID(n.ResourceID)
				record.Notifications = append(record.Notifications, n)
			}
		}
		for _, text := range record.Check().Wrong {
			wrong = append(wrong, fmt.Sprintf("brand %s: %s", b.Name, text))
		}
	}
	return wrong
}
