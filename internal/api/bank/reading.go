package bank

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gorilla/mux"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
)

// Readings keeps that the history was read; *auditlog.Log does. It finds who reads in the context (notice.Actor), unless
// the reading names somebody.
type Readings interface {
	RecordReading(ctx context.Context, r history.LogReading) error
}

// recordWithin bounds how long the record of a reading may take.
const recordWithin = 5 * time.Second

// show answers with a value once it is recorded who reads it (cases N3). What cannot be recorded is not shown (D-3).
func (in *Internal) show(x *api.Exchange, r history.LogReading, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return in.hand(x, r, typeJSON, body)
}

// hand is show for what is written already.
func (in *Internal) hand(x *api.Exchange, r history.LogReading, media string, body []byte) error {
	sum := sha256.Sum256(body)
	r.SHA256 = hex.EncodeToString(sum[:])
	if err := in.record(x, r); err != nil {
		return err
	}
	return sendAs(x, http.StatusOK, media, body)
}

func (in *Internal) record(x *api.Exchange, r history.LogReading) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.R.Context()), recordWithin)
	defer cancel()
	if err := in.cfg.Readings.RecordReading(ctx, r); err != nil {
		x.Log.Error("read refused: its record could not be stored", "route", x.Route, "error", err)
		return errUnavailable
	}
	return nil
}

// traced records as well that an auditor asked for what is not there (cases N6), and tells of damage that kept an answer
// back.
func (in *Internal) traced(handle func(*api.Exchange) error) func(*api.Exchange) error {
	return func(x *api.Exchange) error {
		err := handle(x)
		var damage *audit.Fault
		if errors.As(err, &damage) {
			found := history.Integrity{}
			found.Fail(history.FailedEntry{Seq: &damage.Seq, Reason: damage.Reason})
			in.met(x, found)
		} else if err != nil && faultOf(err) == errDamaged { // the log's own tables
			found := history.Integrity{}
			found.Fail(history.FailedEntry{Reason: err.Error()})
			in.met(x, found)
		}
		if err != nil && faultOf(err).Status == http.StatusNotFound && x.W.Status == 0 {
			r, record := history.LogReading{Act: "not-found", Filter: askedOf(x)}, in.record
			if errors.As(err, &absentTile{}) {
				r.Filter["file"], record = "absent", in.recordOnce
			}
			if err := record(x, r); err != nil {
				return err
			}
		}
		return err
	}
}

// askedOf is what a call asks for, by name: the variables of its path and its query. Values are cut, and those of cursors left
// out.
func askedOf(x *api.Exchange) map[string]string {
	out := map[string]string{"path": x.Route}
	for name := range mux.Vars(x.R) {
		out[name] = cutText(x.Segment(name))
	}
	values, _ := url.ParseQuery(x.R.URL.RawQuery) // it was judged by the handler, or is about to be
	for name, v := range values {
		if name != "cursor" && len(out) < 32 {
			out[cutText(name)] = cutText(strings.Join(v, ","))
		}
	}
	return out
}

// cutText makes what came from outside fit for the history: at most 255 bytes of UTF-8, without NUL.
func cutText(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "�"), "�")
	if len(s) > 255 {
		s = strings.ToValidUTF8(s[:255], "") + "…"
	}
	return s
}

// again is how long the same reading by the same person is counted instead of recorded anew: pages that refresh themselves
// would otherwise fill the history.
const again = time.Minute

// repeats bounds how many readings are remembered for that; beyond it each is recorded by itself.
const repeats = 10_000

// repeated are the readings of the last minute.
type repeated struct {
	mu   sync.Mutex
	seen map[string]*repeat
}

type repeat struct {
	since time.Time
	last  history.LogReading // with its caller, and how often it came again
}

// view is show for what operators look at all day: the first reading is recorded before it is answered, the same within a
// minute is counted, and the count recorded when the minute is over.
func (in *Internal) view(x *api.Exchange, rows int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	if err := in.recordOnce(x, history.LogReading{Act: "read", Filter: askedOf(x), Rows: int64(rows), SHA256: hex.EncodeToString(sum[:])}); err != nil {
		return err
	}
	return send(x, http.StatusOK, body)
}

// recordOnce records the first of equal readings in a minute, and counts the others.
func (in *Internal) recordOnce(x *api.Exchange, r history.LogReading) error {
	r.Actor, _ = x.R.Context().Value(history.ActorKey{}).(history.Actor)
	if in.repeated.count(r, x.Began) {
		return nil
	}
	if err := in.record(x, r); err != nil {
		return err
	}
	if over := in.repeated.add(r, x.Began); over != nil {
		return in.record(x, *over)
	}
	return nil
}

func repeatKey(r history.LogReading) string {
	host, _, err := net.SplitHostPort(r.Actor.Source)
	if err != nil {
		host = r.Actor.Source
	}
	var key strings.Builder
	for _, part := range []string{r.Actor.Subject, r.Actor.Role, host} {
		fmt.Fprintf(&key, "%q ", part)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Filter)) {
		fmt.Fprintf(&key, "%q=%q ", name, r.Filter[name])
	}
	return key.String()
}

// count tells whether the same was recorded less than a minute ago, and counts it then.
func (p *repeated) count(r history.LogReading, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, there := p.seen[repeatKey(r)]
	if !there || now.Sub(s.since) >= again {
		return false
	}
	r.Repeats = s.last.Repeats + 1
	s.last = r
	return true
}

// add remembers a reading that was recorded, and returns the count that it replaces, if there is one to be recorded.
func (p *repeated) add(r history.LogReading, now time.Time) (over *history.LogReading) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := repeatKey(r)
	if old, there := p.seen[key]; there && old.last.Repeats > 0 {
		over = &old.last
	}
	if len(p.seen) < repeats || over != nil {
		p.seen[key] = &repeat{since: now, last: r}
	}
	return over
}

// take removes what is older than a minute, or all, and returns what is to be recorded of it.
func (p *repeated) take(now time.Time, all bool) []history.LogReading {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []history.LogReading
	for key, s := range p.seen {
		if !all && now.Sub(s.since) < again {
			continue
		}
		if s.last.Repeats > 0 {
			out = append(out, s.last)
		}
		delete(p.seen, key)
	}
	return out
}

// giveBack keeps counts that could not be recorded, to be tried again.
func (p *repeated) giveBack(list []history.LogReading) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range list {
		if s, there := p.seen[repeatKey(r)]; there {
			s.last.Repeats += r.Repeats
		} else {
			p.seen[repeatKey(r)] = &repeat{last: r} // its minute is over
		}
	}
}

// RecordRepeated records how often readings came again in minutes that are over; all: also in those that are not. It is
// called every few seconds, and with all at the very end.
func (in *Internal) RecordRepeated(ctx context.Context, all bool) error {
	list := in.repeated.take(time.Now(), all)
	for i, r := range list {
		if err := in.cfg.Readings.RecordReading(ctx, r); err != nil {
			in.repeated.giveBack(list[i:])
			return errors.Join(fmt.Errorf("record %d repeated readings", len(list)-i), err)
		}
	}
	return nil
}
