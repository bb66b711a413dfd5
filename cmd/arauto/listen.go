package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/uuid"
)

func listenCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "listen", Short: "receive notifications on this machine, for initiators' developers", Args: cobra.NoArgs,
		Long: "Run a webhook endpoint with mutual TLS. It prints each notification and every violation of the webhook API 1.3.0, and answers 202\n" +
			"with the notification's interaction id, or the statuses of --answer in turn. Give the endpoint's own certificates, or with --pki\n" +
			"those of a development PKI (arauto certs FOLDER); without any, those of the running sandbox. With --forward, the local app decides\n" +
			"the answer. At the end it lists the resources of which no notification was answered with 2xx while its caller waited.",
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
	expired, wrongName := c.Flags().Bool("serve-expired", false, "show a certificate that has ended, of a development PKI with --bad or of the sandbox"), c.Flags().Bool("serve-wrong-name", false, "show one for another host, likewise")
	c.Flags().BoolVar(&l.asJSON, "json", false, "print one JSON object a line")
	who := c.Flags().String("initiator", "alfa", "which initiator of the development PKI to use")
	c.Flags().IntSliceVar(&l.answers, "answer", []int{http.StatusAccepted}, "HTTP statuses to answer in turn; the last one repeats")
	language := languageFlag(c, w)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := oneOf("--lang", *language, "pt", "en"); err != nil {
			return err
		}
		if _, err := uuid.Parse(l.expect); err != nil && cmd.Flags().Changed("expect-organisation") { // "" would check nothing
			return wrongUse("listen: --expect-organisation %q is not the id of an organisation; use a UUID, as the directory has it", l.expect)
		}
		l.words = listenWords[*language]
		if *pki == "" && l.cert == "" && l.key == "" && l.ca == "" {
			running, err := runningSandbox(cmd.Context(), *language)
			if err != nil {
				return wrongUse("listen: "+l.words["certificates"], err)
			}
			*pki = running.PKI
		}
		if *pki != "" {
			folder := filepath.Join(*pki, "initiators", *who)
			l.cert, l.key = cmp.Or(l.cert, filepath.Join(folder, "server.pem")), cmp.Or(l.key, filepath.Join(folder, "server.key"))
			l.ca = cmp.Or(l.ca, filepath.Join(*pki, "trust", "clients.pem"))
		}
		switch {
		case *expired && *wrongName:
			return wrongUse("listen: --serve-expired and --serve-wrong-name: use one of them")
		case *expired || *wrongName:
			if *pki == "" {
				return wrongUse("listen: --serve-expired and --serve-wrong-name need --pki or a running sandbox")
			}
			l.spoiled = filepath.Join(*pki, "bad", "server-"+string(map[bool]certs.Defect{true: certs.Expired, false: certs.WrongName}[*expired]))
		}
		return l.run(cmd.Context())
	}
	return c
}

// listen is the endpoint.
type listen struct {
	out                 io.Writer
	addr, cert, key, ca string
	spoiled             string // certificate and key that are shown instead, without .pem and .key; "": none
	answers             []int
	forward, expect     string
	delay               time.Duration
	drop                int64
	asJSON              bool
	words               texts
	count               atomic.Int64

	client http.Client // of the local app; redirects of an app are its own answer
	mu     sync.Mutex  // of what follows, and of out
	seen   summary
	ids    map[string]bool // of interactions that came
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
	server := &http.Server{
		Handler: l, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 15 * time.Second, MaxHeaderBytes: 64 << 10,
		TLSConfig: mtls.ServerConfig(identity, authorities), ErrorLog: nil,
	}
	if l.spoiled != "" {
		if server.TLSConfig, err = spoil(server.TLSConfig, l.spoiled); err != nil {
			return wrongUse("listen: %v; make it with arauto certs --bad, or use the sandbox's", err)
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.addr)
	if err != nil {
		return wrongUse("--addr: %v; name an address of this machine and a free port", err)
	}
	l.print(map[string]string{"listening": "https://" + listener.Addr().String()}, "listen: https://%s; "+l.words["listening"]+"\n", listener.Addr())
	defer context.AfterFunc(ctx, func() {
		limited, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(limited)
	})()
	refused := func(r mtls.HandshakeRefusal) {
		l.print(map[string]string{"handshakeRefused": r.Err.Error()}, l.words["refused"]+": %v\n", r.Err)
	}
	defer l.conclude()
	if err := server.Serve(mtls.Listen(listener, server.TLSConfig, refused)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// spoil has a server show another certificate, so that its callers refuse it. What it demands of them stays.
func spoil(config *tls.Config, name string) (*tls.Config, error) {
	bad, err := tls.LoadX509KeyPair(name+".pem", name+".key")
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		usual, err := config.GetConfigForClient(hello)
		if err != nil {
			return nil, err
		}
		usual = usual.Clone()
		usual.Certificates = []tls.Certificate{bad}
		return usual, nil
	}}, nil
}

// ServeHTTP shows one notification and answers it.
func (l *listen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	n := l.count.Add(1)
	got := received{
		Number: n, At: time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), Method: r.Method, Path: r.URL.EscapedPath(), Source: r.RemoteAddr,
		InteractionID: r.Header.Get("X-Webhook-Interaction-Id"), Body: string(body), wrong: judgeNotification(r, body, err),
	}
	if l.cameBefore(got.InteractionID) {
		got.wrong.add("reused")
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
		got.wrong.add("organisation", got.Organisation, l.expect)
	case n <= l.drop:
		got.Dropped = true
	case l.forward != "":
		got.Answer, echo, got.ForwardProblem = l.pass(r, body)
	default:
		got.Answer = l.answers[min(int(n), len(l.answers))-1]
	}
	if got.Gone = r.Context().Err() != nil; got.Gone {
		got.Answer, got.ForwardProblem = 0, "" // the app was given up with its caller
	}
	l.show(&got)
	if got.Dropped || got.Gone {
		panic(http.ErrAbortHandler) // the connection ends without an answer
	}
	if echo != "" {
		w.Header().Set("X-Webhook-Interaction-Id", echo)
	}
	w.WriteHeader(got.Answer)
}

// cameBefore tells whether a notification with this interaction id came before, and remembers it.
func (l *listen) cameBefore(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ids == nil {
		l.ids = map[string]bool{}
	}
	before := l.ids[id]
	if id != "" {
		l.ids[id] = true
	}
	return before
}

// kindOf tells which resource a path is about, 0 if none, and its id; what the initiator registered stands before (webhook §1.3).
func kindOf(path string) (ofb.Kind, string) {
	for _, kind := range ofb.Kinds() {
		for _, version := range kind.Versions() {
			before, _ := strings.CutSuffix(ofb.Path(kind, version, "x"), "x")
			if _, id, found := strings.Cut(path, before); found && id != "" && !strings.Contains(id, "/") {
				id, _ = url.PathUnescape(id) // the server has parsed the path
				return kind, id
			}
		}
	}
	return 0, ""
}

// judgeNotification says what of a request is not as the webhook API has it.
func judgeNotification(r *http.Request, body []byte, errBody error) (wrong violations) {
	if r.Method != http.MethodPost {
		wrong.add("method")
	}
	kind, id := kindOf(r.URL.EscapedPath())
	if kind == 0 {
		wrong.add("path")
	} else if kind.CheckID(id) != nil {
		wrong.add("id", kind.IDMember())
	}
	if r.URL.RawQuery != "" {
		wrong.add("query")
	}
	if content := r.Header.Get("Content-Type"); strings.TrimSpace(strings.SplitN(content, ";", 2)[0]) != "application/json" {
		wrong.add("content", content)
	}
	if _, err := notice.ParseID(r.Header.Get("X-Webhook-Interaction-Id")); err != nil {
		wrong.add("interaction", err)
	}
	if kind == ofb.Enrollment && r.Header.Get(ofb.HeaderAuthorizationServerID) == "" && r.Header.Get(ofb.HeaderAuthorisationServerID) == "" {
		wrong.add("server")
	}
	if errBody != nil {
		wrong.add("early", errBody)
		return wrong
	}
	return append(wrong, judgeNotificationBody(kind, body)...)
}

// judgeNotificationBody compares names with their case, as a strict receiver does.
func judgeNotificationBody(kind ofb.Kind, body []byte) (wrong violations) {
	var envelope map[string]map[string]any
	if err := json.Unmarshal(body, &envelope); err != nil {
		wrong.add("body-form", strconv.QuoteToASCII(err.Error()))
		return wrong
	}
	data := envelope["data"]
	for _, name := range slices.Sorted(maps.Keys(envelope)) {
		if name != "data" {
			wrong.add("body-form", strconv.QuoteToASCII("unknown field "+name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(data)) {
		if name != "timestamp" && name != "eventType" {
			wrong.add("body-form", strconv.QuoteToASCII("unknown field "+name))
		}
	}
	if data == nil {
		wrong.add("data")
		return wrong
	}
	const layout = "2006-01-02T15:04:05Z"
	timestamp, _ := data["timestamp"].(string)
	if _, err := time.Parse(layout, timestamp); err != nil || len(timestamp) != len(layout) {
		wrong.add("timestamp")
	}
	switch event, there := data["eventType"]; {
	case there && event != string(ofb.StateChanged) && event != string(ofb.DataChanged):
		wrong.add("event")
	case !there && kind.HasEventType():
		wrong.add("event-missing")
	case there && kind != 0 && !kind.HasEventType():
		wrong.add("event-extra")
	}
	return wrong
}
