package webhook

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/notice"
)

// These are the stages of case D2: one deadline for the whole attempt, whatever the stage, and the stage is named. The
// deadline is a second here and fifteen in production.

func TestATimeoutNamesItsStage(t *testing.T) {
	const timeout = time.Second
	check := func(t *testing.T, r notice.Result, stage string, sent bool) {
		t.Helper()
		require.Equal(t, notice.OutcomeTimeout, r.Outcome, r.Detail)
		require.Equal(t, "no final headers within 1s; stage: "+stage, r.Detail)
		require.InDelta(t, timeout.Seconds(), r.Elapsed.Seconds(), 0.5)
		require.Equal(t, sent, r.FirstByteOut != 0)
		require.Zero(t, r.HTTPStatus)
		require.Equal(t, notice.NoEcho, r.Echo)
	}
	t.Run("dns", func(t *testing.T) {
		t.Parallel()
		dns, err := standin.StartDNS(nil)
		require.NoError(t, err)
		t.Cleanup(dns.Close)
		dns.Silence(true)
		s := newSender(t, within(timeout), func(c *Config) { c.Resolver = dns.Addr() })
		check(t, send(t, s, "https://itp.example.com"), "dns", false)
		require.NotZero(t, dns.Asked("itp.example.com"))
	})
	t.Run("connect", func(t *testing.T) {
		t.Parallel()
		s := newSender(t, within(timeout))
		check(t, send(t, s, fmt.Sprintf("https://localhost:%d", fullBacklog(t))), "connect", false)
	})
	for name, behaviour := range map[string]standin.Connection{
		"not a word":       {StallHello: true},
		"half a handshake": {StallFinish: true},
	} {
		t.Run("tls, "+name, func(t *testing.T) {
			t.Parallel()
			i, s := newInitiator(t), newSender(t, within(timeout))
			i.Connect(behaviour)
			check(t, send(t, s, i.BaseURI("")), "tls", false)
			require.Empty(t, i.Requests())
		})
	}
	for name, answer := range map[string]standin.Answer{
		"no answer":            {Stall: standin.AtStatusLine},
		"half a status line":   {Stall: standin.InStatusLine},
		"half of the headers":  {Stall: standin.InHeaders},
		"headers of 10 B/s":    {Trickle: 100 * time.Millisecond},
		"interim answers only": {Raw: []byte("HTTP/1.1 102 Processing\r\n\r\n")},
	} {
		t.Run("response-headers, "+name, func(t *testing.T) {
			t.Parallel()
			i, s := newInitiator(t), newSender(t, within(timeout))
			i.Answer("", answer, standin.Accept)
			check(t, send(t, s, i.BaseURI("")), "response-headers", true)
			require.NoError(t, i.WaitOpen(soon(t), 0), "the connection is closed")
			require.Equal(t, notice.OutcomeDelivered, send(t, s, i.BaseURI("")).Outcome)
			require.Len(t, i.Requests(), 2)
		})
	}
	t.Run("a body of 1 B/s is not waited for", func(t *testing.T) {
		t.Parallel()
		i, s := newInitiator(t), newSender(t, within(timeout))
		i.Answer("", standin.Answer{Body: "slowly", TrickleBody: time.Second})
		r := send(t, s, i.BaseURI(""))
		require.Equal(t, notice.OutcomeDelivered, r.Outcome)
		require.Less(t, r.Elapsed, timeout)
		require.NoError(t, i.WaitOpen(soon(t), 0))
	})
}

func TestAHungConnectionIsNobodyElsesWithinTheClient(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	i.Answer("pay-1", standin.Answer{Stall: standin.AtStatusLine})
	hung := make(chan notice.Result)
	go func() {
		r, _ := s.Send(t.Context(), newAttempt(i.BaseURI("")))
		hung <- r
	}()
	_, err := i.Wait(soon(t), 1, standin.For("pay-1"))
	require.NoError(t, err)
	for range 5 {
		a := newAttempt(i.BaseURI(""))
		a.ResourceID = "pay-2"
		r, err := s.Send(t.Context(), a)
		require.NoError(t, err)
		require.Equal(t, notice.OutcomeDelivered, r.Outcome)
		require.Less(t, r.Elapsed, 2*time.Second)
	}
	require.Equal(t, 2, i.Connections())
	i.Disconnect()
	require.Equal(t, notice.OutcomeConnect, (<-hung).Outcome)
}

// fullBacklog listens on a port whose queue of connections is full, so that a further one is neither made nor refused.
func fullBacklog(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	raw, err := listener.(*net.TCPListener).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }))
	require.NoError(t, err)
	addr := netip.MustParseAddrPort(listener.Addr().String())
	for {
		conn, err := net.DialTimeout("tcp", addr.String(), 300*time.Millisecond)
		if err != nil {
			return int(addr.Port())
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
}
