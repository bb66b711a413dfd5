package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/mtls"
)

// The clients of a sandbox: the first has a receiver, the second polls.
const (
	firstClient  = "alfa"
	secondClient = "beta"
)

// Options say how a sandbox is set up. Command and Say are required.
type Options struct {
	// Command starts the product's binary with the arguments of a subcommand.
	Command func(args ...string) *exec.Cmd
	// Webhook is registered for the client alfa, such as https://localhost:8444; "": it has no push.
	Webhook string
	// Port is that of the creation of resources; the status endpoints have the one after it. 0: free ports.
	Port int
	// SignedBy is a JWKS file with the keys that sign the initiator's requests; "": signatures of requests are not verified.
	SignedBy string
	// Keep leaves the folder where it is.
	Keep bool
	// Say is told what happens, in order of its happening, from several goroutines.
	Say func(Event)
	// PKI and Template are used instead of new ones, which take seconds to make.
	PKI      *certs.PKI
	Template *stage.Template
	// Settings are added to the environment of the gateway, "NAME=value".
	Settings []string
}

// Sandbox is a running one.
type Sandbox struct {
	State State
	// Core reads what the gateway has recorded.
	Core *stage.Core

	stage    *stage.Stage
	replica  *stage.Replica
	bank     *bank
	cancel   context.CancelFunc
	creation net.Listener // opened first; nil once a server has it
	servers  []*http.Server
}

// ErrRuns means that a sandbox of this user runs already.
var ErrRuns = errors.New("a sandbox runs already; stop it first")

// SpaceError is the error of a temporary folder with too little space.
type SpaceError = stage.SpaceError

// PortError is the error of a port that a sandbox needs and cannot open.
type PortError struct {
	Port   int
	Status bool  // it is that of the status endpoints; else that of POSTs
	Err    error // of the system
}

// Error says which port, and what to do.
func (e *PortError) Error() string {
	return fmt.Sprintf("port %d (%s) cannot be opened: %v; stop what listens there, or choose another: the port that --port names and the one after it are used",
		e.Port, map[bool]string{false: "tokens and POSTs", true: "status endpoints"}[e.Status], e.Err)
}

// Unwrap is Err.
func (e *PortError) Unwrap() error { return e.Err }

// openPorts opens the port of creations, and tries the one of the status endpoints, which the gateway opens later.
func (s *Sandbox) openPorts(ctx context.Context, o *Options) (err error) {
	if s.creation, err = listen(ctx, o.Port); err != nil {
		return &PortError{Port: o.Port, Err: err}
	}
	if o.Port == 0 {
		return nil
	}
	return tryStatusPort(ctx, o.Port+1)
}

func tryStatusPort(ctx context.Context, port int) error {
	tried, err := listen(ctx, port)
	if err != nil {
		return &PortError{Port: port, Status: true, Err: err}
	}
	return tried.Close()
}

// Open sets a sandbox up and returns when it can be used. The caller closes it. When ctx is cancelled meanwhile, it puts everything away and
// returns a *stage.InterruptedError.
func Open(ctx context.Context, o Options) (s *Sandbox, err error) {
	if running, err := Running(ctx); err == nil {
		return nil, fmt.Errorf("%w: its folder is %s", ErrRuns, running.Folder)
	} else if !errors.Is(err, ErrNotRunning) {
		return nil, err
	}
	s = &Sandbox{}
	defer func() {
		if err != nil {
			err = stage.Interrupted(ctx, err, s.end)
		}
	}()
	if err := s.openPorts(ctx, &o); err != nil {
		return s, err
	}
	if s.stage, err = stage.Open(ctx, stage.Options{Command: o.Command, Keep: o.Keep, OneFolder: o.Keep, PKI: o.PKI, Template: o.Template, Settings: o.Settings}); err != nil {
		s.stage = nil
		return s, err
	}
	public := "127.0.0.1:0"
	if o.Port > 0 {
		public = net.JoinHostPort("127.0.0.1", strconv.Itoa(o.Port+1))
	}
	replica, err := s.stage.Start(ctx, "ARAUTO_PUBLIC_ADDR="+public, "ARAUTO_CONSOLE_ADDR=127.0.0.1:0", "ARAUTO_EXTENSION_ENABLED=true",
		"ARAUTO_EXTENSION_REDELIVERY=true", "ARAUTO_RESEND_ENABLED=true")
	if err != nil {
		if o.Port > 0 && ctx.Err() == nil { // the port was taken meanwhile, perhaps
			if taken := tryStatusPort(ctx, o.Port+1); taken != nil {
				return s, taken
			}
		}
		return s, err
	}
	s.replica = replica
	s.State = State{
		Public: "https://" + localhost(replica.Public), Internal: "http://" + replica.Internal, Ops: "http://" + replica.Ops,
		Folder: s.stage.Dir, PKI: filepath.Join(s.stage.Dir, "pki"), Webhook: o.Webhook, Token: rand.Text(),
	}
	if err := s.spoiled(); err != nil {
		return s, err
	}
	if s.State.Console, err = s.stage.SignInLink(ctx, replica); err != nil {
		return s, err
	}
	s.Core = stage.NewCore(s.State.Internal, s.token, &http.Client{Timeout: 30 * time.Second})
	if err := s.openBank(ctx, &o); err != nil {
		return s, err
	}
	if err := s.serve(ctx, &o); err != nil {
		return s, err
	}
	return s, s.State.write()
}

// spoiled writes server certificates that a holder refuses, for receivers that rehearse it.
func (s *Sandbox) spoiled() error {
	folder := filepath.Join(s.State.PKI, "bad")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	p := s.stage.PKI
	defects := []certs.Defect{certs.Expired, certs.WrongName}
	leaves, err := p.IssueAll(p.Spoil(p.InitiatorServer(certs.DefaultAlfa), defects[0]), p.Spoil(p.InitiatorServer(certs.DefaultAlfa), defects[1]))
	if err != nil {
		return err
	}
	for i, leaf := range leaves {
		name := filepath.Join(folder, "server-"+string(defects[i]))
		if err := leaf.WriteFiles(name+".pem", name+".key"); err != nil {
			return err
		}
	}
	return nil
}

// token is one of the bank's own, asked for at each call: a sandbox may run for days.
func (s *Sandbox) token() (string, error) { return s.stage.FullToken("sandbox") }

func localhost(address string) string {
	_, port, _ := net.SplitHostPort(address) // a listener's own address
	return "localhost:" + port
}

// openBank makes the stand-in core and registers its clients.
func (s *Sandbox) openBank(ctx context.Context, o *Options) (err error) {
	var running context.Context
	running, s.cancel = context.WithCancel(context.Background())
	s.bank = &bank{ctx: running, core: s.Core, say: o.Say, resources: map[string]*resource{}}
	if s.bank.way, err = openWay(ctx, s.State.PKI, o.Say); err != nil {
		return err
	}
	w := s.bank.way
	w.register = s.register
	for name, facts := range map[string]certs.Participant{firstClient: certs.DefaultAlfa, secondClient: certs.DefaultBeta} {
		c := &client{ID: name, Registration: stage.Registration{
			OrganisationID: facts.Organisation.ID, SoftwareID: facts.SoftwareID, Name: facts.Organisation.Name,
		}}
		if name == firstClient && o.Webhook != "" {
			c.Registration.WebhookURIs = []string{o.Webhook}
		}
		w.clients[name] = c
		if err := s.register(ctx, name, c.Registration); err != nil {
			return fmt.Errorf("register %s: %w", name, err)
		}
	}
	return nil
}

// register registers a client with a statement that the directory's key has just signed.
func (s *Sandbox) register(ctx context.Context, client string, r stage.Registration) (err error) {
	if r.SoftwareStatement, err = s.stage.Statement(r.OrganisationID, r.SoftwareID, append([]string{}, r.WebhookURIs...)); err != nil {
		return err
	}
	return s.Core.Register(ctx, client, r)
}

// serve opens the listeners of the stand-in core and of trigger.
func (s *Sandbox) serve(ctx context.Context, o *Options) error {
	api, err := s.holder(o)
	if err != nil {
		return err
	}
	at := func(name string) string { return filepath.Join(s.State.PKI, filepath.FromSlash(name)) }
	identity, err := mtls.LoadIdentity(at("holder/server.pem"), at("holder/server.key"), mtls.AsServer)
	if err != nil {
		return err
	}
	issuers, err := mtls.LoadAnchors(at("trust/clients.pem"))
	if err != nil {
		return err
	}
	listener := s.creation
	s.creation = nil
	s.State.Creation = "https://" + localhost(listener.Addr().String())
	s.run(mtls.Listen(listener, mtls.ServerConfig(identity, issuers), tellRefusals(o.Say)), api.handler())
	control, err := listen(ctx, 0)
	if err != nil {
		return err
	}
	s.State.Control = "http://" + control.Addr().String()
	s.run(control, s.bank.control(s.State.Token))
	return nil
}

// holder makes the side of the holder that the gateway does not have.
func (s *Sandbox) holder(o *Options) (*holderAPI, error) {
	text, err := os.ReadFile(filepath.Join(s.State.PKI, "tokens", "jwks.json"))
	if err != nil {
		return nil, err
	}
	tokens, err := jws.ParseKeySet(text)
	if err != nil {
		return nil, err
	}
	key, err := mtls.LoadKey(filepath.Join(s.State.PKI, "holder", "brseal.key"))
	if err != nil {
		return nil, err
	}
	h := &holderAPI{
		bank: s.bank, clients: s.bank.way.clients, stage: s.stage, public: s.State.Public, given: map[string]*given{},
		access: &jws.AccessVerifier{Keys: jws.FixedKeySet(tokens), Issuer: stage.TokensIssuer, Audience: stage.TokensAudience},
		seal:   func(claims map[string]any) (string, error) { return jws.Issue(key, certs.SealKID, claims) },
	}
	if o.SignedBy != "" {
		text, err := os.ReadFile(o.SignedBy)
		if err != nil {
			return nil, err
		}
		keys, err := jws.ParseKeySet(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.SignedBy, err)
		}
		h.signed = jws.FixedKeySet(keys)
	}
	return h, nil
}

func listen(ctx context.Context, port int) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

// run serves until the sandbox closes.
func (s *Sandbox) run(listener net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	s.servers = append(s.servers, server)
	go func() { _ = server.Serve(listener) }() // until Close
}

// AwaitEnd waits until ctx ends, and returns ""; or until a part, "database" or "gateway", ends by itself before, and returns it with the file
// of its log.
func (s *Sandbox) AwaitEnd(ctx context.Context) (part, log string) {
	if ended, is := errors.AsType[*stage.EndedError](s.stage.AwaitEnd(ctx, s.replica)); is {
		return string(ended.Part), ended.Log
	}
	return "", ""
}

// Interrupted tells whether an error of Open means that it was cancelled, and what could not be put away then; nil: nothing is left.
func Interrupted(err error) (is bool, left error) {
	interrupted, is := errors.AsType[*stage.InterruptedError](err)
	if !is {
		return false, nil
	}
	return true, interrupted.Err
}

// Close stops everything. The folder is removed unless it is to be kept.
func (s *Sandbox) Close() error { return s.end(false) }

// end is Close; discard removes the folder in any case.
func (s *Sandbox) end(discard bool) error {
	if s.creation != nil {
		_ = s.creation.Close()
	}
	for _, server := range s.servers {
		_ = server.Close()
	}
	if s.cancel != nil {
		s.cancel()
	}
	var err error
	if s.bank != nil && s.bank.way != nil {
		s.bank.way.close()
		s.bank.tasks.Wait()
	}
	if s.State.Control != "" {
		if file, errFile := StateFile(); errFile == nil {
			if errFile := os.Remove(file); errFile != nil && !errors.Is(errFile, os.ErrNotExist) {
				err = errFile
			}
		}
	}
	switch {
	case s.stage == nil:
		return err
	case discard:
		return errors.Join(err, s.stage.Discard())
	}
	return errors.Join(err, s.stage.Close())
}
