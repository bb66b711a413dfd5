package webhook

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// TestEachBrandSendsUnderItsOwnIdentity has two brands notify one address for one client id.
func TestEachBrandSendsUnderItsOwnIdentity(t *testing.T) {
	t.Parallel()
	holders := map[brand.Prefix]Holder{}
	for _, name := range []brand.Prefix{"", "prata"} {
		p := mtlstest.PKI(t).HolderBRCAC()
		p.DNSNames = []string{"api." + string(name) + "x.example.com"}
		p.Organisation = certs.Organisation{ID: p.Organisation.ID, Name: "Marca X" + string(name), CNPJ: p.Organisation.CNPJ}
		holders[name] = Holder{Identity: mtlstest.Identity(t, p, mtls.AsClient), AuthorisationServerID: "as-" + string(name)}
	}
	i := newInitiator(t)
	s := newSender(t, func(c *Config) { c.Identity, c.Brands = nil, holders })
	attempt := func(of brand.Prefix) notice.Attempt {
		n := newAttempt(i.BaseURI("/hook" + string(of)))
		n.Client, n.Kind, n.APIVersion, n.ResourceID = brand.Key(of, n.Client), ofb.Enrollment, "v2", brand.Key(of, "urn:banco:1")
		return n
	}
	for range 3 { // the later ones on kept connections
		for _, of := range []brand.Prefix{"", "prata"} {
			r, err := s.Send(t.Context(), attempt(of))
			require.NoError(t, err)
			require.Equal(t, notice.OutcomeDelivered, r.Outcome, r.Detail)
		}
	}
	requests := i.Requests()
	require.Len(t, requests, 6)
	for n, r := range requests {
		of := []brand.Prefix{"", "prata"}[n%2]
		require.Equal(t, []string{"api." + string(of) + "x.example.com"}, r.TLS.PeerCertificates[0].DNSNames)
		require.Equal(t, "as-"+string(of), r.Get(ofb.HeaderAuthorisationServerID))
		require.Contains(t, r.Target, "/urn:banco:1", "the bare id")
		require.NotContains(t, r.Target, "prata%20")
	}
	require.Equal(t, 2, i.Connections(), "no connection is shared by two brands")

	_, err := s.Send(t.Context(), attempt("cobre"))
	require.ErrorIs(t, err, ErrBrand)
	steps := s.ProbeAs(t.Context(), "cobre", i.BaseURI(""))
	require.ErrorIs(t, steps[len(steps)-1].Err, ErrBrand)
	steps = s.ProbeAs(t.Context(), "prata", i.BaseURI(""))
	require.NoError(t, steps[len(steps)-1].Err)
	require.Equal(t, 3, i.Connections())
}
