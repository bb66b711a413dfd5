package openapitest_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/ofb"
)

func TestSampleIDsAreValidAndDifferent(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for _, kind := range ofb.Kinds() {
		for n := range 1000 {
			id := openapitest.SampleID(kind, n)
			require.NoError(t, kind.CheckID(id))
			require.Regexp(t, uuid, strings.TrimPrefix(id, "urn:bancoexemplo:"))
			require.False(t, seen[id])
			seen[id] = true
		}
	}
}

func TestTimesAreThoseGivenInSecondsOfUTC(t *testing.T) {
	created := time.Date(2026, 11, 21, 22, 30, 15, 999, time.FixedZone("", -3*60*60))
	data := openapitest.Data(ofb.PaymentConsent, "v5", ofb.Authorised, "urn:b:1",
		openapitest.Created(created), openapitest.Updated(created.Add(time.Minute)))
	require.Equal(t, "2026-11-22T01:30:15Z", data["creationDateTime"])
	require.Equal(t, "2026-11-22T01:31:15Z", data["statusUpdateDateTime"])
	require.Equal(t, "2026-11-22T02:31:15Z", data["expirationDateTime"], "an hour after the authorisation")
	require.Equal(t, "2026-11-21", data["payment"].(map[string]any)["date"], "a day of Brasília")
}

func TestTheSameResourceHasTheSameDocument(t *testing.T) {
	at := openapitest.Created(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	require.Equal(t,
		string(openapitest.Document(ofb.PixPayment, "v4", ofb.SCHD, "p-1", at, openapitest.UnderConsent("urn:b:1"))),
		string(openapitest.Document(ofb.PixPayment, "v4", ofb.SCHD, "p-1", at, openapitest.UnderConsent("urn:b:1"))))
}

func TestAMistakeOfTheCallerPanics(t *testing.T) {
	require.Panics(t, func() { openapitest.Document(ofb.PixPayment, "v2", ofb.ACSC, "p-1") })
	require.Panics(t, func() { openapitest.Document(ofb.PixPayment, "v5", ofb.Authorised, "p-1") })
}
