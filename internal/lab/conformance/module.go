// Package conformance plays the webhook modules of the ecosystem's certification suite, by their technical names, against the real
// gateway. It has the suite's role: it registers a client, waits webhookWaitTime, has a consent and a payment made, receives the
// notifications with mutual TLS, and asks the status endpoints. Each step is a line, and a failure says the step, what was
// expected and what came.
//
// It guarantees that a notification which no step awaits fails its module: a second one, one at another address, or one before the
// answer of the POST that made the resource. These are the known complaints of participants (webhook §9.2).
//
// The steps come from public descriptions (webhook §9.3); only those of the module remove-webhook are published word for word. It
// stands in the place of the bank's core and authorization server: it hands in changes and registrations over the internal API, so
// it judges neither the bank's DCR nor its consent pages. It is no certification.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/ofb"
)

// Module is one webhook module of the suite.
type Module struct {
	Name string // its technical name
	Plan string // the technical name of the test plan that it belongs to
	API  string // the API under it with its full version, such as payments/5.0.0

	steps []step
}

// step is one thing that the suite does or awaits.
type step struct {
	en, pt string
	do     func(ctx context.Context, p *play) error
}

// Modules are all modules that are not retired (webhook §9.1), in the order of their plans.
func Modules() []Module {
	return slices.Concat(paymentModules("v4"), paymentModules("v5"), sweepingModules(), automaticModules(), enrollmentModules("2.2.0"), enrollmentModules("2.3.0"))
}

// Select picks the modules whose technical name contains the text; all for "".
func Select(text string) []Module {
	return slices.DeleteFunc(Modules(), func(m Module) bool { return !strings.Contains(m.Name, text) })
}

// Mismatch is a step whose result is not what the suite demands.
type Mismatch struct{ Expected, Came string }

// Error says both.
func (m *Mismatch) Error() string { return "expected " + m.Expected + "; came " + m.Came }

func mismatch(came, expected string, args ...any) error {
	return &Mismatch{fmt.Sprintf(expected, args...), came}
}

// Receiver is the webhook endpoint of the suite; *standin.Initiator is one.
type Receiver interface {
	Answer(match string, answers ...standin.Answer)
	Wait(ctx context.Context, n int, match func(*standin.Request) bool) ([]standin.Request, error)
}

// Suite is what modules are played with. All fields but Client and Line are required.
type Suite struct {
	Holder   Holder
	Receiver Receiver
	// Base is where the receiver is reached: https, host, port if not 443, no trailing slash. With Client it is registered as it is;
	// without, a path of its own for each module follows it.
	Base string
	// OrganisationID and SoftwareID are those of the initiator whose certificate asks the status endpoints.
	OrganisationID, SoftwareID string
	// AuthorisationServerID is what the header of enrolment notifications must carry.
	AuthorisationServerID string
	// Client is the only client id to use; modules are then played one after the other. Empty: one of its own for each module.
	Client string
	// Versions are the minor versions that the holder serves; modules of others are not played. nil: all modules are.
	Versions ofb.Versions
	// Wait is webhookWaitTime, the pause after each registration; the suite's default is WebhookWait.
	Wait time.Duration
	// Within is how long a notification is awaited; the suite's is AwaitWithin.
	Within time.Duration

	// Hold is how long after its event a POST is answered; 0: 400 ms.
	Hold time.Duration
	// Quiet is how long nothing may come where nothing is due. It must exceed the 1.5 s of the rule.
	Quiet time.Duration
	// Line receives each line as it is known; nil: nobody. It is called from several goroutines.
	Line func(string)
}

// The suite's own times (webhook §9.1, §9.2).
const (
	WebhookWait = 600 * time.Second
	AwaitWithin = 60 * time.Second
)

// The outcomes of a step.
const (
	Passed = "passed"
	Failed = "failed"
	NotRun = "not-run" // a step before it failed, or the run was interrupted
)

// StepResult is the result of one step.
type StepResult struct {
	Number   int           `json:"number"`
	Text     string        `json:"text"`  // English
	Texto    string        `json:"texto"` // Portuguese
	Outcome  string        `json:"outcome"`
	Expected string        `json:"expected,omitempty"`
	Came     string        `json:"came,omitempty"`
	Took     time.Duration `json:"tookNanos"`
}

// Result is the result of one module.
type Result struct {
	Module string `json:"module"`
	Plan   string `json:"plan"`
	API    string `json:"api"`
	Passed bool   `json:"passed"`
	Played bool   `json:"played"` // false: the holder serves another version of the API, or the run was interrupted
	// Interrupted means that the run ended before the module did, so that it neither passed nor failed.
	Interrupted bool         `json:"interrupted"`
	Client      string       `json:"clientId"`
	Shown       string       `json:"certificate,omitempty"` // subject of the certificate that the holder showed
	Began       time.Time    `json:"began"`
	Steps       []StepResult `json:"steps"`
}

// Failure is the step that failed; nil when the module passed.
func (r *Result) Failure() *StepResult {
	for i := range r.Steps {
		if r.Steps[i].Outcome == Failed {
			return &r.Steps[i]
		}
	}
	return nil
}

// PlayAll plays modules side by side, or one after the other when the suite has one client only. Results are in the order given.
func (s *Suite) PlayAll(ctx context.Context, modules []Module) []Result {
	results := make([]Result, len(modules))
	var all sync.WaitGroup
	for i, m := range modules {
		if s.Client != "" {
			results[i] = s.Play(ctx, m)
			continue
		}
		all.Go(func() { results[i] = s.Play(ctx, m) })
	}
	all.Wait()
	return results
}

// removeWithin bounds the removal of the client at the end of a module, also when the play was interrupted.
const removeWithin = 10 * time.Second

// Play plays one module. The registration is removed at its end, whatever the result.
func (s *Suite) Play(ctx context.Context, m Module) Result {
	p := newPlay(s, m)
	r := Result{Module: m.Name, Plan: m.Plan, API: m.API, Passed: true, Played: true, Client: p.client, Began: p.began}
	if !s.serves(m.API) {
		s.say("%s: not played; the holder serves another version than %s", m.Name, m.API)
		r.Passed, r.Played = false, false
		return r
	}
	if r.Interrupted = ctx.Err() != nil; r.Interrupted {
		s.say("%s: not played; the run was interrupted", m.Name)
		r.Passed, r.Played = false, false
		return r
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWithin)
		defer cancel()
		if err := s.Holder.Unregister(ending, p.client); err != nil {
			s.say("%s: client %s was not removed: %v", m.Name, p.client, err)
		}
	}()
	for i, step := range m.steps {
		one := StepResult{Number: i + 1, Text: step.en, Texto: step.pt, Outcome: NotRun}
		if r.Passed && !r.Interrupted {
			began := time.Now()
			err := step.do(ctx, p)
			one.Took = time.Since(began)
			if r.Interrupted = err != nil && ctx.Err() != nil; !r.Interrupted {
				one.judge(err)
				r.Passed = one.Outcome == Passed
			}
			s.say("%s", one.line(m.Name))
		}
		r.Steps = append(r.Steps, one)
	}
	if len(p.taken) > 0 && p.taken[0].TLS != nil && len(p.taken[0].TLS.PeerCertificates) > 0 {
		r.Shown = mtls.Subject(p.taken[0].TLS.PeerCertificates[0])
	}
	if r.Interrupted {
		s.say("%s: not played to its end; the run was interrupted", m.Name)
		r.Passed, r.Played = false, false
		return r
	}
	s.say("%s: %s", m.Name, map[bool]string{true: "PASSED", false: "FAILED"}[r.Passed])
	return r
}

// serves tells whether the holder serves a full version of an API.
func (s *Suite) serves(api string) bool {
	name, full, _ := strings.Cut(api, "/")
	major, _, _ := strings.Cut(full, ".")
	return s.Versions == nil || s.Versions.Full(name, "v"+major) == full
}

func (s *Suite) say(format string, args ...any) {
	if s.Line != nil {
		s.Line(fmt.Sprintf(format, args...))
	}
}

// judge keeps how a step ended.
func (r *StepResult) judge(err error) {
	r.Outcome = Passed
	var wrong *Mismatch
	switch {
	case errors.As(err, &wrong):
		r.Outcome, r.Expected, r.Came = Failed, wrong.Expected, wrong.Came
	case err != nil:
		r.Outcome, r.Expected, r.Came = Failed, "an answer", err.Error()
	}
}

func (r *StepResult) line(module string) string {
	text := fmt.Sprintf("%s: step %d: %s: %s", module, r.Number, r.Text, r.Outcome)
	if r.Outcome == Failed {
		text += fmt.Sprintf("; expected %s; came %s", r.Expected, r.Came)
	}
	return text
}

// play is one module while it is played.
type play struct {
	*Suite
	client string
	base   string    // what is registered
	path   string    // of base
	api    string    // with its full version
	began  time.Time // notifications may not tell of an earlier instant

	resources map[string]*resource // by the name that steps use
	pending   []awaited
	taken     []standin.Request
	baseline  map[string]any
}

func newPlay(s *Suite, m Module) *play {
	p := &play{Suite: s, client: s.Client, base: s.Base, api: m.API, began: time.Now(), resources: map[string]*resource{}}
	if p.client == "" {
		alias := "m" + strings.ReplaceAll(uuid.NewString(), "-", "")
		p.client, p.base = "conformance-"+alias, s.Base+"/test-mtls/a/"+alias
	}
	if u, err := url.Parse(p.base); err == nil {
		p.path = u.EscapedPath()
	}
	return p
}

// pause waits, unless the play ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
