package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/lab/conformance"
	"github.com/arauto/arauto/internal/lab/sandbox"
	"github.com/arauto/arauto/internal/ofb"
)

func conformanceCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "conformance", Short: "play the certification suite's webhook modules against a running gateway", Args: cobra.NoArgs,
		Long: "Play the webhook modules of the ecosystem's certification suite, by their technical names, against a gateway that runs already,\n" +
			"before the bank pays for a certification run. This command stands in the place of the bank's core and authorization server: it\n" +
			"registers the client given, hands in changes of resources of its own over the internal API, receives the notifications, and asks\n" +
			"the status endpoints. Run it in homologation only: what it hands in stays in the history, and it ends the registration of --client.\n\n" +
			"Name every file, or with --pki the folder of a development PKI, as `arauto demo --keep` prints it. Without --pki, --internal and\n" +
			"--cert, the running sandbox is played (arauto sandbox). Exit code 1: a module failed, or the run was interrupted.",
	}
	r := &conformanceRun{out: w.stdout}
	d, f := &r.deployment, c.Flags()
	for _, one := range []struct {
		to          *string
		name, about string
	}{
		{&d.Internal, "internal", "base address of the internal API, such as https://arauto.internal:9443"},
		{&d.InternalCA, "internal-ca", "the authority of its certificate, PEM; else those of the system"},
		{&d.InternalToken, "internal-token", "a file with a bearer token of the roles ingest and registrar; read again at each call"},
		{&d.Public, "public", "host:port of the status endpoints"},
		{&d.PublicCA, "public-ca", "the authority of their certificate, PEM; else those of the system"},
		{&d.PublicName, "public-name", "the name in their certificate; else the host of --public"},
		{&d.Keys, "holder-keys", "the JWKS of the keys that sign answers"},
		{&d.OrganisationID, "organisation-id", "the holder's organisation id"},
		{&d.AuthorisationServerID, "authorisation-server-id", "what notifications of enrollments must carry"},
		{&d.Client, "client", "the client id that is registered for this run, and for nothing else"},
		{&d.Certificate, "cert", "the initiator's transport certificate (BRCAC) with its chain, PEM"},
		{&d.Key, "key", "its private key, PEM"},
		{&d.AccessToken, "access-token", "a file with an access token of the client; read again at each query"},
		{&d.Statement, "statement", "a file with a software statement at most 5 minutes old; read again at each registration"},
		{&d.Base, "base-uri", "the webhook address that the statement lists"},
		{&d.ServerCertificate, "server-cert", "the receiver's certificate with its chain, PEM"},
		{&d.ServerKey, "server-key", "its private key, PEM"},
		{&d.ClientCA, "client-ca", "the authorities of the holder's transport certificate, PEM"},
		{&d.PKI, "pki", "the folder of a development PKI; it replaces files, tokens and statements"},
		{&d.Initiator, "initiator", "which initiator of the development PKI to be (default alfa)"},
		{&r.module, "module", "play only modules whose technical name contains this"},
		{&r.html, "html", "write the report to this file, as a page"},
		{&r.json, "json", "write the report to this file, as JSON"},
	} {
		f.StringVar(one.to, one.name, "", one.about)
	}
	f.StringVar(&d.Listen, "listen", "127.0.0.1:0", "the address of the receiver, host:port")
	f.StringVar(&r.language, "lang", "pt", "language of the page, pt or en")
	helpInItsLanguage(c, func() string {
		if f.Changed("lang") {
			return r.language
		}
		return usualLanguage(w)
	})
	f.StringSliceVar(&r.versions, "versions", nil, "the gateway's schema.versions; modules of other versions are not played")
	f.DurationVar(&r.wait, "wait", conformance.WebhookWait, "webhookWaitTime, the pause after each registration")
	f.DurationVar(&r.within, "within", conformance.AwaitWithin, "how long a notification is awaited")
	f.DurationVar(&r.quiet, "quiet", 5*time.Second, "how long nothing may come where nothing is due, more than 1.5s")
	c.RunE = func(cmd *cobra.Command, _ []string) error { return r.run(cmd) }
	return c
}

// conformanceRun is one run of the modules.
type conformanceRun struct {
	out                          io.Writer
	deployment                   conformance.Deployment
	module, html, json, language string
	versions                     []string
	wait, within, quiet          time.Duration
}

func (r *conformanceRun) run(cmd *cobra.Command) error {
	versions, err := ofb.ParseVersions(r.versions)
	modules := conformance.Select(r.module)
	switch {
	case err != nil:
		return wrongUse("--versions: %v", err)
	case len(modules) == 0:
		return wrongUse("--module: no module's name contains %q", r.module)
	case r.language != "pt" && r.language != "en":
		return oneOf("--lang", r.language, "pt", "en")
	case r.wait < 0 || r.within <= 0 || r.quiet <= 1500*time.Millisecond:
		return wrongUse("--wait, --within and --quiet: use 0 or more, more than 0, and more than 1.5s")
	}
	if err := r.writable(); err != nil {
		return err
	}
	var none error // there is no sandbox, where it would be played
	if d := &r.deployment; d.PKI == "" && d.Internal == "" && d.Certificate == "" {
		var running *sandbox.State
		if running, none = sandbox.Running(cmd.Context()); none == nil {
			d.PKI, d.Internal, d.Public = running.PKI, running.Internal, strings.TrimPrefix(running.Public, "https://")
		}
	}
	s, end, err := r.deployment.Open()
	switch {
	case errors.Is(err, conformance.ErrIncomplete) && none != nil:
		return wrongUse("conformance: %v, and %v", err, none)
	case errors.Is(err, conformance.ErrIncomplete):
		return wrongUse("%v", err)
	}
	if err != nil {
		return err
	}
	defer end()
	s.Wait, s.Within, s.Quiet, s.Versions = r.wait, r.within, r.quiet, versions
	var writing sync.Mutex
	s.Line = func(line string) {
		writing.Lock()
		defer writing.Unlock()
		fmt.Fprintln(r.out, line)
	}
	report := &conformance.Report{Product: version, Holder: r.deployment.Public, At: time.Now(), Wait: r.wait, Results: s.PlayAll(cmd.Context(), modules)}
	if err := r.write(report); err != nil {
		return err
	}
	n := report.Counts()
	fmt.Fprintf(r.out, "conformance: %d would pass, %d would fail, %d not played", n.Passed, n.Failed, n.Skipped)
	if n.Interrupted > 0 {
		fmt.Fprintf(r.out, ", %d interrupted", n.Interrupted)
	}
	fmt.Fprintln(r.out)
	if n.Failed > 0 || n.Interrupted > 0 {
		return errFailed
	}
	return nil
}

// writable refuses a report that could not be written after the run.
func (r *conformanceRun) writable() error {
	for flag, name := range map[string]string{"--html": r.html, "--json": r.json} {
		if name == "" {
			continue
		}
		file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return wrongUse("%s: %v", flag, err)
		}
		if err := file.Close(); err != nil {
			return wrongUse("%s: %v", flag, err)
		}
	}
	return nil
}

// write writes the report to the files that are named.
func (r *conformanceRun) write(report *conformance.Report) error {
	for _, one := range []struct {
		file  string
		write func(io.Writer) error
	}{
		{r.html, func(w io.Writer) error { return report.WriteHTML(w, r.language) }},
		{r.json, report.WriteJSON},
	} {
		if one.file == "" {
			continue
		}
		file, err := os.OpenFile(one.file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
		if err := errors.Join(one.write(file), file.Close()); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}
