// Package stage puts the whole product up on one machine, for people who want to see it and for tests that want to
// break it: a temporary PostgreSQL, a development PKI, replicas of the gateway as processes of their own that can be
// killed, and a stand-in for the bank's core that registers initiators, hands in changes and reads their outcome.
//
// Initiators are not made here: package standin has them. Nothing here is reachable from serve.
package stage

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/temppostgres"
	"github.com/arauto/arauto/internal/store"
)

// AuthorisationServerID is the one the stage's gateway sends on enrolments.
const AuthorisationServerID = "c8f0bf49-4744-4933-8960-7add6e590841"

// Issuer and audiences of the tokens on the stage.
const (
	InternalIssuer   = "https://sso.banco.example.com"
	InternalAudience = "arauto"
	TokensIssuer     = "https://auth.banco.example.com" //nolint:gosec // the name of an issuer, no secret
	TokensAudience   = "https://api.banco.example.com"  //nolint:gosec // the name of an audience, no secret
	BaseURL          = "https://api.banco.example.com"
)

// NewKey makes the keys of the PKI of a stage that is given none; nil: new ones. A test binary that plays the product sets it.
var NewKey func(bits int) (*rsa.PrivateKey, error)

// Options say how to set up. Command is required.
type Options struct {
	// Command starts the product's binary with the arguments of a subcommand; its environment, if it sets one, is added to.
	Command func(args ...string) *exec.Cmd
	// Dir holds everything that is written; empty: a temporary folder that Close removes.
	Dir string
	// Keep leaves the folder and the database's files where they are.
	Keep bool
	// Durable makes the database sync to disk.
	Durable bool
	// OneFolder puts the database's files below the stage's folder, so that to name it names everything. Who has no right to read the folder
	// may go through it then, when we are root: the server runs as another user.
	OneFolder bool
	// Server says more of the database server: where its files are, its settings. Durable and Keep are added to it.
	Server temppostgres.Options
	// Template is copied instead of making and migrating a database, which takes two seconds of processor time. nil: made anew.
	Template *Template
	// PKI is used instead of a new one, which takes a second or two to make. Stages of a process that use the same PKI have
	// the same certificates.
	PKI *certs.PKI
	// Settings are added to the environment of every replica, "NAME=value".
	Settings []string
	// Output receives what replicas print beside their log files; nil: nobody.
	Output io.Writer
}

// Stage is what was set up.
type Stage struct {
	Dir      string
	PKI      *certs.PKI
	Server   *temppostgres.Server
	Database string // URL

	options   Options
	owned     bool
	brandFile string // the settings of several brands; "": there is one

	mu       sync.Mutex
	launched int
	replicas []*Replica

	tokenMu sync.Mutex
	tokens  map[string]signedToken // with every role, by subject
}

// Open makes folder, PKI, database and schema.
func Open(ctx context.Context, o Options) (s *Stage, err error) {
	s = &Stage{Dir: o.Dir, options: o}
	if s.Dir == "" {
		if s.Dir, err = os.MkdirTemp("", "arauto-"); err != nil {
			return nil, spaced(fmt.Errorf("make a temporary folder: %w", err))
		}
		s.owned = true
	}
	defer func() {
		if err != nil {
			err = spaced(s.abandon(ctx, err))
		}
	}()
	pki := makePKI(o.PKI, s.path("pki"))
	server := o.Server
	server.Durable, server.Keep = server.Durable || o.Durable, server.Keep || o.Keep
	if o.OneFolder {
		if server.Dir = s.Dir; os.Geteuid() == 0 {
			if err := os.Chmod(s.Dir, 0o711); err != nil { //nolint:gosec // see OneFolder
				return s, err
			}
		}
	}
	if o.Template != nil {
		server.CopyOf = o.Template.server
	}
	s.Server, err = temppostgres.Start(ctx, server)
	var errPKI error
	if s.PKI, errPKI = pki.await(ctx); errPKI != nil || err != nil {
		return s, errors.Join(err, errPKI)
	}
	if o.Template != nil && !s.Server.External() {
		s.Database = s.Server.URL(templateDatabase)
		return s, nil
	}
	if s.Database, err = s.Server.CreateDatabase(ctx, fmt.Sprintf("arauto_%d", time.Now().UnixNano()), ""); err != nil {
		return s, err
	}
	return s, store.Migrate(ctx, s.Database)
}

func (s *Stage) path(parts ...string) string {
	return filepath.Join(append([]string{s.Dir}, parts...)...)
}

// Environment is what serve needs to run on this stage, as a bank would set it.
func (s *Stage) Environment() []string {
	pki := func(name string) string { return s.path("pki", filepath.FromSlash(name)) }
	env := []string{
		"ARAUTO_PROFILE=development",
		"ARAUTO_DATABASE_URL=" + s.Database,
		"ARAUTO_PUBLIC_ADDR=127.0.0.1:0", "ARAUTO_PUBLIC_BASE_URL=" + BaseURL,
		"ARAUTO_PUBLIC_TLS_CERT=" + pki("holder/server.pem"), "ARAUTO_PUBLIC_TLS_KEY=" + pki("holder/server.key"),
		"ARAUTO_PUBLIC_CLIENT_CA=" + pki("trust/clients.pem"),
		"ARAUTO_INTERNAL_ADDR=127.0.0.1:0", "ARAUTO_INTERNAL_JWKS=" + pki("internal/jwks.json"),
		"ARAUTO_INTERNAL_ISSUER=" + InternalIssuer, "ARAUTO_INTERNAL_AUDIENCE=" + InternalAudience,
		"ARAUTO_OPS_ADDR=127.0.0.1:0",
		"ARAUTO_ORGANISATION_ID=" + s.PKI.Options().Holder.ID, "ARAUTO_AUTHORISATION_SERVER_ID=" + AuthorisationServerID,
		"ARAUTO_SIGNING_KEY=" + pki("holder/brseal.key"), "ARAUTO_SIGNING_KID=" + certs.SealKID,
		"ARAUTO_TOKENS_ISSUER=" + TokensIssuer, "ARAUTO_TOKENS_AUDIENCE=" + TokensAudience, "ARAUTO_TOKENS_JWKS=" + pki("tokens/jwks.json"),
		"ARAUTO_DIRECTORY_JWKS=" + pki("directory/jwks.json"),
		"ARAUTO_WEBHOOK_TLS_CERT=" + pki("holder/brcac.pem"), "ARAUTO_WEBHOOK_TLS_KEY=" + pki("holder/brcac.key"),
		"ARAUTO_WEBHOOK_ROOT_CA=" + pki("trust/roots.pem"), "ARAUTO_WEBHOOK_ALLOW_NETWORKS=127.0.0.0/8,::1/128",
		"ARAUTO_STATE_DIR=" + s.path("state"),
	}
	return append(s.withBrands(env), s.options.Settings...)
}

// Replica is one running process of the gateway.
type Replica struct {
	Name                  string
	Internal, Public, Ops string // addresses, host:port
	Console               string // address; "": it has no console

	cmd    *exec.Cmd
	log    *os.File
	exited chan struct{}
	err    error
}

// Start runs one more replica and returns when it has opened its listeners and says it is ready.
func (s *Stage) Start(ctx context.Context, settings ...string) (*Replica, error) {
	r, err := s.Launch(ctx, settings...)
	if err != nil {
		return nil, err
	}
	if err := r.WaitReady(ctx); err != nil {
		r.Kill()
		return nil, err
	}
	return r, nil
}

// Launch runs one replica and returns when it has opened its listeners, whether the database is there or not. Its log is
// in the stage's folder as NAME.log, what it says on stderr as NAME.err.
func (s *Stage) Launch(ctx context.Context, settings ...string) (*Replica, error) {
	s.mu.Lock()
	s.launched++
	name := fmt.Sprintf("replica-%d", s.launched)
	s.mu.Unlock()
	file, err := os.Create(s.path(name + ".log"))
	if err != nil {
		return nil, fmt.Errorf("make a replica's log: %w", err)
	}
	arguments := []string{"serve"}
	if s.brandFile != "" {
		arguments = append(arguments, "--config", s.brandFile)
	}
	cmd := s.options.Command(arguments...)
	cmd.Env = append(append(cmd.Environ(), s.Environment()...), settings...)
	cmd.Env = append(cmd.Env, "ARAUTO_REPLICA="+name)
	complaints, err := os.Create(s.path(name + ".err"))
	if err != nil {
		return nil, fmt.Errorf("make a replica's log: %w", err)
	}
	defer complaints.Close() // the process has its own descriptor
	cmd.Stderr = complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r := &Replica{Name: name, cmd: cmd, log: file, exited: make(chan struct{})}
	if err := start(cmd, r.exited); err != nil {
		return nil, fmt.Errorf("start a replica: %w", err)
	}
	opened := make(chan error, 1)
	go r.follow(out, s.options.Output, opened)
	select {
	case err = <-opened:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		r.Kill()
		said, _ := os.ReadFile(complaints.Name())
		return nil, fmt.Errorf("%s did not come up: %w: %.4096s", name, err, said)
	}
	s.mu.Lock()
	s.replicas = append(s.replicas, r)
	s.mu.Unlock()
	return r, nil
}

// follow copies the log and picks the addresses from its lines "listening".
func (r *Replica) follow(out io.Reader, also io.Writer, opened chan<- error) {
	defer close(r.exited)
	defer r.log.Close()
	writers := []io.Writer{r.log}
	if also != nil {
		writers = append(writers, also)
	}
	lines := json.NewDecoder(io.TeeReader(out, io.MultiWriter(writers...)))
	open := false
	for {
		var line struct{ Msg, Listener, Address string }
		if err := lines.Decode(&line); err != nil {
			break
		}
		if line.Msg != "listening" {
			continue
		}
		switch line.Listener {
		case "internal":
			r.Internal = line.Address
		case "public":
			r.Public = line.Address
		case "console":
			r.Console = line.Address
		case "ops": // the last
			r.Ops, open = line.Address, true
			opened <- nil
		}
	}
	_, _ = io.Copy(io.Discard, out)
	r.err = r.cmd.Wait()
	if !open {
		opened <- fmt.Errorf("it ended: %w", errors.Join(r.err, io.EOF))
	}
}

// SignInLink makes an address that opens one session of a replica's console, within an hour.
func (s *Stage) SignInLink(ctx context.Context, r *Replica) (string, error) {
	db, err := store.Open(ctx, store.Options{URL: s.Database, Replica: "link"})
	if err != nil {
		return "", err
	}
	defer db.Close()
	secret := rand.Text()
	return "http://" + r.Console + "/sign-in/link/" + secret, db.OfferLink(ctx, secret, time.Hour)
}

// WaitReady waits until the replica says it is ready.
func (r *Replica) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		status, body, err := get(ctx, "http://"+r.Ops+"/readyz")
		if err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-r.exited:
			return fmt.Errorf("the replica ended: %w", errors.Join(r.err, io.EOF))
		case <-ctx.Done():
			return fmt.Errorf("the replica is not ready: %d %s: %w", status, body, errors.Join(err, ctx.Err()))
		case <-tick.C:
		}
	}
}

func get(ctx context.Context, url string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	res, err := plain.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, string(body), err
}

var plain = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
	DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, MaxIdleConnsPerHost: 64,
}}

// Metrics reads the replica's metrics page.
func (r *Replica) Metrics(ctx context.Context) (string, error) {
	_, body, err := get(ctx, "http://"+r.Ops+"/metrics")
	return body, err
}

// Pid of the process.
func (r *Replica) Pid() int { return r.cmd.Process.Pid }

// Signal sends a signal to the process, such as SIGSTOP.
func (r *Replica) Signal(sig syscall.Signal) error { return r.cmd.Process.Signal(sig) }

// Kill ends the process at once, as a power cut does, and waits until it is gone.
func (r *Replica) Kill() {
	_ = r.cmd.Process.Kill()
	<-r.exited
}

// Exited is closed when the process is gone.
func (r *Replica) Exited() <-chan struct{} { return r.exited }

// Err says how a process that is gone ended: nil for exit code 0.
func (r *Replica) Err() error { return r.err }

// stopWithin is more than a replica may take to drain (contract, "Listeners": 20 s).
const stopWithin = 30 * time.Second

// Stop asks the process to drain, also one that was stopped by SIGSTOP, and waits until it is gone; the error says that
// it did not end well. One that does not end is killed.
func (r *Replica) Stop() error {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT} {
		if err := r.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	select {
	case <-r.exited:
		return r.err
	case <-time.After(stopWithin):
		r.Kill()
		return fmt.Errorf("the replica had not ended %s after SIGTERM", stopWithin)
	}
}

// Close stops the replicas and the database, and removes the folder unless it is to be kept.
func (s *Stage) Close() error {
	var errs []error
	for _, r := range s.replicas {
		select {
		case <-r.exited:
		default:
			errs = append(errs, r.Stop())
		}
	}
	if s.Server != nil {
		errs = append(errs, s.Server.Stop())
	}
	if s.owned && !s.options.Keep {
		errs = append(errs, os.RemoveAll(s.Dir))
	}
	return errors.Join(errs...)
}
