package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/ofb"
)

// said is an answer of the listener of creations.
type said struct {
	status int
	header http.Header
	body   string
}

// payload is the body of a signed answer, whose signature must verify.
func (s said) payload(t *testing.T, holder *jws.KeySet) map[string]any {
	t.Helper()
	require.Equal(t, "application/jwt", s.header.Get("Content-Type"), s.body)
	claims, err := jws.Verify(s.body, holder)
	require.NoError(t, err, s.body)
	return claims
}

// TestAnAnswerToAPOSTHasTheFormOfTheOfficialAPI: its headers, its signature, its errors, and what a repetition with one idempotency key gets.
func TestAnAnswerToAPOSTHasTheFormOfTheOfficialAPI(t *testing.T) {
	g := play(t)
	p, err := pki()
	require.NoError(t, err)
	ask := func(method, path string, body []byte, header http.Header) said {
		req, err := http.NewRequestWithContext(t.Context(), method, g.State.Creation+path, bytes.NewReader(body))
		require.NoError(t, err)
		req.Header = http.Header{"Authorization": {"Bearer " + g.token}, "Content-Type": {"application/json"}, "X-Fapi-Interaction-Id": {uuid.NewString()}}
		for name, values := range header {
			if req.Header[name] = values; values == nil {
				req.Header.Del(name)
			}
		}
		res, err := g.client.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return said{res.StatusCode, res.Header, string(text)}
	}
	plain := func(data any) []byte {
		body, err := json.Marshal(map[string]any{"data": data})
		require.NoError(t, err)
		return body
	}
	signed := func(data any) []byte {
		compact, err := jws.Issue(p.Tokens.Key, "mine", map[string]any{"data": data, "iss": "me", "aud": "you", "iat": time.Now().Unix(), "jti": uuid.NewString()})
		require.NoError(t, err)
		return []byte(compact)
	}
	const path, interaction = "/open-banking/payments/v5/consents", "X-Fapi-Interaction-Id"
	consent := asking(ofb.PaymentConsent, "10.00", "")

	mine := uuid.NewString()
	got := ask(http.MethodPost, path, plain(consent), http.Header{interaction: {mine}})
	require.Equal(t, http.StatusCreated, got.status, got.body)
	require.Equal(t, mine, got.header.Get(interaction))
	require.Equal(t, "5.0.0", got.header.Get("x-v"), "required by payments 5.0.0 and automatic payments")
	for name, bad := range map[string][]string{"missing": nil, "empty": {""}, "malformed": {"abc"}, "twice": {mine, mine}} {
		got := ask(http.MethodPost, path, plain(consent), http.Header{interaction: bad, "Authorization": nil})
		require.Equal(t, http.StatusBadRequest, got.status, "%s: %s", name, got.body)
		require.NoError(t, uuid.Validate(got.header.Get(interaction)), "%s: the holder makes one", name)
	}

	text, err := os.ReadFile(filepath.Join(g.State.PKI, "holder", "jwks.json"))
	require.NoError(t, err)
	keys, err := jws.ParseKeySet(text)
	require.NoError(t, err)
	holder := jws.FixedKeySet(keys)
	once := http.Header{"Content-Type": {"application/jwt"}, "X-Idempotency-Key": {uuid.NewString()}}
	first := ask(http.MethodPost, path, signed(consent), once).payload(t, holder)
	again := ask(http.MethodPost, path, signed(consent), once) // signed anew, as a jti may come only once
	require.Equal(t, http.StatusCreated, again.status, again.body)
	second := again.payload(t, holder)
	require.Equal(t, first["data"], second["data"], "the same key and data make one consent")
	require.NotEqual(t, first["jti"], second["jti"], "no jti comes twice")
	require.Equal(t, certs.DefaultHolder.ID, second["iss"])
	require.Equal(t, certs.DefaultAlfa.Organisation.ID, second["aud"])
	other := ask(http.MethodPost, path, signed(asking(ofb.PaymentConsent, "11.00", "")), once)
	require.Equal(t, http.StatusUnprocessableEntity, other.status)
	refusal := other.payload(t, holder)
	require.Contains(t, refusal, "errors", "422 is signed where the request was")
	require.Equal(t, certs.DefaultAlfa.Organisation.ID, refusal["aud"])
	require.Equal(t, "application/json; charset=utf-8", ask(http.MethodPost, path, plain(map[string]any{"nonsense": 1}), nil).header.Get("Content-Type"))
	unreadable := ask(http.MethodPost, path, []byte("no.jws"), http.Header{"Content-Type": {"application/jwt"}})
	require.Equal(t, http.StatusBadRequest, unreadable.status)
	require.Equal(t, "application/json; charset=utf-8", unreadable.header.Get("Content-Type"), "no other error is signed")

	for status, target := range map[int]string{http.StatusNotFound: path + "/urn:a:b", http.StatusMethodNotAllowed: path} {
		got := ask(http.MethodGet, target, nil, http.Header{interaction: {mine}})
		require.Equal(t, status, got.status, got.body)
		require.Equal(t, mine, got.header.Get(interaction))
		require.Contains(t, got.body, `"errors":[{`)
		require.Contains(t, got.body, g.State.Public, "where to ask instead")
	}
	res, err := g.client.Post(g.State.Creation+"/token", "application/x-www-form-urlencoded", strings.NewReader("grant_type=client_credentials&client_id=alfa"))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"), "RFC 6749 §5.1")
}
