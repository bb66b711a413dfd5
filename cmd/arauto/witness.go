package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/witness"
)

func witnessCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "witness --name NAME --key FILE --state FOLDER --log VKEY", Short: "vouch for the checkpoints of a log, for internal audit and for auditors", Args: cobra.NoArgs,
		Long: "Run a witness of transparency logs (C2SP tlog-witness). It cosigns a checkpoint once it is proven that the log only grew since the last\n" +
			"one, and refuses every other history. It keeps what it vouched for in FOLDER and needs no database. Run it on a machine that\n" +
			"neither the operators of the gateway nor the owners of its database can write.\n" +
			"The first start takes --init, once; a further log takes --add-log, once. Make the key by: openssl genpkey -algorithm ed25519 -out FILE",
	}
	o := &witnessOptions{out: w}
	c.Flags().StringVar(&o.name, "name", "", "the name in its cosignatures, such as audit.bank.example/w1 (required)")
	c.Flags().StringVar(&o.key, "key", "", "its Ed25519 key, PEM, mode 0600 or 0400 (required)")
	c.Flags().StringVar(&o.state, "state", "", "the folder of what it vouched for (required)")
	c.Flags().StringArrayVar(&o.logs, "log", nil, "the verifier key of a log that it vouches for; may be repeated (required)")
	c.Flags().StringVar(&o.addr, "addr", "127.0.0.1:7380", "the address to listen on, host:port")
	c.Flags().StringVar(&o.cert, "tls-cert", "", "its server certificate with the chain, PEM; without one it listens on loopback only")
	c.Flags().StringVar(&o.certKey, "tls-key", "", "the private key of that certificate, PEM")
	c.Flags().BoolVar(&o.begin, "init", false, "begin a new witness in an empty FOLDER")
	c.Flags().BoolVar(&o.add, "add-log", false, "add the logs that the witness does not know yet")
	c.RunE = func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) }
	return c
}

// witnessOptions are the flags of the command.
type witnessOptions struct {
	out                                   world
	name, key, state, addr, cert, certKey string
	logs                                  []string
	begin, add                            bool
}

func (o *witnessOptions) run(ctx context.Context) error {
	for flag, missing := range map[string]bool{"--name": o.name == "", "--key": o.key == "", "--state": o.state == "", "--log": len(o.logs) == 0} {
		if missing {
			return wrongUse("witness: %s is not set; see arauto witness --help", flag)
		}
	}
	listener, err := o.listen(ctx) // before --init begins the folder, so that the command can be repeated if the port is taken
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	w, err := o.open()
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	fmt.Fprintf(o.out.stdout, "witness: its verifier key, for policies: %s\nwitness: listening on %s\n", w.Self(), listener.Addr())
	server := &http.Server{
		Handler: w.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
	}
	ended := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(ended)
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(limited)
	})()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-ended
	return nil
}

// open reads the key and the logs, and opens the folder; --init and --add-log prepare it.
func (o *witnessOptions) open() (*witness.Witness, error) {
	text, err := mtls.ReadKeyFile(o.key)
	if err != nil {
		return nil, wrongUse("--key: %v", err)
	}
	key, err := audit.ParsePrivate(text)
	if err != nil {
		return nil, wrongUse("--key: %s: %v", o.key, err)
	}
	self, err := audit.NewWitnessKey(o.name, key.Public())
	if err != nil {
		return nil, wrongUse("--name: %v", err)
	}
	var logs []audit.LogKey
	for _, vkey := range o.logs {
		l, err := audit.ParseLogKey(vkey)
		if err != nil {
			return nil, wrongUse("--log: %q: %v", vkey, err)
		}
		logs = append(logs, l)
	}
	if o.begin {
		if err := witness.Init(o.state, self); err != nil {
			return nil, wrongUse("--init: %v", err)
		}
	}
	if o.begin || o.add {
		for _, l := range logs {
			if err := witness.AddLog(o.state, l); err != nil {
				return nil, wrongUse("--log: %v", err)
			}
		}
	}
	w, err := witness.Open(witness.Options{Name: o.name, Key: key, Logs: logs, State: o.state, Log: slog.New(slog.NewJSONHandler(o.out.stderr, nil))})
	if err != nil {
		return nil, wrongUse("--state: %v", err)
	}
	return w, nil
}

// listen opens the listener: with TLS, or on loopback only.
func (o *witnessOptions) listen(ctx context.Context) (net.Listener, error) {
	host, _, err := net.SplitHostPort(o.addr)
	if err != nil {
		return nil, wrongUse("--addr: %v", err)
	}
	var config *tls.Config
	switch ip := net.ParseIP(host); {
	case o.cert != "" || o.certKey != "":
		identity, err := mtls.LoadIdentity(o.cert, o.certKey, mtls.AsServer)
		if err != nil {
			return nil, wrongUse("--tls-cert: %v", err)
		}
		config = mtls.InternalServerConfig(identity)
	case host != "localhost" && (ip == nil || !ip.IsLoopback()):
		return nil, wrongUse("--addr: %s is not on loopback; name a certificate with --tls-cert and --tls-key", o.addr)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.addr)
	if err != nil {
		return nil, wrongUse("--addr: %v; name an address of this machine and a free port", err)
	}
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	return listener, nil
}
