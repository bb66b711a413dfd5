// Package reconcile is the daily look at whether the history is complete, and the list of a day's calls.
//
// Any replica may look, one at a time does, and what it found is an entry of the history itself. Every replica reports the
// newest one to its Observer. The list of calls is written below the state folder, readable by its owner only.
//
// It repairs nothing, and it does not verify the log's seal.
package reconcile

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// TickEvery is how often Tick is to be called.
const TickEvery = time.Minute

const (
	reconcileSpan  = 48 * time.Hour // each day is looked at twice, so that what was under way the first time is over the second
	reconcileAgain = 24 * time.Hour // after days without, from so long before the last one's end
	reportsKept    = 31             // lists of calls that stay on disk; the history can give them again
)

// Observer is told the newest reconciliation, whichever replica did it.
type Observer interface {
	// Reconciled is told how many differences the newest reconciliation found, when it was recorded and how long it took.
	Reconciled(differences int64, at time.Time, took time.Duration)
}

// Options are what a Reconciler works with.
type Options struct {
	Settings *config.Config
	AuditLog *auditlog.Log
	Log      *slog.Logger
	Observer Observer
	Endpoint func(operation, version string) string // path of an operation of the status queries; "" for no operation of ours
	Began    time.Time                              // when this replica started: a new installation waits for its first time
}

// Reconciler does the daily look.
type Reconciler struct{ with Options }

// New prepares the daily look; Tick does it.
func New(o Options) *Reconciler { return &Reconciler{o} }

// slot is the last time a reconciliation was due.
func (w *Reconciler) slot(now time.Time) time.Time {
	at, _ := time.Parse("15:04", w.with.Settings.Reconcile.At) // judged by Check
	now = now.In(ofb.Brasilia)
	slot := time.Date(now.Year(), now.Month(), now.Day(), at.Hour(), at.Minute(), 0, 0, ofb.Brasilia)
	if slot.After(now) {
		slot = slot.AddDate(0, 0, -1)
	}
	return slot
}

// Tick publishes what the newest reconciliation found, and begins the next one when it is due. A new installation waits
// for its first time; one that slept through its time catches up.
func (w *Reconciler) Tick(ctx context.Context) error {
	slot := w.slot(time.Now())
	due, _, err := w.due(ctx, slot)
	if err != nil || !due || !w.with.Settings.Reconcile.Enabled {
		return err
	}
	_, err = w.with.AuditLog.InTurn(ctx, "reconcile", func(ctx context.Context) error {
		due, last, err := w.due(ctx, slot) // another replica may have been quicker
		if err != nil || !due {
			return err
		}
		return w.run(ctx, slot, last)
	})
	return err
}

// due tells whether the reconciliation of a slot is still to be done, and where the last one ended.
func (w *Reconciler) due(ctx context.Context, slot time.Time) (due bool, last time.Time, err error) {
	r, at, err := w.with.AuditLog.LatestReconciliation(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return w.with.Began.Before(slot), time.Time{}, nil
	}
	if err != nil {
		return false, time.Time{}, err
	}
	w.with.Observer.Reconciled(r.Differences, at, time.Duration(r.TookMS)*time.Millisecond)
	return at.Before(slot), r.To.Time, nil
}

// run reconciles, lists the calls of the day before, and records both.
func (w *Reconciler) run(ctx context.Context, slot, last time.Time) error {
	from := slot.Add(-reconcileSpan)
	if again := last.Add(-reconcileAgain); !last.IsZero() && again.Before(from) {
		from = again
	}
	told := 0
	r, err := w.with.AuditLog.Inspector().Gently().Reconcile(ctx, from, slot, func(d history.Difference) error {
		if told++; told <= 10 {
			w.with.Log.Error("difference found in the history", "what", d.What, "kind", d.Kind, "resource", d.ResourceID, "notification", d.Notification.String(), "detail", d.Detail)
		}
		return nil
	})
	if err != nil {
		return err
	}
	day := slot.AddDate(0, 0, -1).Format(time.DateOnly)
	if r.Calls, err = w.report(ctx, day); err != nil {
		return err
	}
	if err := w.with.AuditLog.RecordReconciliation(ctx, r); err != nil {
		return err
	}
	w.with.Log.Info("history reconciled", "from", from.UTC(), "to", slot.UTC(), "differences", r.Differences, "took_ms", r.TookMS, "calls", r.Calls.Calls)
	_, _, err = w.due(ctx, slot)
	return err
}

// Asked carries out a reconciliation that a person asked for, if there is one. Its progress is kept after each second.
func (w *Reconciler) Asked(ctx context.Context) error {
	run, err := w.with.AuditLog.ClaimReconciliation(ctx)
	if err != nil || run == nil {
		return err
	}
	var told time.Time
	tell := func(ctx context.Context, done, all int64) error {
		if done < all && time.Since(told) < time.Second {
			return nil
		}
		told = time.Now()
		return w.with.AuditLog.KeepReconciliation(ctx, run.ID, run.Token, done, all)
	}
	r, err := w.with.AuditLog.Inspector().Telling(tell).Reconcile(ctx, run.From, run.To, func(history.Difference) error { return nil })
	switch {
	case errors.Is(err, store.ErrRunLost) || failure.Transient(err) || ctx.Err() != nil:
		return err // its lease ends, and a replica begins it again
	case err != nil:
		return errors.Join(err, w.with.AuditLog.EndReconciliation(ctx, run, nil, "it failed; the log of the gateway has the cause"))
	}
	w.with.Log.Info("history reconciled on demand", "from", run.From, "to", run.To, "differences", r.Differences, "took_ms", r.TookMS)
	return w.with.AuditLog.EndReconciliation(ctx, run, r, "")
}

// report writes the list of a day's calls below the state folder, readable by nobody else.
func (w *Reconciler) report(ctx context.Context, day string) (*history.CallReport, error) {
	dir := w.with.Settings.File("reports")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of reports: %w", err)
	}
	name := filepath.Join(dir, "calls-"+day+".jsonl")
	file, err := os.CreateTemp(dir, ".calls-*")
	if err != nil {
		return nil, fmt.Errorf("write the list of calls: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }() // it has its own name by then if all went well
	calls, err := WriteCalls(ctx, w.with.AuditLog.Inspector().Gently(), CallList{Day: day, Organisations: w.with.Settings.Organisations(), Format: "jsonl", Endpoint: w.with.Endpoint}, file)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return nil, fmt.Errorf("write the list of calls: %w", err)
	}
	if err := os.Rename(file.Name(), name); err != nil {
		return nil, fmt.Errorf("write the list of calls: %w", err)
	}
	w.forget(dir)
	return calls, nil
}

// forget removes all but the newest lists.
func (w *Reconciler) forget(dir string) {
	lists, _ := filepath.Glob(filepath.Join(dir, "calls-*.jsonl")) // its pattern is well formed
	slices.Sort(lists)
	for _, name := range lists[:max(0, len(lists)-reportsKept)] {
		if err := os.Remove(name); err != nil {
			w.with.Log.Warn("old list of calls not removed", "error", err)
		}
	}
}

// call is one line of the list of calls.
type call struct {
	Timestamp   history.Moment `json:"timestamp"`
	Endpoint    string         `json:"endpoint"` // "": no operation of ours was named
	Method      string         `json:"method"`
	Status      int            `json:"statusCode"`
	Millis      float64        `json:"durationMillis"`
	Interaction string         `json:"x-fapi-interaction-id"`
	ClientOrg   string         `json:"clientOrganisationId"`
	ServerOrg   string         `json:"serverOrganisationId"`
	Suppressed  int64          `json:"suppressed,omitempty"` // further refusals of this caller by a limit, which have no line
}

func (c *call) row() []string {
	return []string{
		c.Timestamp.UTC().Format("2006-01-02T15:04:05.000000Z"), c.Endpoint, c.Method, strconv.Itoa(c.Status), strconv.FormatFloat(c.Millis, 'f', 3, 64),
		c.Interaction, c.ClientOrg, c.ServerOrg, strconv.FormatInt(c.Suppressed, 10),
	}
}

var callHeader = []string{
	"timestamp", "endpoint", "method", "statusCode", "durationMillis", "x-fapi-interaction-id", "clientOrganisationId", "serverOrganisationId", "suppressed",
}

// CallList says which calls are listed, and how.
type CallList struct {
	Day          string                                 // 2006-01-02, in Brasília's time
	Organisation string                                 // the holder's, the server of each call; "": by its brand
	Format       string                                 // jsonl or csv
	Endpoint     func(operation, version string) string // path of an operation; "" for no operation of ours

	Organisations map[brand.Prefix]string // the server of the calls of each brand
}

// WriteCalls writes one line for each status query of the list's day, as the ecosystem's metrics platform wants them from
// the holder. Notifications are not reported (webhook §8.3), nor are calls of the initiators' extension, which are no status queries.
func WriteCalls(ctx context.Context, i *auditlog.Inspector, list CallList, w io.Writer) (*history.CallReport, error) {
	from, err := time.ParseInLocation(time.DateOnly, list.Day, ofb.Brasilia)
	if err != nil {
		return nil, fmt.Errorf("the day %q: %w", list.Day, err)
	}
	hash := sha256.New()
	out := &history.CallReport{Day: list.Day, ByEndpoint: map[string]int64{}}
	both := io.MultiWriter(w, hash)
	lines := json.NewEncoder(both)
	write, end := func(c *call) error { return lines.Encode(c) }, func() error { return nil }
	if list.Format == "csv" {
		table := evidence.NewTable(both, callHeader...)
		write, end = func(c *call) error { return table.Row(c.row()) }, table.Flush
	}
	err = i.Calls(ctx, from, from.AddDate(0, 0, 1), func(p *notice.Poll) error {
		if p.Facts.OfExtension() {
			return nil
		}
		c := callOf(p, &list)
		if c.ServerOrg == "" && list.Organisations != nil {
			return fmt.Errorf("a call of %s asked brand %q, which the settings do not name; name the organisation that answered", list.Day, p.Facts.Brand)
		}
		out.Calls++
		out.Suppressed += c.Suppressed
		out.ByEndpoint[strings.TrimSpace(c.Endpoint+" "+strconv.Itoa(c.Status))]++
		return write(c)
	})
	if err = errors.Join(err, end()); err != nil {
		return nil, err
	}
	out.SHA256 = hex.EncodeToString(hash.Sum(nil))
	return out, nil
}

func callOf(p *notice.Poll, list *CallList) *call {
	return &call{
		Timestamp: history.Moment{Time: p.Facts.ReceivedAt}, Endpoint: list.Endpoint(p.Facts.Operation, p.Facts.APIVersion), Method: cmp.Or(p.Facts.Method, "GET"),
		Status: p.Facts.HTTPStatus, Millis: float64(p.Facts.DurationUS) / 1000, Interaction: p.Interaction.String(), ClientOrg: p.Facts.Organisation,
		ServerOrg: cmp.Or(list.Organisation, list.Organisations[brand.Prefix(p.Facts.Brand)]), Suppressed: p.Facts.Suppressed,
	}
}

// CallSummary puts the counts of a list of calls into words, one line each.
func CallSummary(r *history.CallReport) []string {
	out := []string{fmt.Sprintf("%s: %d calls, %d more refused by limits, sha256 %s", r.Day, r.Calls, r.Suppressed, r.SHA256)}
	for _, name := range slices.Sorted(maps.Keys(r.ByEndpoint)) {
		out = append(out, fmt.Sprintf("%8d  %s", r.ByEndpoint[name], name))
	}
	return out
}
