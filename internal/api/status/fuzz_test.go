package status_test

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/cost"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// stub answers for token, database and record, so that the handler alone is tried.
type stub struct {
	thumbprint [sha256.Size]byte
	mu         sync.Mutex
	polls      int
}

func (s *stub) Verify(_ context.Context, token string) (jws.AccessToken, error) {
	if token != "good" {
		return jws.AccessToken{}, &jws.Refusal{Code: jws.Malformed}
	}
	return jws.AccessToken{ClientID: clientAlfa, Scopes: []string{"payments", "recurring-payments"}, Thumbprint: s.thumbprint}, nil
}

func (s *stub) Read(_ context.Context, q notice.Question) (notice.PollReading, error) {
	var stored notice.Stored
	if q.Kind != 0 {
		version, status := q.Kind.Versions()[0], q.Kind.Initial()
		stored = notice.Stored{Kind: q.Kind, ID: q.ID, APIVersion: version, Status: status, Document: openapitest.Document(q.Kind, version, status, q.ID)}
	}
	return notice.PollReading{
		Now: time.Now(), Found: true, Mine: true, Stored: stored,
		Initiator: &notice.Initiator{OrganisationID: certs.DefaultAlfa.Organisation.ID, SoftwareID: certs.DefaultAlfa.SoftwareID},
	}, nil
}

func (s *stub) Record(_ context.Context, p notice.Poll) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.polls += 1 + int(p.Facts.Suppressed) // refusals that are counted have a record together
	_, err := json.Marshal(p)
	return err
}

func (s *stub) Ready() error { return nil }

// stubbed is the handler behind stubs, and the connection of an initiator it knows.
func stubbed(t testing.TB) (*status.Public, *stub, *tls.ConnectionState) {
	t.Helper()
	leaf := mtlstest.Leaf(t, mtlstest.PKI(t).InitiatorBRCAC(certs.DefaultAlfa))
	s := &stub{thumbprint: sha256.Sum256(leaf.Certificate.Raw)}
	public, err := status.NewPublic(stubConfig(t, s))
	require.NoError(t, err)
	return public, s, &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf.Certificate}}
}

// stubConfig is a configuration of stubs, without limits.
func stubConfig(t testing.TB, s *stub) status.PublicConfig {
	t.Helper()
	signers, err := jws.OpenSigners(jws.SignersConfig{Keys: []jws.SigningKey{{KID: sealKID, Key: sealKey(t)}}})
	require.NoError(t, err)
	return status.PublicConfig{
		BaseURL: statusBase, OrganisationID: certs.DefaultHolder.ID, Tokens: s, Keys: signers, Resources: s, Polls: s,
		Limits: status.Limits{Rate: 1 << 30, ClientRate: 1 << 30},
	}
}

// sealKey is the key the holder's answers are signed with.
func sealKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	return mtlstest.Leaf(t, mtlstest.PKI(t).HolderSeal()).Key
}

// try sends one request through the handler; false when no server would have handed such a request on.
func try(public *status.Public, state *tls.ConnectionState, method, target string, header http.Header) (*httptest.ResponseRecorder, bool) {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, false
	}
	r := &http.Request{
		Method: method, URL: u, RequestURI: target, Header: header, TLS: state, RemoteAddr: "192.0.2.1:4711", Proto: "HTTP/1.1", ProtoMajor: 1,
		ProtoMinor: 1, Body: http.NoBody, Host: "api.banco.example.com",
	}
	w := httptest.NewRecorder()
	public.ServeHTTP(w, r)
	return w, true
}

// judge says what is wrong with an answer, "" if nothing: whatever was asked, it is a JWT or a well-formed 4xx.
func judge(w *httptest.ResponseRecorder, method string) string {
	id := w.Header().Get("x-fapi-interaction-id")
	if _, err := uuid.Parse(id); err != nil || len(id) != 36 {
		return "interaction id is " + id
	}
	switch {
	case w.Code == http.StatusOK:
		if method != http.MethodGet || w.Header().Get("Content-Type") != "application/jwt" {
			return "200 without a JWT"
		}
	case w.Code >= 400 && w.Code < 500:
		var body struct {
			Errors []struct{ Code, Title, Detail string }
			Meta   struct{ RequestDateTime time.Time }
		}
		if json.Unmarshal(w.Body.Bytes(), &body) != nil || len(body.Errors) != 1 || body.Errors[0].Code == "" || body.Meta.RequestDateTime.IsZero() {
			return "malformed error " + w.Body.String()
		}
	default:
		return http.StatusText(w.Code)
	}
	return ""
}

func goodHeader() http.Header {
	return http.Header{"Authorization": {"Bearer good"}, "X-Fapi-Interaction-Id": {uuid.NewString()}}
}

func FuzzStatusPath(f *testing.F) {
	public, _, state := stubbed(f)
	for _, kind := range ofb.Kinds() {
		f.Add("/open-banking/payments/v4/pix/payments/"+ofb.EscapeID(openapitest.SampleID(kind, 1)), "GET")
	}
	f.Add("/open-banking/payments/v5/consents/urn:a:%2F%3f%23%00", "GET")
	f.Add("/open-banking/automatic-payments/v2/pix/recurring-payments?recurringConsentId=urn:a:b&startDate=2026-01-01", "GET")
	f.Add("//../..;/%2e%2e/%c0%af?;=&&%", "HEAD")
	f.Add("http://a@b:c/open-banking", "CONNECT")
	f.Fuzz(func(t *testing.T, target, method string) {
		if w, ok := try(public, state, method, target, goodHeader()); ok {
			require.Empty(t, judge(w, method))
		}
	})
}

func FuzzStatusQuery(f *testing.F) {
	public, _, state := stubbed(f)
	for _, q := range []string{
		"startDate=2026-01-01&endDate=2026-12-31", "startDate=%00", "access_token=x", "a=b;c=d", "%zz", "recurringConsentId=urn:a:b",
		"recurringConsentId=urn:a:b&originalRecurringPaymentId='", "startDate=2026-02-30", "=&=&=", "startDate=\u202e2026-01-01",
	} {
		f.Add(q, "*/*", "")
	}
	f.Add("", "application/jwt;q=0.5, ;;,=", "utf-8;q=x")
	f.Fuzz(func(t *testing.T, query, accept, charset string) {
		header := goodHeader()
		header["Accept"], header["Accept-Charset"] = []string{accept}, []string{charset}
		for _, path := range []string{"/open-banking/payments/v4/consents/urn:a:b/pix/payments", "/open-banking/automatic-payments/v2/pix/recurring-payments"} {
			require.Empty(t, cost.Parser.Within(len(query)+len(accept)+len(charset), func() { try(public, state, http.MethodGet, path+"?"+query, header) }))
			if w, ok := try(public, state, http.MethodGet, path+"?"+query, header); ok {
				require.Empty(t, judge(w, http.MethodGet))
			}
		}
	})
}

func FuzzStatusHeader(f *testing.F) {
	public, _, state := stubbed(f)
	f.Add("Bearer good", "c4c2c8a8-4b9d-4c0a-9d57-1c2d3e4f5a6b")
	f.Add("bearer  good", "")
	f.Add("Bearer", "C4C2C8A8-4B9D-4C0A-9D57-1C2D3E4F5A6B ")
	f.Add("Basic x\r\nX: y", "\r\nSet-Cookie: a")
	f.Fuzz(func(t *testing.T, authorization, interaction string) {
		header := http.Header{"Authorization": {authorization}, "X-Fapi-Interaction-Id": {interaction}}
		w, ok := try(public, state, http.MethodGet, "/open-banking/payments/v4/pix/payments/a", header)
		require.True(t, ok)
		require.Empty(t, judge(w, http.MethodGet))
		if got := w.Header().Get("x-fapi-interaction-id"); got == interaction {
			require.Len(t, interaction, 36)
		}
	})
}

// TestTenThousandMutatedRequestsAreAnswered is case L1 for the status endpoints, with a fixed seed.
func TestTenThousandMutatedRequestsAreAnswered(t *testing.T) {
	public, s, state := stubbed(t)
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{
		"/open-banking/payments/v4", "/consents/", "/pix/payments", "/", "urn:banco:1", "%2f", "%00", "%25", "..", ";", "?", "&", "startDate=", "2026-01-01",
		"recurringConsentId=", "'", "$1", "\u202e", "%ff", "/open-banking/automatic-payments/v2/pix/recurring-payments", "access_token=", "v5", "a-b", "#",
	}
	values := []string{"good", "Bearer ", "Bearer good", uuid.NewString(), "*/*", "application/jwt", "\x00", "é", strings.Repeat("x", 3000), "q=0", ",", ";"}
	names := []string{"Authorization", "X-Fapi-Interaction-Id", "Accept", "Accept-Charset", "Content-Type", "X-Http-Method-Override"}
	methods := []string{"GET", "GET", "GET", "GET", "HEAD", "POST", "TRACE", "get", ""}
	var took []time.Duration
	before := heap()
	for n := 0; len(took) < 10_000; n++ {
		var target strings.Builder
		target.WriteString([]string{"/open-banking/payments/v4/pix/payments/", "/open-banking/payments/v5/consents/", "/"}[random.IntN(3)])
		for range random.IntN(6) {
			target.WriteString(pieces[random.IntN(len(pieces))])
		}
		bytes := []byte(target.String())
		for range random.IntN(3) {
			bytes[random.IntN(len(bytes))] = byte(random.IntN(256))
		}
		header := goodHeader()
		for range random.IntN(3) {
			header.Add(names[random.IntN(len(names))], values[random.IntN(len(values))])
		}
		method := methods[random.IntN(len(methods))]
		began := time.Now()
		w, ok := try(public, state, method, string(bytes), header)
		if !ok {
			continue
		}
		took = append(took, time.Since(began))
		require.Empty(t, judge(w, method), "%s %q %v", method, bytes, header)
	}
	require.NoError(t, public.RecordRefused(t.Context(), true))
	require.GreaterOrEqual(t, s.polls, 10_000, "each is recorded, or counted in a record")
	slices.Sort(took)
	t.Logf("p50 %s p99 %s", took[len(took)/2], took[len(took)*99/100])
	require.Less(t, took[len(took)*99/100], 50*time.Millisecond)
	require.Less(t, heap(), before+16<<20)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
