package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

func TestTheCertificateSeenLastIsKept(t *testing.T) {
	b := newBench(t)
	now := time.Now().UTC().Truncate(time.Microsecond)
	c := notice.SeenCertificate{Client: "itp", SeenAt: now, ShownCertificate: notice.ShownCertificate{
		Subject: "CN=itp", Issuer: "CN=ca", Serial: "1f", Fingerprint: "ab", NotAfter: now.Add(-time.Hour), Wrong: "tls: it has expired",
	}}
	older, other := c, c
	older.SeenAt, older.Serial = now.Add(-time.Second), "2f"
	other.Client, other.SeenAt, other.Wrong = "other", now.Add(time.Second), ""
	for _, seen := range [][]notice.SeenCertificate{{c}, {older, other}, nil} {
		require.NoError(t, b.store.SaveReceivers(t.Context(), seen))
	}
	all, err := b.store.Receivers(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []notice.SeenCertificate{other, c}, all)
	all, err = b.store.Receivers(t.Context(), 1)
	require.NoError(t, err)
	require.Len(t, all, 1)
}
