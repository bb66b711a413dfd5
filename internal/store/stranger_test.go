package store_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/store"
)

// TestAnAuthorityThatNobodyNamedIsToldHowToBeNamed: a bank's database has a certificate of the bank's own authority.
func TestAnAuthorityThatNobodyNamedIsToldHowToBeNamed(t *testing.T) {
	pki := mtlstest.PKI(t)
	leaf, err := pki.Issue(pki.HolderServer())
	require.NoError(t, err)
	server, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			var request [8]byte // SSLRequest
			_, _ = io.ReadFull(c, request[:])
			_, _ = c.Write([]byte("S"))
			_ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}, MinVersion: tls.VersionTLS12}).HandshakeContext(t.Context())
			_ = c.Close()
		}
	}()
	_, err = pgx.Connect(t.Context(), "postgres://arauto@"+server.Addr().String()+"/arauto?sslmode=verify-full")
	require.NoError(t, server.Close())
	<-done
	err = store.Unavailable("connect", err)
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.ErrorContains(t, err, "sslrootcert=FILE")
}
