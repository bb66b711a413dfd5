package webhook

import (
	"fmt"
	"net/http/httptrace"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
)

func TestTwoClientsNeverShareAConnection(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	used := map[int]notice.ClientID{}
	for n := range 6 {
		a := newAttempt(i.BaseURI(""))
		a.Client = []notice.ClientID{"client-alfa", "client-beta"}[n%2]
		_, err := s.Send(t.Context(), a)
		require.NoError(t, err)
		number := i.Requests()[n].Connection
		if owner, ok := used[number]; ok {
			require.Equal(t, owner, a.Client)
		}
		used[number] = a.Client
	}
	require.Equal(t, 2, i.Connections())
}

func TestABurstKeepsItsConnections(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	const n = 40
	burst := func() {
		i.Answer("", standin.Answer{Delay: 300 * time.Millisecond})
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				r, err := s.Send(t.Context(), newAttempt(i.BaseURI("")))
				if err != nil || r.Outcome != notice.OutcomeDelivered {
					t.Errorf("%v %v", r, err)
				}
			})
		}
		all.Wait()
	}
	burst()
	first := i.Connections()
	require.Greater(t, first, 2)
	burst()
	made := 0
	for _, h := range i.Handshakes() {
		if h.Err == nil { // a handshake that became needless is given up
			made++
		}
	}
	require.LessOrEqual(t, made, n, "the second burst used the first one's connections")
}

func TestADeadKeptAliveConnectionIsReplacedWithinTheAttempt(t *testing.T) {
	i := newInitiator(t)
	o := new(counter)
	s := newSender(t, func(c *Config) { c.Observer = o })
	send(t, s, i.BaseURI(""))
	i.Disconnect()
	o.waitOpen(t, 0)
	r := send(t, s, i.BaseURI(""))
	require.Equal(t, notice.OutcomeDelivered, r.Outcome, r.Detail)
	require.False(t, r.Reused)
	require.Len(t, i.Requests(), 2)
}

// A connection may die after it was chosen and before anything is written. Closing it below the TLS layer stands in for that
// moment, which cannot be timed from outside.
func TestAConnectionThatDiesBeforeTheFirstByteIsReplacedWithinTheAttempt(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	send(t, s, i.BaseURI(""))
	var once sync.Once
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		once.Do(func() { require.NoError(t, info.Conn.(*conn).socket.Close()) })
	}})
	r, err := s.Send(ctx, newAttempt(i.BaseURI("")))
	require.NoError(t, err)
	require.Equal(t, 202, r.HTTPStatus)
	require.Equal(t, notice.OutcomeDelivered, r.Outcome)
	require.False(t, r.Reused)
	require.Len(t, i.Requests(), 2)
	require.Equal(t, 2, i.Connections())
}

func TestForgetClosesOneClientsConnections(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	for _, client := range []notice.ClientID{"client-alfa", "client-beta"} {
		a := newAttempt(i.BaseURI(""))
		a.Client = client
		_, err := s.Send(t.Context(), a)
		require.NoError(t, err)
	}
	require.Equal(t, 2, i.Open())
	s.Forget("client-beta")
	require.NoError(t, i.WaitOpen(soon(t), 1))
	require.True(t, send(t, s, i.BaseURI("")).Reused)
}

func TestForgetLetsAnAttemptOnItsWayEnd(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	i.Answer("", standin.Answer{Delay: 300 * time.Millisecond})
	done := make(chan notice.Result)
	go func() {
		r, _ := s.Send(t.Context(), newAttempt(i.BaseURI("")))
		done <- r
	}()
	_, err := i.Wait(soon(t), 1, nil)
	require.NoError(t, err)
	s.Forget("client-alfa")
	require.Equal(t, notice.OutcomeDelivered, (<-done).Outcome)
	require.NoError(t, i.WaitOpen(soon(t), 0), "its connection is not kept")
}

func TestANewCertificateIsUsedAtOnceAndOldConnectionsAreClosed(t *testing.T) {
	pki := mtlstest.PKI(t)
	files := mtlstest.Write(t, mtlstest.Leaf(t, pki.HolderBRCAC()))
	identity, err := mtls.LoadIdentity(files.Cert, files.Key, mtls.AsClient)
	require.NoError(t, err)
	i := newInitiator(t)
	s := newSender(t, func(c *Config) { c.Identity = identity })
	first := send(t, s, i.BaseURI(""))

	files.Replace(t, mtlstest.Leaf(t, pki.HolderBRCAC()))
	changed, err := identity.Reload()
	require.NoError(t, err)
	require.True(t, changed)
	s.Refresh()
	require.NoError(t, i.WaitOpen(soon(t), 0), "closed without waiting for the next attempt")

	second := send(t, s, i.BaseURI(""))
	require.Equal(t, notice.OutcomeDelivered, second.Outcome)
	require.False(t, second.Reused)
	require.NotEqual(t, first.TLS.OwnSerial, second.TLS.OwnSerial)
	require.Equal(t, identity.Current().Leaf.SerialNumber.Text(16), second.TLS.OwnSerial)

	files.Replace(t, mtlstest.Leaf(t, pki.HolderBRCAC()))
	_, err = identity.Reload()
	require.NoError(t, err)
	third := send(t, s, i.BaseURI(""))
	require.NotEqual(t, second.TLS.OwnSerial, third.TLS.OwnSerial, "the next attempt notices by itself")
	require.NoError(t, i.WaitOpen(soon(t), 1))
}

func TestAnAuthorityThatIsNoLongerTrustedIsRefusedAtTheNextAttempt(t *testing.T) {
	pki := mtlstest.PKI(t)
	file := filepath.Join(t.TempDir(), "roots.pem")
	mtlstest.WriteAnchors(t, file, pki.Root)
	roots, err := mtls.LoadAnchors(file)
	require.NoError(t, err)
	i := newInitiator(t)
	s := newSender(t, func(c *Config) { c.Roots = roots })
	send(t, s, i.BaseURI(""))

	mtlstest.WriteAnchors(t, file, pki.ClientCA)
	_, err = roots.Reload()
	require.NoError(t, err)
	r := send(t, s, i.BaseURI(""))
	require.Equal(t, notice.OutcomeTLS, r.Outcome, r.Detail)
	require.NoError(t, i.WaitOpen(soon(t), 0))
	require.Len(t, i.Requests(), 1)
}

func TestWhatNobodyUsesIsDropped(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	before := time.Now()
	send(t, s, i.BaseURI(""))
	idle(t, s)
	s.sweep(before.Add(dropUnused - 1))
	require.Len(t, s.endpoints, 1)
	s.sweep(time.Now().Add(dropUnused))
	require.Empty(t, s.endpoints)
	require.NoError(t, i.WaitOpen(soon(t), 0))
}

func TestConnectionsThatNobodyUsesMakeRoomForOthers(t *testing.T) {
	i, o := newInitiator(t), new(counter)
	s := newSender(t, func(c *Config) { c.Observer, c.Connections = o, 8 })
	for n := range 40 { // forty initiators, each told once: idle connections would be forty
		a := newAttempt(i.BaseURI(""))
		a.Client = notice.ClientID(fmt.Sprintf("client-%d", n))
		r, err := s.Send(t.Context(), a)
		require.NoError(t, err)
		require.Equal(t, notice.OutcomeDelivered, r.Outcome, r.Detail)
		require.LessOrEqual(t, s.open.Load(), int64(9), "closing takes a moment, and one is being added")
	}
	require.Len(t, i.Requests(), 40)
	a := newAttempt(i.BaseURI(""))
	a.Client = "client-39"
	r, err := s.Send(t.Context(), a)
	require.NoError(t, err)
	require.True(t, r.Reused, "the one used last stays open")
}
