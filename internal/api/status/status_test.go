package status_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/ofb"
)

func TestAPaymentIsAnsweredSignedForItsOwner(t *testing.T) {
	d := openDesk(t).both()
	id, document := sample(ofb.PixPayment, "v5", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v5", 1, document)
	path := "/open-banking/payments/v5/pix/payments/" + id
	interaction := uuid.NewString()

	a := d.alfa.get(path+"?x=%41", with("x-fapi-interaction-id", interaction))
	s := d.open(a)
	require.JSONEq(t, string(document), string(s.Data))
	require.Equal(t, certs.DefaultHolder.ID, s.Iss)
	require.JSONEq(t, `"`+certs.DefaultAlfa.Organisation.ID+`"`, string(s.Aud), "aud is a plain string")
	require.InDelta(t, time.Now().Unix(), s.Iat, 5)
	parsed, err := uuid.Parse(s.JTI)
	require.NoError(t, err)
	require.EqualValues(t, 4, parsed.Version())
	require.Equal(t, map[string]string{"self": statusBase + path + "?x=%41"}, s.Links)
	_, err = time.Parse("2006-01-02T15:04:05Z", s.Meta["requestDateTime"])
	require.NoError(t, err)
	require.Equal(t, interaction, a.header.Get("x-fapi-interaction-id"))
	require.Equal(t, "5.0.0", a.header.Get("x-v"))
	require.NotEmpty(t, a.header.Get("Date"))

	again := d.open(d.alfa.get(path))
	require.NotEqual(t, s.JTI, again.JTI, "bytes are never sent twice")

	entries := d.entries()
	require.Len(t, entries, 2)
	e := entries[0]
	require.Equal(t, interaction, e.interaction)
	require.Equal(t, "200", e.outcome)
	require.Equal(t, clientAlfa, e.client)
	require.EqualValues(t, ofb.PixPayment, e.kind)
	require.Equal(t, id, e.resource)
	require.Equal(t, s.JTI, e.facts.JTI)
	require.Equal(t, sealKID, e.facts.KID)
	require.Equal(t, ofb.ACSC, e.facts.Status)
	require.Equal(t, d.alfa.leaf.Certificate.SerialNumber.Text(16), e.facts.Certificate)
	require.Contains(t, e.facts.Source, "127.0.0.1:")
	require.Len(t, e.facts.TokenHash, 32)
	require.Positive(t, e.facts.DurationUS)
	require.Equal(t, "replica-1 0", e.facts.System)
	require.NotContains(t, d.log.String(), "Bearer")
	require.Contains(t, d.log.String(), s.JTI)
	require.NotContains(t, d.log.String(), "%41", "values of the query string stay out of the log")

	timeline := readTimeline(t, d, ofb.PixPayment, id)
	require.Equal(t, []string{"change", "poll", "poll"}, timeline)
}
