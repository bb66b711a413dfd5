package stage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// SubmissionLog is the core's own record of what it handed in, one line a change, synced to disk before the call that wrote it
// returns. It is kept outside the product and believes nothing the product says later: whatever was acknowledged must
// be found again, however often gateway and database were killed in between.
type SubmissionLog struct {
	mu   sync.Mutex
	file *os.File
}

// Fate is what the core knows of a change it handed in.
type Fate string

// The fates. Unknown covers no answer, and 503: the change may be stored or not.
const (
	Acknowledged Fate = "acknowledged"
	Refused      Fate = "refused"
	Unknown      Fate = "unknown"
)

// Line is one line of the file.
type Line struct {
	Sent   time.Time `json:"sent,omitzero"` // when this try began
	At     time.Time `json:"at"`            // when the answer was there, or was given up
	Fate   Fate      `json:"fate"`
	Change Change    `json:"change"`
	Answer Accepted  `json:"answer,omitzero"` // of an acknowledged change
	Error  string    `json:"error,omitempty"`
}

// OpenSubmissionLog opens a file, new or to be continued.
func OpenSubmissionLog(path string) (*SubmissionLog, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the submission log: %w", err)
	}
	return &SubmissionLog{file: file}, nil
}

// FateOf tells what the core knows after handing in a change returned err.
func FateOf(err error) Fate {
	var refusal *Refusal
	switch {
	case err == nil:
		return Acknowledged
	case errors.As(err, &refusal) && refusal.Status < 500:
		return Refused
	}
	return Unknown
}

// Note writes down what became of a change: err is what handing it in returned.
func (l *SubmissionLog) Note(c Change, a Accepted, err error) error {
	return l.note(time.Time{}, c, a, err)
}

func (l *SubmissionLog) note(sent time.Time, c Change, a Accepted, err error) error {
	line := Line{Sent: sent.UTC(), At: time.Now().UTC(), Fate: FateOf(err), Change: c, Answer: a}
	if err != nil {
		line.Answer, line.Error = Accepted{}, err.Error()
	}
	text, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("write the submission log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.file.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("write the submission log: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("sync the submission log: %w", err)
	}
	return nil
}

// Close closes the file.
func (l *SubmissionLog) Close() error { return l.file.Close() }

// ReadSubmissions reads the log: for each change, the last that is known of it, in the order in which changes were first
// written down. What was once acknowledged stays so.
func ReadSubmissions(path string) ([]Line, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the submission log: %w", err)
	}
	defer file.Close()
	var out []Line
	place := map[Revision]int{}
	lines := json.NewDecoder(bufio.NewReader(file))
	for lines.More() {
		var line Line
		if err := lines.Decode(&line); err != nil {
			return nil, fmt.Errorf("read the submission log: %w", err)
		}
		key, err := line.Change.Key()
		if err != nil {
			return nil, fmt.Errorf("read the submission log: %w", err)
		}
		n, known := place[key]
		switch {
		case !known:
			place[key] = len(out)
			out = append(out, line)
		case out[n].Fate != Acknowledged:
			out[n] = line
		}
	}
	return out, nil
}

// Revision names a change; it is never given again.
type Revision struct {
	Kind, ResourceID string
	Number           int64
}

// idMembers are the members that hold a resource's id; a document has its own before those of others it refers to.
var idMembers = map[string]string{
	"payment-consent": "consentId", "pix-payment": "paymentId", "recurring-consent": "recurringConsentId",
	"recurring-payment": "recurringPaymentId", "enrollment": "enrollmentId",
}

// Key names the change; the resource's id is read from its document.
func (c Change) Key() (Revision, error) {
	var data map[string]json.RawMessage
	if err := json.Unmarshal(c.Data, &data); err != nil {
		return Revision{}, fmt.Errorf("read a change's document: %w", err)
	}
	var id string
	if err := json.Unmarshal(data[idMembers[c.Kind]], &id); err != nil {
		return Revision{}, fmt.Errorf("read the id in a change's document: %w", err)
	}
	return Revision{c.Kind, id, c.Revision}, nil
}

// Feed hands in changes at a steady pace, whatever comes of them, and writes each try into the log: it is the core of a
// bank whose gateway is being killed. A change without an answer is written down as unknown; then the feed goes on with
// the next, or, with Again, hands in the same once more.
type Feed struct {
	Log     *SubmissionLog
	Core    func() *Core         // whom to talk to at this moment; nil: nobody, and nothing is begun
	Make    func(n int) []Change // the changes of the n-th resource, in order; called from several goroutines
	Every   time.Duration        // distance between two resources
	Workers int                  // resources handed in side by side
	Within  time.Duration        // how long an answer is waited for; 0: 5 s

	// Again is the distance at which a change without an answer is handed in again until it has one, for at most a minute
	// after the end of the feed; 0: it is not handed in again.
	Again time.Duration
	// Tried is told of each try, from several goroutines; nil: nobody.
	Tried func(Change, Accepted, error)

	next atomic.Int64
}

// Run feeds until ctx ends; changes on their way then are still waited for. The error is one of the log.
func (f *Feed) Run(ctx context.Context) error {
	within := f.Within
	if within == 0 {
		within = 5 * time.Second
	}
	tick := time.NewTicker(f.Every)
	defer tick.Stop()
	late, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(time.Minute, giveUp) })()
	var workers sync.WaitGroup
	errs := make([]error, f.Workers)
	for n := range f.Workers {
		workers.Go(func() {
			for errs[n] == nil {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				if f.Core() == nil {
					continue
				}
				for _, c := range f.Make(int(f.next.Add(1) - 1)) {
					if errs[n] == nil {
						errs[n] = f.hand(late, within, c)
					}
				}
			}
		})
	}
	workers.Wait()
	return errors.Join(errs...)
}

// hand hands in one change until it has an answer, or as often as the feed does.
func (f *Feed) hand(late context.Context, within time.Duration, c Change) error {
	for {
		fate, err := f.try(within, c)
		if err != nil || fate != Unknown || f.Again == 0 {
			return err
		}
		again := time.NewTimer(f.Again)
		select {
		case <-again.C:
		case <-late.Done():
			again.Stop()
			return nil
		}
	}
}

func (f *Feed) try(within time.Duration, c Change) (Fate, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within) // an answer under way is always waited for
	defer cancel()
	sent := time.Now()
	a, err := Accepted{}, errNobody
	if core := f.Core(); core != nil {
		a, err = core.Change(ctx, c)
	}
	if f.Tried != nil {
		f.Tried(c, a, err)
	}
	return FateOf(err), f.Log.note(sent, c, a, err)
}

// errNobody is why a change was not handed in: the gateway is known to be away.
var errNobody = errors.New("nobody to talk to")

// Repeat hands in again every change of which nothing is known, as a core does when its gateway is back, and writes the
// answers down. It tells how many there were, and which outcomes came ("applied": the change had not been stored).
func Repeat(ctx context.Context, core *Core, path string, l *SubmissionLog) (outcomes map[string]int, err error) {
	lines, err := ReadSubmissions(path)
	if err != nil {
		return nil, err
	}
	outcomes = map[string]int{}
	for _, line := range lines {
		if line.Fate != Unknown {
			continue
		}
		a, err := core.ChangePatiently(ctx, line.Change)
		if err := l.Note(line.Change, a, err); err != nil {
			return outcomes, err
		}
		if err != nil {
			a.Outcome = strings.SplitN(err.Error(), ":", 2)[0]
		}
		outcomes[a.Outcome]++
	}
	return outcomes, nil
}
