package mtls_test

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/keystock"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/mtls"
)

func TestCallerIsReadByOIDInOldAndNewStyleAndBothOrders(t *testing.T) {
	for _, old := range []bool{false, true} {
		for _, reverse := range []bool{false, true} {
			profile := alfa(t)
			profile.OldStyle, profile.ReverseOrder = old, reverse
			cert := mtlstest.Leaf(t, profile).Certificate
			caller, err := mtls.CallerOf(cert)
			require.NoError(t, err)
			require.Equal(t, certs.DefaultAlfa.Organisation.ID, caller.OrganisationID)
			require.Equal(t, certs.DefaultAlfa.SoftwareID, caller.SoftwareID)
			require.Equal(t, cert.SerialNumber.Text(16), caller.Serial)
			require.Contains(t, caller.Issuer, "CN=Arauto Development Issuing CA V10")
			require.Equal(t, cert.NotAfter, caller.NotAfter)
			require.True(t, caller.Is(strings.ToUpper(certs.DefaultAlfa.Organisation.ID), certs.DefaultAlfa.SoftwareID))
			require.False(t, caller.Is(certs.DefaultBeta.Organisation.ID, certs.DefaultAlfa.SoftwareID))
			require.False(t, caller.Is(certs.DefaultAlfa.Organisation.ID, certs.DefaultBeta.SoftwareID))
			sum := sha256.Sum256(cert.Raw)
			require.Equal(t, base64.RawURLEncoding.EncodeToString(sum[:]), caller.Thumbprint)
			require.Equal(t, hex.EncodeToString(sum[:]), caller.Fingerprint)
			require.Len(t, caller.Thumbprint, 43)
		}
	}
}

// named is a certificate of which only the subject matters.
func named(attributes ...pkix.AttributeTypeAndValue) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{Names: attributes}}
}

var (
	organizationIdentifier = asn1.ObjectIdentifier{2, 5, 4, 97}
	organizationalUnit     = asn1.ObjectIdentifier{2, 5, 4, 11}
	userID                 = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
	commonName             = asn1.ObjectIdentifier{2, 5, 4, 3}
)

func attr(oid asn1.ObjectIdentifier, value any) pkix.AttributeTypeAndValue {
	return pkix.AttributeTypeAndValue{Type: oid, Value: value}
}

func TestCallersThatCannotBeToldForCertainAreRefused(t *testing.T) {
	const id, other = "1a5f0b7c-93de-4e1f-8b62-0c4d9e7a3f10", "c7e9d1a4-58b3-4f06-9d2c-6a1e0f8b7c35"
	uid := attr(userID, "software")
	refused := map[string][]pkix.AttributeTypeAndValue{
		"empty subject":                     nil,
		"no UID":                            {attr(organizationIdentifier, "OFBBR-"+id)},
		"two UIDs":                          {attr(organizationIdentifier, "OFBBR-"+id), uid, uid},
		"no organisation":                   {uid},
		"other scheme":                      {attr(organizationIdentifier, "NTRBR-"+id), uid},
		"scheme in lower case":              {attr(organizationIdentifier, "ofbbr-"+id), uid},
		"scheme alone":                      {attr(organizationIdentifier, "OFBBR-"), uid},
		"two organisations":                 {attr(organizationIdentifier, "OFBBR-"+id), attr(organizationIdentifier, "OFBBR-"+other), uid},
		"other scheme does not fall to OU":  {attr(organizationIdentifier, "PSDBR-1"), attr(organizationalUnit, id), uid},
		"two OUs that could be ids":         {attr(organizationalUnit, id), attr(organizationalUnit, other), uid},
		"two OUs that are no ids":           {attr(organizationalUnit, "Sales"), attr(organizationalUnit, "AC X"), uid},
		"control characters":                {attr(organizationIdentifier, "OFBBR-a\r\nb"), uid},
		"blank inside":                      {attr(organizationIdentifier, "OFBBR-a b"), uid},
		"not ASCII":                         {attr(organizationIdentifier, "OFBBR-é"), uid},
		"endless":                           {attr(organizationIdentifier, "OFBBR-"+strings.Repeat("a", 200)), uid},
		"not text":                          {attr(organizationIdentifier, 7), uid},
		"empty UID":                         {attr(organizationIdentifier, "OFBBR-"+id), attr(userID, "")},
		"organisation only in common name":  {attr(commonName, "OFBBR-"+id), uid},
		"identifier text in the wrong type": {attr(organizationIdentifier, []byte("OFBBR-"+id)), uid},
	}
	for name, attributes := range refused {
		_, err := mtls.CallerOf(named(attributes...))
		require.ErrorIs(t, err, mtls.ErrNotBRCAC, name)
		require.NotContains(t, err.Error(), id, name)
	}
	caller, err := mtls.CallerOf(named(attr(organizationalUnit, "AC Exemplo"), attr(organizationalUnit, id), uid))
	require.NoError(t, err)
	require.Equal(t, id, caller.OrganisationID)
	caller, err = mtls.CallerOf(named(attr(organizationIdentifier, "OFBBR-"+id), attr(organizationalUnit, other), uid))
	require.NoError(t, err)
	require.Equal(t, id, caller.OrganisationID, "the old place does not matter beside the new one")
}

func TestSubjectsAreSafeToPrint(t *testing.T) {
	text := mtls.Subject(named(
		attr(commonName, "<script>\r\n\x1b[31m\u202e,O=Bank"), attr(asn1.ObjectIdentifier{2, 5, 4, 5}, "11222333000181"),
		attr(organizationalUnit, strings.Repeat("x", 1000)), attr(userID, 3),
	))
	require.NotContains(t, text, "11222333000181")
	text = mtls.Subject(named(attr(commonName, "<script>\r\n\x1b[31m\u202e,O=Bank")))
	require.Equal(t, `CN=\3Cscript\3E\0D\0A\1B[31m?\2CO\3DBank`, text)
	require.LessOrEqual(t, len(mtls.Subject(named(attr(commonName, strings.Repeat("é", 1000))))), 256)
}

func FuzzCallerOf(f *testing.F) {
	pki, err := certs.New(certs.Options{SharedLeafKey: true, NewKey: keystock.New})
	require.NoError(f, err)
	for _, old := range []bool{false, true} {
		profile := pki.HolderBRCAC()
		profile.OldStyle = old
		leaf, err := pki.Issue(profile)
		require.NoError(f, err)
		f.Add(leaf.Certificate.RawSubject)
	}
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, subject []byte) {
		var sequence pkix.RDNSequence
		if rest, err := asn1.Unmarshal(subject, &sequence); err != nil || len(rest) > 0 {
			return
		}
		cert := named()
		cert.Subject.FillFromRDNSequence(&sequence)
		printed := mtls.Subject(cert)
		require.LessOrEqual(t, len(printed), 256)
		require.True(t, utf8.ValidString(printed))
		require.NotContains(t, printed, "\n")
		caller, err := mtls.CallerOf(cert)
		if err != nil {
			require.ErrorIs(t, err, mtls.ErrNotBRCAC)
			return
		}
		require.NotEmpty(t, caller.OrganisationID)
		require.NotEmpty(t, caller.SoftwareID)
		for _, id := range []string{caller.OrganisationID, caller.SoftwareID} {
			require.Regexp(t, `^[!-~]{1,128}$`, id)
		}
	})
}
