package bus_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/bustest"
	"github.com/arauto/arauto/internal/watch/bus"
)

// shake connects over TLS, and tells how each side saw it.
func shake(t *testing.T, server, client *tls.Config) (name string, err error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	require.NoError(t, err)
	defer l.Close()
	seen := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if secure, is := conn.(*tls.Conn); is && secure.HandshakeContext(context.Background()) == nil && len(secure.ConnectionState().PeerCertificates) > 0 {
			seen <- secure.ConnectionState().PeerCertificates[0].Subject.CommonName
			return
		}
		seen <- ""
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	if client.ServerName == "" {
		client.ServerName = "127.0.0.1"
	}
	secure := tls.Client(conn, client)
	defer secure.Close()
	err = secure.HandshakeContext(t.Context())
	return <-seen, err
}

func TestABusIsBelievedByItsAuthorityAndItsNameAlone(t *testing.T) {
	ours, err := bustest.NewAuthority(t.TempDir())
	require.NoError(t, err)
	others, err := bustest.NewAuthority(t.TempDir())
	require.NoError(t, err)
	settings := ours.Client(t, "reader")
	config, err := settings.Config()
	require.NoError(t, err)

	name, err := shake(t, ours.Server(t, "bus"), config.Clone())
	require.NoError(t, err)
	require.Equal(t, "reader", name)

	_, err = shake(t, others.Server(t, "bus"), config.Clone())
	require.ErrorContains(t, err, "unknown authority")

	_, err = shake(t, ours.Server(t, "elsewhere", "bus.other.example"), config.Clone())
	require.ErrorContains(t, err, "certificate")

	named := *settings
	named.ServerName = "bus.other.example"
	config, err = named.Config()
	require.NoError(t, err)
	_, err = shake(t, ours.Server(t, "elsewhere", "bus.other.example"), config)
	require.NoError(t, err)
}

func TestARenewedCertificateIsShownWithoutANewConfiguration(t *testing.T) {
	a, err := bustest.NewAuthority(t.TempDir())
	require.NoError(t, err)
	settings := a.Client(t, "before")
	config, err := settings.Config()
	require.NoError(t, err)
	certificate, key, err := a.Issue("after")
	require.NoError(t, err)
	require.NoError(t, os.Rename(certificate, settings.Certificate))
	require.NoError(t, os.Rename(key, settings.Key))
	name, err := shake(t, a.Server(t, "bus"), config)
	require.NoError(t, err)
	require.Equal(t, "after", name)
}

func TestFilesThatAreMissingOrEmptyAreNamed(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	_, err := bus.Login{User: "u", PasswordFile: empty}.Password()
	require.ErrorContains(t, err, "password_file: "+empty+" is empty")
	_, err = bus.Login{User: "u", PasswordFile: empty + "no"}.Password()
	require.ErrorContains(t, err, "password_file")
	_, err = (&bus.TLS{CA: empty}).Config()
	require.ErrorContains(t, err, "tls.ca: "+empty+" holds no certificate")
	password, err := bus.Login{User: "u", PasswordFile: bustest.Password(t, "a b ")}.Password()
	require.NoError(t, err)
	require.Equal(t, "a b ", password)
	config, err := (*bus.TLS)(nil).Config()
	require.NoError(t, err)
	require.Nil(t, config)
}
