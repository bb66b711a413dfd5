package webhook

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

func TestTheRequestIsByteForByteWhatTheContractSays(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	const urn = "urn:bancoex:0b8f6c2e-1d3a-4c55-9f0e-6a1f7b1d2c3e"
	const stamp = `{"data":{"timestamp":"2026-09-15T17:03:27Z"}}`
	event := func(e string) string {
		return `{"data":{"timestamp":"2026-09-15T17:03:27Z","eventType":"` + e + `"}}`
	}
	as := "x-authorisation-server-id: " + testASID + "\r\nx-authorization-server-id: " + testASID + "\r\n"
	for _, c := range []struct {
		kind        ofb.Kind
		version, id string
		event       ofb.EventType
		path, body  string
		as          string
	}{
		{ofb.PaymentConsent, "v5", urn, "", "/payments/v5/consents/" + urn, stamp, ""},
		{ofb.PaymentConsent, "v4", "urn:b:a/b?c#d%e;f,(g)'!*é", "", "/payments/v4/consents/urn:b:a%2Fb%3Fc%23d%25e%3Bf%2C%28g%29%27%21%2A%C3%A9", stamp, ""},
		{ofb.PaymentConsent, "v5", "urn:b:~x@y&z=1+2$3_4.5-6", "", "/payments/v5/consents/urn:b:~x@y&z=1+2$3_4.5-6", stamp, ""},
		{ofb.PixPayment, "v4", "pay-1", "", "/payments/v4/pix/payments/pay-1", stamp, ""},
		{ofb.RecurringConsent, "v2", urn, ofb.StateChanged, "/automatic-payments/v2/recurring-consents/" + urn, event("STATE_CHANGED"), ""},
		{ofb.RecurringPayment, "v2", "rp-1", "", "/automatic-payments/v2/pix/recurring-payments/rp-1", stamp, ""},
		{ofb.Enrollment, "v2", urn, ofb.DataChanged, "/enrollments/v2/enrollments/" + urn, event("DATA_CHANGED"), as},
	} {
		for _, base := range []string{"", "/kong3", "/a%2Fb/c:d/~e"} {
			a := newAttempt(i.BaseURI(base))
			a.Kind, a.APIVersion, a.ResourceID, a.Event = c.kind, c.version, c.id, c.event
			r, err := s.Send(t.Context(), a)
			require.NoError(t, err)
			require.Equal(t, notice.OutcomeDelivered, r.Outcome, r.Detail)

			got := i.Requests()[len(i.Requests())-1]
			target := base + "/open-banking/webhook/v1" + c.path
			require.Equal(t, "POST "+target+" HTTP/1.1\r\n"+
				fmt.Sprintf("Host: localhost:%d\r\n", i.Port())+
				"User-Agent: arauto/1.2.3\r\n"+
				fmt.Sprintf("Content-Length: %d\r\n", len(c.body))+
				"Content-Type: application/json\r\n"+
				c.as+
				"x-webhook-interaction-id: 3f0b0c6e-3d6b-4d3e-9a43-0c0f6f6f3a11\r\n"+
				"\r\n", string(got.Head))
			require.Equal(t, c.body, string(got.Body))
			require.Equal(t, i.BaseURI("")+target, r.URL)
		}
	}
}

func TestOneSpellingOfTheServerIdHeaderCanBeChosen(t *testing.T) {
	i := newInitiator(t)
	s := newSender(t, func(c *Config) { c.ASHeaders = []string{ofb.HeaderAuthorizationServerID} })
	a := newAttempt(i.BaseURI(""))
	a.Kind, a.ResourceID, a.APIVersion = ofb.Enrollment, "urn:b:1", "v2"
	_, err := s.Send(t.Context(), a)
	require.NoError(t, err)
	got := i.Requests()[0]
	require.Equal(t, testASID, got.Get("x-authorization-server-id"))
	require.Empty(t, got.Get("x-authorisation-server-id"))
}

func TestTheResultCarriesTheEvidence(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	first, second := send(t, s, i.BaseURI("")), send(t, s, i.BaseURI(""))

	require.Equal(t, "TLS 1.3", first.TLS.Version)
	require.NotEmpty(t, first.TLS.Cipher)
	require.Contains(t, first.TLS.PeerSubject, "O=Alfa Iniciadora SA")
	require.Len(t, first.TLS.PeerFingerprint, 64)
	require.NotEmpty(t, first.TLS.PeerSerial)
	require.Equal(t, s.holders[""].identity.Current().Leaf.SerialNumber.Text(16), first.TLS.OwnSerial)
	require.True(t, first.TLS.PeerNotAfter.After(time.Now()))
	require.Equal(t, i.Addr(), first.RemoteAddr)
	require.Equal(t, i.Requests()[0].Remote, first.LocalAddr)

	require.False(t, first.Reused)
	require.True(t, 0 < first.Dialled && first.Dialled < first.Handshaken && first.Handshaken < first.FirstByteOut, "%+v", first)
	require.True(t, first.FirstByteOut < first.Answered && first.Answered <= first.Elapsed, "%+v", first)
	require.WithinDuration(t, time.Now(), first.EndedAt, 5*time.Second)

	require.True(t, second.Reused)
	require.Zero(t, second.Dialled)
	require.Zero(t, second.Handshaken)
	require.True(t, 0 < second.FirstByteOut && second.FirstByteOut < second.Answered, "%+v", second)
	require.Equal(t, 1, i.Connections())
}

func TestEveryStatusHasItsOutcome(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	for status := 200; status <= 599; status++ {
		want := notice.OutcomeRefused
		switch {
		case status == 202:
			want = notice.OutcomeDelivered
		case status < 300:
			want = notice.OutcomeNonconformant
		case status < 400:
			want = notice.OutcomeRedirected
		}
		i.Answer("", standin.Refuse(status))
		r := send(t, s, i.BaseURI(""))
		require.Equal(t, want, r.Outcome, "status %d: %s", status, r.Detail)
		require.Equal(t, status, r.HTTPStatus)
		require.Equal(t, notice.EchoMatch, r.Echo, "status %d", status)
		require.Equal(t, want == notice.OutcomeDelivered, r.Detail == "", "status %d: %s", status, r.Detail)
	}
	require.Len(t, i.Requests(), 400, "a redirection is not followed and nothing is tried twice")
}

func TestInterimAnswersAreSkippedUpToFive(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	final := "HTTP/1.1 202 Accepted\r\nX-Webhook-Interaction-ID: 3f0b0c6e-3d6b-4d3e-9a43-0c0f6f6f3a11\r\nContent-Length: 0\r\n\r\n"
	for status := 100; status <= 199; status++ {
		interim := fmt.Sprintf("HTTP/1.1 %d Wait\r\nLink: x\r\n\r\n", status)
		for n, want := range map[int]notice.Outcome{1: notice.OutcomeDelivered, 5: notice.OutcomeDelivered, 6: notice.OutcomeProtocol} {
			if status == 101 {
				want = notice.OutcomeProtocol
			}
			i.Answer("", standin.Answer{Raw: []byte(strings.Repeat(interim, n) + final)})
			r := send(t, s, i.BaseURI(""))
			require.Equal(t, want, r.Outcome, "%d × %d: %s", n, status, r.Detail)
		}
	}
}

func TestTheEchoIsComparedAndNeverDecidesARetry(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	const id = "x-webhook-interaction-id: 3f0b0c6e-3d6b-4d3e-9a43-0c0f6f6f3a11"
	for _, c := range []struct {
		answer  standin.Answer
		echo    notice.Echo
		outcome notice.Outcome
	}{
		{standin.Answer{}, notice.EchoMatch, notice.OutcomeDelivered},
		{standin.Answer{Echo: standin.NotEchoed}, notice.EchoMissing, notice.OutcomeNonconformant},
		{standin.Answer{Echo: standin.WrongEcho}, notice.EchoDifferent, notice.OutcomeNonconformant},
		{standin.Answer{Echo: standin.NotEchoed, Header: []string{"x-webhook-interaction-id:"}}, notice.EchoMissing, notice.OutcomeNonconformant},
		{standin.Answer{Header: []string{id}}, notice.EchoMatch, notice.OutcomeDelivered},
		{standin.Answer{Header: []string{id + "x"}}, notice.EchoDifferent, notice.OutcomeNonconformant},
		{standin.Answer{Status: 503, Echo: standin.NotEchoed}, notice.EchoMissing, notice.OutcomeRefused},
		{standin.Answer{Status: 301, Echo: standin.WrongEcho}, notice.EchoDifferent, notice.OutcomeRedirected},
	} {
		i.Answer("", c.answer)
		r := send(t, s, i.BaseURI(""))
		require.Equal(t, c.outcome, r.Outcome, "%+v", c.answer)
		require.Equal(t, c.echo, r.Echo, "%+v", c.answer)
	}
}

func TestARedirectionIsNamedAndNotFollowed(t *testing.T) {
	i, canary, s := newInitiator(t), newInitiator(t), newSender(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		i.Answer("", standin.Answer{Status: status, Header: []string{"Location: " + canary.BaseURI("/x")}})
		r := send(t, s, i.BaseURI(""))
		require.Equal(t, notice.OutcomeRedirected, r.Outcome)
		require.Contains(t, r.Detail, canary.BaseURI("/x"))
	}
	require.Zero(t, canary.Connections())
}

func TestAReceiverThatMissesOurCertificateIsExplained(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	i.Answer("", standin.Answer{Status: 400, Body: "<html>\r\n<head><title>400 No required SSL certificate was sent</title></head>"})
	r := send(t, s, i.BaseURI(""))
	require.Equal(t, notice.OutcomeRefused, r.Outcome)
	require.Contains(t, r.Detail, "no client certificate")
	i.Answer("", standin.Answer{Status: 400, Body: `{"error":"other"}`})
	require.Equal(t, "400 Bad Request", send(t, s, i.BaseURI("")).Detail)
}

func TestNothingListeningIsAConnectError(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	require.NoError(t, listener.Close())
	r := send(t, newSender(t), fmt.Sprintf("https://localhost:%d", port))
	require.Equal(t, notice.OutcomeConnect, r.Outcome)
	require.Contains(t, r.Detail, "connection refused")
	require.Nil(t, r.TLS)
	require.Zero(t, r.FirstByteOut)
	require.Equal(t, notice.NoEcho, r.Echo)
}

func TestABrokenConnectionIsAConnectErrorAndNeverTriedAgain(t *testing.T) {
	for name, answer := range map[string]standin.Answer{
		"closed before the answer": {End: standin.HangUp},
		"reset before the answer":  {End: standin.ResetUp},
		"closed in the headers":    {Raw: []byte("HTTP/1.1 202 Accepted\r\nX-Some: thing\r\n"), End: standin.Close},
		"reset in the headers":     {Raw: []byte("HTTP/1.1 202 Accepted\r\nX-Some"), End: standin.Reset},
	} {
		t.Run(name, func(t *testing.T) {
			i, s := newInitiator(t), newSender(t)
			for warm := range 2 { // on a fresh connection, and on a kept-alive one
				if warm == 1 {
					i.Answer("", standin.Accept)
					send(t, s, i.BaseURI(""))
				}
				before := len(i.Requests())
				i.Answer("", answer)
				r := send(t, s, i.BaseURI(""))
				require.Equal(t, notice.OutcomeConnect, r.Outcome, r.Detail)
				require.Equal(t, warm == 1, r.Reused)
				require.NotZero(t, r.FirstByteOut)
				require.Contains(t, r.Detail, "the receiver")
				require.Len(t, i.Requests(), before+1)
			}
		})
	}
}

func TestTheCallerMayGiveUp(t *testing.T) {
	t.Run("before anything was sent no attempt was made", func(t *testing.T) {
		i, s := newInitiator(t), newSender(t)
		i.Connect(standin.Connection{StallHello: true})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_ = i.WaitOpen(soon(t), 1)
			cancel()
		}()
		_, err := s.Send(ctx, newAttempt(i.BaseURI("")))
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, i.Requests())
	})
	t.Run("afterwards the end is unknown", func(t *testing.T) {
		i, s := newInitiator(t), newSender(t)
		i.Answer("", standin.Answer{Stall: standin.AtStatusLine})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_, _ = i.Wait(soon(t), 1, nil)
			cancel()
		}()
		r, err := s.Send(ctx, newAttempt(i.BaseURI("")))
		require.NoError(t, err)
		require.Equal(t, notice.OutcomeUnknown, r.Outcome)
		require.NotZero(t, r.FirstByteOut)
	})
}

func TestABaseThatCannotBeUsedIsBlockedAndTouchesNothing(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	host := fmt.Sprintf("localhost:%d", i.Port())
	for _, base := range []string{
		"", "localhost", "http://" + host, "HTTPS://" + host, "https://", "https:///x", "https://user@" + host,
		"https://a:b@" + host, "https://" + host + "/", "https://" + host + "//x", "https://" + host + "?q", "https://" + host + "/a?q",
		"https://" + host + "#f", "https://" + host + "/a b", "https://" + host + "/a\r\nX: y", `https://localhost\@evil`,
		"https://localhost:0", "https://localhost:65536", "https://localhost:", "https://localhost:0443", "https://localhost:1:2",
		"https://[::1", "https://::1", "https://[fe80::1%25lo]", "https://[::1]x:1", "https://ｌocalhost", "https://local host", "https://a\x00b",
	} {
		r := send(t, s, base)
		require.Equal(t, notice.OutcomeBlocked, r.Outcome, "%q: %s", base, r.Detail)
		require.NotEmpty(t, r.Detail)
	}
	require.Zero(t, i.Connections())
}

func TestIPv6LiteralsWorkWhereTheyAreAllowed(t *testing.T) {
	listener, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 on this machine")
	}
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())
	i := newInitiator(t, func(o *standin.Options) { o.Addr = addr })
	r := send(t, newSender(t), "https://"+i.Addr())
	require.Equal(t, notice.OutcomeDelivered, r.Outcome, r.Detail)
	require.Equal(t, i.Addr(), i.Requests()[0].Get("Host"))
}

func TestTheTransportIsTheOneOfTheDesign(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	send(t, s, i.BaseURI(""))
	for _, e := range s.endpoints {
		require.Len(t, e.open, 1)
		require.Len(t, e.idle, 1, "every connection may stay open while it is idle")
		require.Less(t, e.idle[0].kept.limits.idle, time.Minute)
		require.Equal(t, []string{"http/1.1"}, e.tls.NextProtos)
		require.Nil(t, e.tls.ClientSessionCache)
	}
	// That the environment's proxy is not used, and that nothing is compressed or spoken in HTTP/2, is seen from outside:
	// TestProxiesOfTheEnvironmentAreNotUsed, TestTheRequestIsByteForByteWhatTheContractSays, TestHTTP2IsNeitherOfferedNorSpoken.
}

// untimed is a context that names a deadline and does not end at it, as dispatch has it.
type untimed struct {
	context.Context
	deadline time.Time
}

func (u untimed) Deadline() (time.Time, bool) { return u.deadline, true }

func TestADeadlineOfTheCallersIsATimeout(t *testing.T) {
	for name, script := range map[string]func(*standin.Initiator){
		"in the handshake":       func(i *standin.Initiator) { i.Connect(standin.Connection{StallHello: true}) },
		"waiting for the answer": func(i *standin.Initiator) { i.Answer("", standin.Answer{Stall: standin.AtStatusLine}) },
	} {
		t.Run(name, func(t *testing.T) {
			i, s := newInitiator(t), newSender(t)
			script(i)
			a := newAttempt(i.BaseURI(""))
			r, err := s.Send(untimed{t.Context(), time.Now().Add(300 * time.Millisecond)}, a)
			require.NoError(t, err)
			require.Equal(t, notice.OutcomeTimeout, r.Outcome, r.Detail)
			var within string
			_, err = fmt.Sscanf(r.Detail, "no final headers within %s", &within)
			require.NoError(t, err, r.Detail)
			limit, err := time.ParseDuration(strings.TrimSuffix(within, ";"))
			require.NoError(t, err, r.Detail)
			require.LessOrEqual(t, limit, 300*time.Millisecond, "what the caller allows, less what had passed when Send began")
			require.Greater(t, limit, time.Duration(0))
		})
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	s := newSender(t)
	for name, c := range map[string]Config{
		"no identity":            {Roots: s.cfg.Roots},
		"no roots":               {Identity: s.holders[""].identity},
		"lease below timeout":    {Identity: s.holders[""].identity, Roots: s.cfg.Roots, Timeout: 10 * time.Second, Lease: 10 * time.Second},
		"version with a newline": {Identity: s.holders[""].identity, Roots: s.cfg.Roots, Version: "1\n2"},
		"server id with a space": {Identity: s.holders[""].identity, Roots: s.cfg.Roots, AuthorisationServerID: "a b"},
	} {
		require.Panics(t, func() { New(c) }, name)
	}
}

func TestAClosedSenderSendsNothing(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	send(t, s, i.BaseURI(""))
	s.Close()
	require.NoError(t, i.WaitOpen(soon(t), 0))
	_, err := s.Send(t.Context(), newAttempt(i.BaseURI("")))
	require.ErrorIs(t, err, ErrClosed)
	s.Close()
}
