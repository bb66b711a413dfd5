// Package demo plays three deliveries on this machine with the whole product: one at the first attempt, one at the second, one
// given up after the third. It checks each against the rules, and then exports, verifies and reads the history as an auditor
// does. It serves `arauto demo` alone.
package demo

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// demoLimit is how long the stories may take from the line "demo: started" on.
const demoLimit = 115 * time.Second

// Options say what is played.
type Options struct {
	Command func(args ...string) *exec.Cmd // a process of the product's binary
	Keep    bool                           // everything runs on until the context ends
	Source  string                         // file of a mapping: its source is followed in place of the stories, and Keep is meant
	Client  string                         // client id under which the first initiator is registered; "": its own name
}

// Run plays the stories and tells them to out, within two minutes. The error says what did not happen as the rules say, or that the demo was
// interrupted before its end, or that its database or gateway ended by itself.
func Run(ctx context.Context, out io.Writer, o Options) error {
	d := &demo{out: out, Options: o, began: time.Now()}
	return d.run(ctx)
}

// demo is one performance.
type demo struct {
	Options
	mu    sync.Mutex
	out   io.Writer
	began time.Time

	stage   *stage.Stage
	replica *stage.Replica
	core    *stage.Core
	told    []*story
}

// say prints one line of the live account.
func (d *demo) say(who, format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, "%7.3f s  %-9s %s\n", time.Since(d.began).Seconds(), who, fmt.Sprintf(format, args...))
}

func (d *demo) run(ctx context.Context) (err error) {
	keep := d.Keep || d.Source != ""
	fmt.Fprintln(d.out, "demo: started")
	limited, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	if err := d.open(limited, keep); err != nil {
		return fmt.Errorf("setting up: %w", err)
	}
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = errInterrupted // and not in which call that was noticed
		}
		err = errors.Join(err, d.stage.Close())
		if keep {
			d.say("demo", "files stay below %s; remove them with: rm -r %[1]s", d.stage.Dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(d.stage.Dir))
	}()
	alfa, beta, err := d.initiators(limited)
	if err != nil {
		return fmt.Errorf("setting up: %w", err)
	}
	defer alfa.Close()
	defer beta.Close()
	if d.Source != "" {
		return d.follow(ctx, map[string]*standin.Initiator{certs.DefaultAlfa.Name: alfa, certs.DefaultBeta.Name: beta})
	}
	stories := d.stories(alfa, beta)
	d.told = stories
	compared := make(chan error, 1)
	go func() { compared <- d.compare(limited, alfa) }()
	if err := errors.Join(d.play(limited, stories), <-compared); err != nil {
		return err
	}
	if err := d.ask(limited, stories[0]); err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	if err := d.prove(limited); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if err := d.saved(limited); err != nil {
		return fmt.Errorf("polling: %w", err)
	}
	if keep {
		if err := d.more(limited, alfa); err != nil {
			return fmt.Errorf("what the console shows: %w", err)
		}
		return d.stay(ctx)
	}
	return nil
}

// errInterrupted is the error of a demo that was stopped before its end.
var errInterrupted = errors.New("interrupted before its end")

// open sets the stage: database, PKI, gateway.
func (d *demo) open(ctx context.Context, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "arauto-demo-")
	if err != nil {
		return err
	}
	d.say("demo", "files are written below %s and %s", dir, map[bool]string{false: "removed at the end", true: "stay there: certificates, database and logs"}[keep])
	d.stage, err = stage.Open(ctx, stage.Options{Dir: dir, OneFolder: true, Keep: keep, Command: d.Command})
	if err != nil {
		return stage.Interrupted(ctx, err, func(bool) error { return os.RemoveAll(dir) })
	}
	d.say("demo", "PostgreSQL runs, the schema is made, and so is a development PKI with the real certificate profiles")
	var settings []string
	if keep {
		settings = []string{"ARAUTO_CONSOLE_ADDR=127.0.0.1:0", "ARAUTO_RESEND_ENABLED=true"}
	}
	if d.Source != "" {
		settings = append(settings, "ARAUTO_WATCH_SOURCES="+d.Source)
	}
	if d.replica, err = d.stage.Start(ctx, settings...); err != nil {
		return stage.Interrupted(ctx, err, func(bool) error { return errors.Join(d.stage.Close(), os.RemoveAll(dir)) })
	}
	d.say("gateway", "ready: initiators on https://%s, the bank on http://%s, operations on http://%s", d.replica.Public, d.replica.Internal, d.replica.Ops)
	d.core, err = d.stage.Core(d.replica)
	return err
}

// initiators starts alfa and beta and registers them with software statements signed by the directory's key.
func (d *demo) initiators(ctx context.Context) (alfa, beta *standin.Initiator, err error) {
	for i, facts := range []certs.Participant{certs.DefaultAlfa, certs.DefaultBeta} {
		endpoint, err := d.initiator(facts)
		if err != nil {
			return nil, nil, err
		}
		uris := []string{endpoint.BaseURI("/" + facts.Name)}
		statement, err := d.stage.Statement(facts.Organisation.ID, facts.SoftwareID, uris)
		if err != nil {
			return nil, nil, err
		}
		client := facts.Name
		if i == 0 && d.Client != "" {
			client = d.Client
		}
		err = d.core.Register(ctx, client, stage.Registration{
			OrganisationID: facts.Organisation.ID, SoftwareID: facts.SoftwareID, Name: facts.Organisation.Name, WebhookURIs: uris, SoftwareStatement: statement,
		})
		if err != nil {
			return nil, nil, fmt.Errorf("register %s: %w", client, err)
		}
		d.say(facts.Name, "listens on %s, demands a client certificate, and is registered with a signed statement%s", uris[0], map[bool]string{true: " as " + client}[client != facts.Name])
		if i == 0 {
			alfa = endpoint
		} else {
			beta = endpoint
		}
	}
	return alfa, beta, nil
}

func (d *demo) initiator(facts certs.Participant) (*standin.Initiator, error) {
	leaf, err := d.stage.PKI.Issue(d.stage.PKI.InitiatorServer(facts))
	if err != nil {
		return nil, err
	}
	clients := x509.NewCertPool()
	clients.AddCert(d.stage.PKI.ClientCA.Certificate)
	return standin.Start(standin.Options{Certificate: leaf.TLS(), ClientCAs: clients})
}

// story is one notification and what must come of it.
type story struct {
	name     string
	who      string
	endpoint *standin.Initiator
	kind     ofb.Kind
	status   ofb.Status
	answers  []standin.Answer
	state    string
	outcomes []string // of the attempts

	id     string // of the resource
	result stage.Notification
	seen   []standin.Request
}

func (d *demo) stories(alfa, beta *standin.Initiator) []*story {
	refused := standin.Refuse(http.StatusServiceUnavailable)
	return []*story{
		{
			name: "delivered", who: "alfa", endpoint: alfa, kind: ofb.PixPayment, status: ofb.ACSC, answers: []standin.Answer{standin.Accept},
			state: "delivered", outcomes: []string{"delivered"},
		},
		{
			name: "retried", who: "alfa", endpoint: alfa, kind: ofb.PaymentConsent, status: ofb.Consumed, answers: []standin.Answer{refused, standin.Accept},
			state: "delivered", outcomes: []string{"refused", "delivered"},
		},
		{
			name: "given-up", who: "beta", endpoint: beta, kind: ofb.PixPayment, status: ofb.RJCT, answers: []standin.Answer{refused, refused, refused},
			state: "exhausted", outcomes: []string{"refused", "refused", "refused"},
		},
	}
}

// play tells all stories at once, since the third takes 70 seconds by the rules' own clock.
func (d *demo) play(ctx context.Context, stories []*story) error {
	var all errgroup.Group
	for _, s := range stories {
		all.Go(func() error {
			if err := d.tell(ctx, s); err != nil {
				if !errors.Is(ctx.Err(), context.Canceled) {
					d.say("demo", "story %s failed: %v", s.name, err)
				}
				return fmt.Errorf("%s: %w", s.name, err)
			}
			return nil
		})
	}
	err := all.Wait()
	if !errors.Is(ctx.Err(), context.Canceled) {
		d.table(stories)
	}
	return err
}

// tell plays one story and checks it against the rules.
func (d *demo) tell(ctx context.Context, s *story) error {
	s.id = store.NewID().String()
	if s.kind == ofb.PaymentConsent {
		s.id = "urn:bancoex:" + s.id
	}
	s.endpoint.Answer(s.id, s.answers...)
	now := time.Now().UTC()
	a, err := d.core.Change(ctx, stage.Change{
		Kind: s.kind.String(), ClientID: s.who, APIVersion: "v5", Revision: 1, OccurredAt: now,
		Data: openapitest.Document(s.kind, "v5", s.status, s.id),
	})
	if err != nil {
		return fmt.Errorf("the change was not accepted: %w", err)
	}
	if len(a.Notifications) != 1 {
		return fmt.Errorf("the change was %s but made %d notifications", a.Outcome, len(a.Notifications))
	}
	d.say("core", "%s %s is now %s; committed, answered %q", s.kind, short(s.id), s.status, a.Outcome)
	for n := range s.outcomes {
		requests, err := s.endpoint.Wait(ctx, n+1, standin.For(short(s.id)))
		if err != nil {
			return fmt.Errorf("attempt %d did not arrive: %w", n+1, err)
		}
		r := requests[n]
		status := s.answers[n].Status
		if status == 0 {
			status = http.StatusAccepted
		}
		d.say(s.who, "attempt %d: POST …%s, interaction %s, answered %d", n+1, r.Target[max(0, strings.Index(r.Target, "/open-banking/")):], r.Interaction, status)
	}
	if s.result, err = d.core.WaitState(ctx, a.Notifications[0].ID); err != nil {
		return err
	}
	s.seen, _ = s.endpoint.Wait(ctx, len(s.outcomes), standin.For(short(s.id)))
	d.say("gateway", "notification of %s is %s after %d attempt(s)", short(s.id), s.result.State, len(s.result.Attempts))
	return s.check(now)
}

// ask polls once for the resource of a story, as the initiator that owns it.
func (d *demo) ask(ctx context.Context, s *story) error {
	asker, token, err := d.asker()
	if err != nil {
		return err
	}
	defer asker.Close()
	folder := filepath.Join(d.stage.Dir, "pki", "initiators", certs.DefaultAlfa.Name)
	if err := os.WriteFile(filepath.Join(folder, "token"), []byte(token), 0o600); err != nil { // for curl
		return err
	}
	path := stage.StatusPath(ofb.PixPayment, "v5", s.id)
	status, err := asker.Ask(ctx, d.replica.Public, token, stage.NewInteraction(), path)
	if err != nil {
		return err
	}
	if status != string(s.status) {
		return fmt.Errorf("the poll shows %s, the notification was about %s", status, s.status)
	}
	d.say(s.who, "GET …%s shows %s; the signature verifies", path, status)
	return nil
}

func short(id string) string { return id[strings.LastIndexByte(id, ':')+1:] }

// check holds what happened against the rules.
func (s *story) check(event time.Time) error {
	if s.result.State != s.state || len(s.result.Attempts) != len(s.outcomes) || len(s.seen) != len(s.outcomes) {
		return fmt.Errorf("it ended %s after %d attempts (%d arrived), expected %s after %d", s.result.State, len(s.result.Attempts), len(s.seen), s.state, len(s.outcomes))
	}
	if delay := s.seen[0].At.Sub(event); delay > notice.FirstWithin {
		return fmt.Errorf("the first attempt arrived %s after the event; the rule says 1.5 s", delay)
	}
	ids := map[string]bool{}
	for n, r := range s.seen {
		a := s.result.Attempts[n]
		switch {
		case a.Outcome == nil || *a.Outcome != s.outcomes[n]:
			return fmt.Errorf("attempt %d did not end as %s", n+1, s.outcomes[n])
		case a.InteractionID != r.Interaction || ids[r.Interaction]:
			return fmt.Errorf("attempt %d: interaction id %s is not a new one of the gateway", n+1, r.Interaction)
		case r.PeerSubject == "":
			return fmt.Errorf("attempt %d came without our client certificate", n+1)
		case !strings.Contains(string(r.Body), event.Truncate(time.Second).Format(time.RFC3339)):
			return fmt.Errorf("attempt %d does not carry the second of the event: %s", n+1, r.Body)
		}
		ids[r.Interaction] = true
		if gap, again := notice.Next(n, false); n > 0 && again {
			if waited := r.At.Sub(s.seen[n-1].At); waited < gap || waited > gap+time.Second {
				return fmt.Errorf("attempt %d came %s after the failure; the rule says %s", n+1, waited, gap)
			}
		}
	}
	return nil
}

func (d *demo) table(stories []*story) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintln(d.out)
	t := tabwriter.NewWriter(d.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "story\tinitiator\tresource\tstate\tattempts\tgaps")
	for _, s := range stories {
		var outcomes, gaps []string
		for n, r := range s.seen {
			if n > 0 {
				gaps = append(gaps, fmt.Sprintf("%.2f s", r.At.Sub(s.seen[n-1].At).Seconds()))
			}
		}
		for _, a := range s.result.Attempts {
			if a.Outcome != nil {
				outcomes = append(outcomes, *a.Outcome)
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s %s\t%s\t%s\t%s\n", s.name, s.who, s.kind, s.status, s.result.State, strings.Join(outcomes, ", "), strings.Join(gaps, ", "))
	}
	_ = t.Flush()
	fmt.Fprintln(d.out)
}

// stay leaves everything running and says how to use it. The error says that the database or the gateway ended by itself.
func (d *demo) stay(ctx context.Context) error {
	token, err := d.stage.Token("demo", "ingest", "registrar", "operator", "auditor")
	if err != nil {
		return err
	}
	file := filepath.Join(d.stage.Dir, "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		d.say("demo", "the token could not be written: %v", err)
	}
	link, err := d.stage.SignInLink(ctx, d.replica)
	if err != nil {
		d.say("demo", "the console's link could not be made: %v", err)
	}
	fmt.Fprintf(d.out, `Everything keeps running; press Ctrl-C to end it.

  the console          %s      opens one session, within an hour
  the bank's side      http://%s      token (1 h) in %s
  initiators' side     https://%s
  health and metrics   http://%s
  PKI                  %s
  database             %s

  curl -H "Authorization: Bearer $(cat %s)" http://%s/internal/v1/notifications

`, link, d.replica.Internal, file, d.replica.Public, d.replica.Ops, filepath.Join(d.stage.Dir, "pki"), d.stage.Database, file, d.replica.Internal)
	err = d.stage.AwaitEnd(ctx, d.replica)
	if ended, is := errors.AsType[*stage.EndedError](err); is {
		return fmt.Errorf("keep: %w; its log is %s", err, ended.Log)
	}
	return err
}
