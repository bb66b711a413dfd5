package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

func listenCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "listen", Short: "receive notifications on this machine, for initiators' developers", Args: cobra.NoArgs,
		Long: "Run a webhook endpoint with mutual TLS. It prints each notification and every violation of the webhook API 1.3.0, and answers 202\n" +
			"with the notification's interaction id, or the statuses of --answer in turn. Give the endpoint's own certificates, or with --pki\n" +
			"those of a development PKI (arauto certs FOLDER). With --forward, the local app decides the answer. At the end it lists the\n" +
			"resources of which no notification was answered with 2xx.",
	}
	l := &listen{out: w.stdout, client: http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	c.Flags().StringVar(&l.addr, "addr", "127.0.0.1:8444", "the address to listen on, host:port")
	c.Flags().StringVar(&l.cert, "tls-cert", "", "the endpoint's certificate with its chain, PEM")
	c.Flags().StringVar(&l.key, "tls-key", "", "the certificate's private key, PEM")
	c.Flags().StringVar(&l.ca, "client-ca", "", "the authorities that issue the holders' certificates, PEM")
	pki := c.Flags().String("pki", "", "the folder of a development PKI; it replaces the three files")
	c.Flags().StringVar(&l.forward, "forward", "", "pass notifications on to a local app, such as http://localhost:3000/hook, and answer what it answers")
	c.Flags().StringVar(&l.expect, "expect-organisation", "", "answer 403 to a caller whose certificate is of another organisation, and name it")
	c.Flags().DurationVar(&l.delay, "delay", 0, "wait so long before each answer, at most 1m")
	c.Flags().Int64Var(&l.drop, "drop", 0, "end the connections of the first so many notifications without an answer")
	c.Flags().BoolVar(&l.asJSON, "json", false, "print one JSON object a line")
	who := c.Flags().String("initiator", "alfa", "which initiator of the development PKI to use")
	c.Flags().IntSliceVar(&l.answers, "answer", []int{http.StatusAccepted}, "HTTP statuses to answer in turn; the last one repeats")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if *pki != "" {
			folder := filepath.Join(*pki, "initiators", *who)
			l.cert, l.key = cmp.Or(l.cert, filepath.Join(folder, "server.pem")), cmp.Or(l.key, filepath.Join(folder, "server.key"))
			l.ca = cmp.Or(l.ca, filepath.Join(*pki, "trust", "clients.pem"))
		}
		return l.run(cmd.Context())
	}
	return c
}

// listen is the endpoint.
type listen struct {
	out                 io.Writer
	addr, cert, key, ca string
	answers             []int
	forward, expect     string
	delay               time.Duration
	drop                int64
	asJSON              bool
	count               atomic.Int64

	client http.Client // of the local app; redirects of an app are its own answer
	mu     sync.Mutex  // of what follows, and of out
	seen   summary
}

func (l *listen) run(ctx context.Context) error {
	for flag, value := range map[string]string{"--tls-cert": l.cert, "--tls-key": l.key, "--client-ca": l.ca} {
		if value == "" {
			return wrongUse("listen: %s is not set; name the file, or a development PKI with --pki", flag)
		}
	}
	for _, status := range l.answers {
		if status < 200 || status > 599 {
			return wrongUse("listen: --answer %d is not a final HTTP status; use 200 to 599", status)
		}
	}
	if err := l.checkFlags(); err != nil {
		return err
	}
	identity, err := mtls.LoadIdentity(l.cert, l.key, mtls.AsServer)
	if err != nil {
		return wrongUse("--tls-cert: %v", err)
	}
	authorities, err := mtls.LoadAnchors(l.ca)
	if err != nil {
		return wrongUse("--client-ca: %v", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.addr)
	if err != nil {
		return wrongUse("--addr: %v", err)
	}
	server := &http.Server{
		Handler: l, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 15 * time.Second, MaxHeaderBytes: 64 << 10,
		TLSConfig: mtls.ServerConfig(identity, authorities), ErrorLog: nil,
	}
	l.print(map[string]string{"listening": "https://" + listener.Addr().String()}, "listen: https://%s; register it, and stop with Ctrl-C\n", listener.Addr())
	defer context.AfterFunc(ctx, func() {
		limited, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(limited)
	})()
	refused := func(r mtls.HandshakeRefusal) {
		l.print(map[string]string{"handshakeRefused": r.Err.Error()}, "handshake refused: %v\n", r.Err)
	}
	defer l.conclude()
	if err := server.Serve(mtls.Listen(listener, server.TLSConfig, refused)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ServeHTTP shows one notification and answers it.
func (l *listen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	n := l.count.Add(1)
	got := received{
		Number: n, At: time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), Method: r.Method, Path: r.URL.EscapedPath(), Source: r.RemoteAddr,
		InteractionID: r.Header.Get("X-Webhook-Interaction-Id"), Body: string(body), Wrong: judgeNotification(r, body, err),
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		leaf := r.TLS.PeerCertificates[0]
		caller, _ := mtls.CallerOf(leaf) // one without an organisation has none to show
		got.Subject, got.Organisation, got.TLS = mtls.Subject(leaf), caller.OrganisationID, tls.VersionName(r.TLS.Version)
	}
	l.wait(r.Context())
	echo := got.InteractionID
	switch {
	case l.expect != "" && got.Organisation != l.expect:
		got.Answer = http.StatusForbidden
		got.Wrong = append(got.Wrong, fmt.Sprintf("the caller's certificate is of organisation %q; --expect-organisation is %q", got.Organisation, l.expect))
	case n <= l.drop:
		got.Dropped = true
	case l.forward != "":
		got.Answer, echo, got.ForwardProblem = l.pass(r, body)
	default:
		got.Answer = l.answers[min(int(n), len(l.answers))-1]
	}
	l.show(&got)
	if got.Dropped {
		panic(http.ErrAbortHandler) // the connection ends without an answer
	}
	if echo != "" {
		w.Header().Set("X-Webhook-Interaction-Id", echo)
	}
	w.WriteHeader(got.Answer)
}

// kindOf tells which resource a path is about, 0 if none; what the initiator registered stands before (webhook §1.3).
func kindOf(path string) ofb.Kind {
	for _, kind := range ofb.Kinds() {
		for _, version := range kind.Versions() {
			before, _ := strings.CutSuffix(ofb.Path(kind, version, "x"), "x")
			if _, id, found := strings.Cut(path, before); found && id != "" && !strings.Contains(id, "/") {
				return kind
			}
		}
	}
	return 0
}

// judgeNotification says what of a request is not as the webhook API has it.
func judgeNotification(r *http.Request, body []byte, errBody error) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if r.Method != http.MethodPost {
		say("the method must be POST")
	}
	kind := kindOf(r.URL.EscapedPath())
	if kind == 0 {
		say("the path is not one of the webhook API's; after the registered base it must be a resource's")
	}
	if r.URL.RawQuery != "" {
		say("the URL has a query; it must have none")
	}
	if content := r.Header.Get("Content-Type"); strings.TrimSpace(strings.SplitN(content, ";", 2)[0]) != "application/json" {
		say("Content-Type is %q, must be application/json", content)
	}
	if _, err := notice.ParseID(r.Header.Get("X-Webhook-Interaction-Id")); err != nil {
		say("x-webhook-interaction-id: %v", err)
	}
	if kind == ofb.Enrollment && r.Header.Get(ofb.HeaderAuthorizationServerID) == "" && r.Header.Get(ofb.HeaderAuthorisationServerID) == "" {
		say("x-authorization-server-id is missing; a notification of an enrolment must have it")
	}
	if errBody != nil {
		say("the body ended early: %v", errBody)
		return wrong
	}
	return append(wrong, judgeNotificationBody(body)...)
}

func judgeNotificationBody(body []byte) (wrong []string) {
	var envelope struct {
		Data *struct {
			Timestamp string  `json:"timestamp"`
			EventType *string `json:"eventType"`
		} `json:"data"`
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&envelope); err != nil {
		return []string{"the body is not {\"data\":{\"timestamp\",\"eventType\"}}: " + strconv.QuoteToASCII(err.Error())}
	}
	if envelope.Data == nil {
		return []string{"the body has no member data; it must be {\"data\":{…}}"}
	}
	const layout = "2006-01-02T15:04:05Z"
	if _, err := time.Parse(layout, envelope.Data.Timestamp); err != nil || len(envelope.Data.Timestamp) != len(layout) {
		wrong = append(wrong, "data.timestamp must be UTC to the second, as 2026-11-21T12:00:00Z")
	}
	if e := envelope.Data.EventType; e != nil && *e != string(ofb.StateChanged) && *e != string(ofb.DataChanged) {
		wrong = append(wrong, "data.eventType must be STATE_CHANGED or DATA_CHANGED")
	}
	return wrong
}
