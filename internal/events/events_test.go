package events_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/events"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// operators are receivers of messages: a webhook over TLS, and a mail server with STARTTLS and sign-in.
type operators struct {
	t   *testing.T
	dir string
	web *httptest.Server

	mu      sync.Mutex
	posts   []map[string]any // with "path" and "authorization"
	mails   []string
	answers int // status of the webhook; 0: 200
	signIns int

	mail net.Listener
}

func openOperators(t *testing.T) *operators {
	o := &operators{t: t, dir: t.TempDir()}
	pki := mtlstest.PKI(t)
	leaf := mtlstest.Leaf(t, pki.HolderServer())
	identity := leaf.TLS()
	mtlstest.WriteAnchors(t, filepath.Join(o.dir, "ca.pem"), pki.Root)
	o.web = httptest.NewUnstartedServer(http.HandlerFunc(o.post))
	o.web.TLS = &tls.Config{Certificates: []tls.Certificate{identity}, MinVersion: tls.VersionTLS12}
	o.web.StartTLS()
	t.Cleanup(o.web.Close)
	var err error
	o.mail, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := o.mail.Accept()
			if err != nil {
				return
			}
			all.Go(func() { o.serveMail(conn, identity) })
		}
	})
	t.Cleanup(func() { _ = o.mail.Close(); all.Wait() })
	return o
}

func (o *operators) write(name, text string) string {
	file := filepath.Join(o.dir, name)
	require.NoError(o.t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func (o *operators) post(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.answers != 0 {
		w.WriteHeader(o.answers)
		return
	}
	m := map[string]any{}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	m["path"], m["authorization"] = r.URL.Path, r.Header.Get("Authorization")
	o.posts = append(o.posts, m)
}

// serveMail is one session of RFC 5321 with STARTTLS and AUTH PLAIN, no more than a client needs.
func (o *operators) serveMail(conn net.Conn, identity tls.Certificate) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	lines := bufio.NewReader(conn)
	say := func(s string) { _, _ = io.WriteString(conn, s+"\r\n") }
	secure, signed := false, false
	say("220 mail.test ESMTP")
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(strings.TrimSpace(line)); {
		case strings.HasPrefix(verb, "EHLO") && !secure:
			say("250-mail.test\r\n250 STARTTLS")
		case strings.HasPrefix(verb, "EHLO"):
			say("250-mail.test\r\n250 AUTH PLAIN")
		case verb == "STARTTLS":
			say("220 go on")
			inner := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{identity}, MinVersion: tls.VersionTLS12})
			if inner.Handshake() != nil {
				return
			}
			conn, lines, secure = inner, bufio.NewReader(inner), true
		case strings.HasPrefix(verb, "AUTH PLAIN ") && secure:
			text, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(line)[len("AUTH PLAIN "):])
			if string(text) != "\x00arauto\x00s3cret" {
				say("535 no")
				continue
			}
			signed = true
			o.mu.Lock()
			o.signIns++
			o.mu.Unlock()
			say("235 ok")
		case strings.HasPrefix(verb, "MAIL FROM") && !signed:
			say("530 sign in first")
		case verb == "DATA":
			say("354 go on")
			var text strings.Builder
			for {
				line, err := lines.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				text.WriteString(line)
			}
			o.mu.Lock()
			o.mails = append(o.mails, text.String())
			o.mu.Unlock()
			say("250 taken")
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// settings are those that lead to the receivers, by every way.
func (o *operators) settings() *config.Config {
	cfg := config.Standard()
	e := &cfg.Events
	e.CA, e.WebhookURL = filepath.Join(o.dir, "ca.pem"), o.web.URL+"/plain"
	e.WebhookTokenFile, e.SlackURLFile = o.write("token", "abc\n"), o.write("slack", o.web.URL+"/services/T0/secret\n")
	e.SMTP = config.SMTP{
		Addr: o.mail.Addr().String(), TLS: "starttls", CA: e.CA, Username: "arauto", PasswordFile: o.write("password", "s3cret\n"), From: "arauto@banco.example",
		To: []string{"plantao@banco.example", "noc@banco.example"},
	}
	return cfg
}

// got takes the messages that a path received.
func (o *operators) got(path string) (out []map[string]any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.posts {
		if m["path"] == path {
			out = append(out, m)
		}
	}
	return out
}

func (o *operators) letters() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string{}, o.mails...)
}

func (o *operators) answer(status int) { o.mu.Lock(); o.answers = status; o.mu.Unlock() }

// replica is a process that sees troubles, on a database that it shares.
type replica struct {
	*events.Monitor
	sees []history.Sighting
	sent map[string]int // by way and result
}

func newReplica(t *testing.T, url string, o *operators) *replica {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: url, Replica: "r", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	ways, err := events.Ways(o.settings())
	require.NoError(t, err)
	r := &replica{sent: map[string]int{}}
	r.Monitor = events.New(events.Config{
		Store: s, Ways: ways, Words: events.Words{Lang: "pt", Console: "https://console.banco.example/", Docs: events.StandardDocs}, Log: slog.New(slog.DiscardHandler),
		Observer: r, Look: func(time.Time) []history.Sighting { return r.sees },
	})
	return r
}

func (r *replica) EventSent(way string, err error) {
	if err != nil {
		r.sent[way+" failed"]++
		return
	}
	r.sent[way+" sent"]++
}

func (r *replica) tick(t *testing.T) { t.Helper(); require.NoError(t, r.Tick(t.Context())) }

// TestOneTroubleOfTwoReplicasIsToldOnceByEachWayAndOnceWhenItIsOver uses a real database, a webhook over TLS and a mail server
// with STARTTLS.
func TestOneTroubleOfTwoReplicasIsToldOnceByEachWayAndOnceWhenItIsOver(t *testing.T) {
	url, o := storetest.Database(t), openOperators(t)
	owner, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer owner.Close(context.WithoutCancel(t.Context()))
	a, b := newReplica(t, url, o), newReplica(t, url, o)
	for range 40 {
		a.GivenUp(notice.ClientID("alfa"))
		b.GivenUp(notice.ClientID("alfa"))
	}
	a.sees = []history.Sighting{{Kind: history.EventCertificate, Subject: "webhook-client 0a", Detail: "CN=<b>x: 2026-12-01"}}
	b.sees = a.sees
	var both sync.WaitGroup
	both.Go(func() { a.tick(t) })
	both.Go(func() { b.tick(t) })
	both.Wait()
	a.tick(t)
	b.tick(t)

	plain, slack, letters := o.got("/plain"), o.got("/services/T0/secret"), o.letters()
	require.Len(t, plain, 2, "one of each trouble")
	require.Len(t, slack, 2)
	require.Len(t, letters, 2)
	by := map[string]map[string]any{}
	for _, m := range plain {
		by[m["event"].(string)] = m
		require.Equal(t, "open", m["state"])
		require.Equal(t, "Bearer abc", m["authorization"])
	}
	given := by["notifications-given-up"]
	require.Equal(t, "alfa", given["subject"])
	require.Equal(t, "https://console.banco.example/notifications?state=exhausted&clientId=alfa", given["console"])
	require.Contains(t, given["runbook"], "docs/operations/alarm-notifications-exhausted.md")
	require.Contains(t, given["text"], "Desistência de notificações para alfa")
	require.Contains(t, given["text"], "Brasília")
	require.NotContains(t, by["certificate-expiring"]["text"], "<b>", "no markup of others")
	require.Contains(t, slack[0]["text"].(string)+slack[1]["text"].(string), "Desistência de notificações para alfa")
	text, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(letters[0] + letters[1])))
	require.NoError(t, err)
	require.Contains(t, string(text), "as três tentativas falharam")
	require.Contains(t, letters[0], "plantao@banco.example")
	require.Contains(t, letters[0], "noc@banco.example")

	var count int64
	require.NoError(t, owner.QueryRow(t.Context(), "SELECT count FROM arauto.operator_event WHERE kind = 'notifications-given-up'").Scan(&count))
	require.EqualValues(t, 80, count, "both replicas' counts are added up")

	_, err = owner.Exec(t.Context(), "UPDATE arauto.operator_event SET last_at = last_at - quiet - interval '1 s'")
	require.NoError(t, err)
	a.sees, b.sees = nil, nil
	both.Go(func() { a.tick(t) })
	both.Go(func() { b.tick(t) })
	both.Wait()
	require.Len(t, o.got("/plain"), 4)
	require.Len(t, o.letters(), 4)
	last := o.got("/plain")[3]
	require.Equal(t, "over", last["state"])
	require.NotNil(t, last["overAt"])
	require.Contains(t, last["text"], "Encerrado: ")
	var left, opened, over int
	require.NoError(t, owner.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM arauto.operator_event),
count(*) FILTER (WHERE outcome = 'event-opened'), count(*) FILTER (WHERE outcome = 'event-over') FROM arauto.entry WHERE kind = 'admin'`).Scan(&left, &opened, &over))
	require.Equal(t, []int{0, 2, 2}, []int{left, opened, over}, "beginning and end are entries, once each")

	a.GivenUp("alfa")
	a.tick(t)
	require.Len(t, o.got("/plain"), 5, "a new trouble is told anew")
}

// TestWhatAWayRefusesIsSentAgainAndNotTwiceByTheOthers: also when the trouble ended meanwhile.
func TestWhatAWayRefusesIsSentAgainAndNotTwiceByTheOthers(t *testing.T) {
	url, o := storetest.Database(t), openOperators(t)
	owner, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer owner.Close(context.WithoutCancel(t.Context()))
	again := func() {
		_, err := owner.Exec(t.Context(), "UPDATE arauto.operator_event SET next_at = now()")
		require.NoError(t, err)
	}
	r := newReplica(t, url, o)
	o.answer(http.StatusBadGateway)
	r.Tampered("position 7")
	r.tick(t)
	require.Equal(t, map[string]int{"slack failed": 1, "webhook failed": 1, "email sent": 1}, r.sent)
	r.tick(t)
	require.Len(t, o.letters(), 1, "not before a minute is over")
	again()
	o.answer(0)
	r.tick(t)
	require.Len(t, o.got("/plain"), 1)
	require.Len(t, o.letters(), 1, "the mail was sent before")

	o.answer(http.StatusBadGateway)
	_, err = owner.Exec(t.Context(), "UPDATE arauto.operator_event SET last_at = last_at - quiet - interval '1 s'")
	require.NoError(t, err)
	r.tick(t)
	require.Len(t, o.letters(), 2, "the end")
	r.Tampered("position 8") // it goes on
	o.answer(0)
	again()
	r.tick(t)
	require.Len(t, o.letters(), 3, "who was told of its end is told that it began again")
	require.Len(t, o.got("/plain"), 2)
	require.Equal(t, "open", o.got("/plain")[1]["state"])
	var over bool
	require.NoError(t, owner.QueryRow(t.Context(), "SELECT over_at IS NOT NULL FROM arauto.operator_event").Scan(&over))
	require.False(t, over)
}

// TestAnOutageOfOurOwnNetworkIsNotAMessageForEachClient: when nobody can be reached, twenty clients are named.
func TestAnOutageOfOurOwnNetworkIsNotAMessageForEachClient(t *testing.T) {
	url, o := storetest.Database(t), openOperators(t)
	r := newReplica(t, url, o)
	for round := range 3 {
		for n := range 200 {
			r.GivenUp(notice.ClientID(fmt.Sprint("client-", (n+round*50)%300)))
		}
		r.tick(t)
	}
	all := o.got("/plain")
	require.Len(t, all, 21)
	others := 0
	for _, m := range all {
		if m["subject"] == history.EventOthers {
			others++
			require.Contains(t, m["text"], "outras iniciadoras")
			require.NotContains(t, m["console"], "clientId")
		}
	}
	require.Equal(t, 1, others)
}

// TestCheckConnectsAndSendsNothing: and says so, also of what cannot be reached.
func TestCheckConnectsAndSendsNothing(t *testing.T) {
	o := openOperators(t)
	cfg := o.settings()
	ways, err := events.Ways(cfg)
	require.NoError(t, err)
	lines := strings.Join(events.Try(t.Context(), ways), "\n")
	require.Contains(t, lines, "events: slack: connected to 127.0.0.1:")
	require.Contains(t, lines, " with TLS; no message was sent")
	require.Contains(t, lines, "events: email: connected to "+cfg.Events.SMTP.Addr+" with TLS and signed in; no message was sent")
	require.NotContains(t, lines, "secret", "the URL of a webhook is a secret")
	require.Empty(t, o.got("/plain"))
	require.Empty(t, o.letters())
	require.Equal(t, 1, o.signIns)

	cfg.Events.SMTP.PasswordFile = o.write("password", "wrong")
	cfg.Events.CA = ""
	ways, err = events.Ways(cfg)
	require.NoError(t, err)
	lines = strings.Join(events.Try(t.Context(), ways), "\n")
	require.Equal(t, 3, strings.Count(lines, "WARNING events: "), lines)
	require.NotContains(t, lines, "T0", "an error does not tell the URL")

	cfg.Events.SlackURLFile = o.write("slack", "http://not.secure/")
	cfg.Events.WebhookTokenFile = filepath.Join(o.dir, "none")
	_, err = events.Ways(cfg)
	var wrong *config.Error
	require.ErrorAs(t, err, &wrong)
	require.Len(t, wrong.Problems, 2, err)
}

func TestEveryKindHasItsWordsAndItsPage(t *testing.T) {
	for _, kind := range history.EventKinds() {
		for _, lang := range []string{"pt", "en"} {
			m := events.Words{Lang: lang, Docs: "../../docs/operations/"}.Message(&history.OperatorEvent{Kind: kind, Subject: "alfa", Count: 1})
			require.NotEmpty(t, m.Title, "%s in %s", kind, lang)
			require.FileExists(t, m.Runbook)
		}
	}
}
