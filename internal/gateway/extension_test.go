package gateway

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/lab/openapicheck"
	"github.com/arauto/arauto/internal/mtls"
)

// claims makes a call of the extension and returns the answer's claims, or its body where it is not signed.
func (p *poller) claims(method, path string, body any) (status int, header http.Header, text []byte) {
	p.h.t.Helper()
	var sent io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		require.NoError(p.h.t, err)
		sent = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(p.h.t.Context(), method, "https://"+p.h.g.Addr("public")+path, sent)
	require.NoError(p.h.t, err)
	token, err := p.token()
	require.NoError(p.h.t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("x-fapi-interaction-id", uuid.NewString())
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := p.client.Do(r)
	require.NoError(p.h.t, err)
	defer res.Body.Close()
	text, err = io.ReadAll(res.Body)
	require.NoError(p.h.t, err)
	document, err := openapicheck.Open("extension-v1.yaml")
	require.NoError(p.h.t, err)
	require.NoError(p.h.t, document.Check(r, res.StatusCode, res.Header, text), "%s %s: %s", method, path, text)
	if res.Header.Get("Content-Type") == "application/jwt" {
		text, err = base64.RawURLEncoding.DecodeString(strings.Split(string(text), ".")[1])
		require.NoError(p.h.t, err)
	}
	return res.StatusCode, res.Header, text
}

// toldAttempt is what the extension tells of one attempt.
type toldAttempt struct {
	Data struct {
		Notification struct{ ID, ResourceID, State string }
		Attempt      struct {
			Number        int
			InteractionID string
			Outcome, URL  *string
			TLS           *struct{ HolderFingerprint, HolderSerial *string }
		}
		LogKey *string
		Proofs struct{ Attempt, Result *string }
	}
}

// TestAReceiptProvesAnAttemptWithoutUs is "was that you": the answer, and what it is worth without the gateway.
func TestAReceiptProvesAnAttemptWithoutUs(t *testing.T) {
	t.Parallel()
	h := open(t, "ARAUTO_EXTENSION_ENABLED=true")
	h.initiator(certs.DefaultAlfa)
	h.initiator(certs.DefaultBeta)
	id, accepted := h.change(certs.DefaultAlfa)
	n := h.settled(accepted, 1)
	alfa, beta := h.poller(certs.DefaultAlfa), h.poller(certs.DefaultBeta)
	path := "/arauto/v1/notifications/" + n.Attempts[0].InteractionID
	var r toldAttempt
	h.until("the proof of the result", func() bool {
		status, _, text := alfa.claims(http.MethodGet, path, nil)
		require.Equal(t, http.StatusOK, status, "%s", text)
		require.NoError(t, json.Unmarshal(text, &r))
		return r.Data.Proofs.Result != nil
	})
	require.Equal(t, id, r.Data.Notification.ResourceID)
	require.Equal(t, n.Attempts[0].InteractionID, r.Data.Attempt.InteractionID)
	require.Equal(t, "delivered", *r.Data.Attempt.Outcome)
	require.Equal(t, *n.Attempts[0].URL, *r.Data.Attempt.URL)
	ours := h.g.trust.Brands[0].Client.Current().Leaf
	require.Equal(t, mtls.Fingerprint(ours), *r.Data.Attempt.TLS.HolderFingerprint)

	key, err := base64.StdEncoding.DecodeString(*r.Data.LogKey)
	require.NoError(t, err)
	require.Nil(t, r.Data.Proofs.Attempt, "the entry of the change records it, which names the core's address")
	h.verifies(key, []byte(*r.Data.Proofs.Result))

	beta.revealsNothing(http.MethodGet, "/arauto/v1/notifications/", n.Attempts[0].InteractionID, func(string) any { return nil }, http.StatusNotFound)
	beta.revealsNothing(http.MethodPost, "/arauto/v1/events/acks", n.ID, func(id string) any { return map[string]any{"acks": []string{id}} }, http.StatusOK)
	status, _, _ := alfa.claims(http.MethodGet, "/arauto/v1/notifications/no-uuid", nil)
	require.Equal(t, http.StatusBadRequest, status)

	status, _, text := alfa.claims(http.MethodGet, "/arauto/v1/events?missed=false", nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, string(text), n.Attempts[0].InteractionID)
	require.InDelta(t, 1, h.metric(`arauto_feed_events_total{feed="all"}`), 0)
	require.InDelta(t, 0, h.metric(`arauto_feed_events_total{feed="missed"}`), 0)
	require.InDelta(t, 0, h.metric(`arauto_feed_polls_waiting`), 0)
}

// revealsNothing asks for another client's id and for one that nobody has. The answers are the same but for the id asked for, instants,
// and what is drawn anew for each answer. An id without a body stands in the path.
func (p *poller) revealsNothing(method, path, foreign string, body func(id string) any, want int) {
	p.h.t.Helper()
	drawn := regexp.MustCompile(`"(requestDateTime|jti)":"[^"]*"|"iat":\d+`)
	ask := func(id string) (http.Header, string) {
		at, sent := path, body(id)
		if sent == nil {
			at += id
		}
		status, header, text := p.claims(method, at, sent)
		require.Equal(p.h.t, want, status, "%s", text)
		header = header.Clone()
		for _, name := range []string{"Date", "X-Fapi-Interaction-Id", "X-Request-Id"} {
			header.Del(name)
		}
		return header, drawn.ReplaceAllString(strings.ReplaceAll(string(text), id, "ID"), "")
	}
	foreignHeader, foreignText := ask(foreign)
	noneHeader, noneText := ask(uuid.NewString())
	require.Equal(p.h.t, noneText, foreignText, "a foreign id looks like none")
	require.Equal(p.h.t, noneHeader, foreignHeader, "a foreign id looks like none")
}

// verifies holds a proof against both verifiers, as it is and with each of some bits changed. Package audit changes every bit of one.
func (h *house) verifies(key ed25519.PublicKey, proof []byte) {
	h.t.Helper()
	_, err := evidence.VerifyFile(bytes.NewReader(proof), int64(len(proof)), key, nil, audit.WholeMost)
	require.NoError(h.t, err)
	for n, at := 0, 0; at < len(proof); n, at = n+1, at+7 {
		changed := bytes.Clone(proof)
		changed[at] ^= 1 << (n % 8)
		_, err := evidence.VerifyFile(bytes.NewReader(changed), int64(len(changed)), key, nil, audit.WholeMost)
		require.Error(h.t, err, "bit %d of byte %d", n%8, at)
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		h.t.Log("there is no python3: docs/verify.py is not compared")
		return
	}
	keyFile, file := filepath.Join(h.dir, "log.pub.pem"), filepath.Join(h.dir, "proof.txt")
	pem, err := audit.MarshalPublic(key)
	require.NoError(h.t, err)
	require.NoError(h.t, os.WriteFile(keyFile, pem, 0o600))
	require.NoError(h.t, os.WriteFile(file, proof, 0o600))
	out, err := exec.CommandContext(h.t.Context(), python, "../../docs/verify.py", "--key", keyFile, file).CombinedOutput()
	require.NoError(h.t, err, "%s", out)
	fromDocs(h.t, keyFile, key)
	out, err = exec.CommandContext(h.t.Context(), python, "../../docs/verify.py", "--key", file, file).CombinedOutput()
	require.Error(h.t, err)
	require.Contains(h.t, string(out), "argument --key: "+file+" has no public key in PEM")
	proof[len(proof)/2] ^= 1
	require.NoError(h.t, os.WriteFile(file, proof, 0o600))
	require.Error(h.t, exec.CommandContext(h.t.Context(), python, "../../docs/verify.py", "--key", keyFile, file).Run())
}

// fromDocs runs the commands of docs/extension.md that tell a key's file from logKey and make one of it.
func fromDocs(t *testing.T, keyFile string, key ed25519.PublicKey) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Log("there is no openssl: the commands of docs/extension.md are not tried")
		return
	}
	text, err := os.ReadFile("../../docs/extension.md")
	require.NoError(t, err)
	want, err := os.ReadFile(keyFile)
	require.NoError(t, err)
	logKey := base64.StdEncoding.EncodeToString(key)
	var shown, made bool
	for line := range strings.Lines(string(text)) {
		command := strings.TrimSpace(line)
		if !strings.Contains(command, "openssl pkey -pubin") {
			continue
		}
		run := exec.CommandContext(t.Context(), "sh", "-c", command)
		run.Dir, run.Env = t.TempDir(), append(os.Environ(), "logKey="+logKey)
		place := filepath.Join(run.Dir, "holder-log.pub.pem")
		if strings.Contains(command, "-in ") {
			require.NoError(t, os.WriteFile(place, want, 0o600))
		}
		out, err := run.CombinedOutput()
		require.NoError(t, err, "%s: %s", command, out)
		if strings.Contains(command, "-in ") {
			shown = true
			require.Equal(t, logKey, strings.TrimSpace(string(out)))
			continue
		}
		made = true
		got, err := os.ReadFile(place)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
	}
	require.True(t, shown && made, "the commands are in the text")
}

// TestAnInitiatorAsksWhetherItCanBeReached tries an endpoint that is up and one that is down, over real connections.
func TestAnInitiatorAsksWhetherItCanBeReached(t *testing.T) {
	h := open(t, "ARAUTO_EXTENSION_ENABLED=true", "ARAUTO_EXTENSION_REDELIVERY=true")
	up := h.initiator(certs.DefaultAlfa)
	h.initiator(certs.DefaultBeta).Close()
	var got struct {
		Data struct {
			WebhookURI string
			OK         bool
			Steps      []struct {
				Step    string
				OK      bool
				Problem *string
			}
		}
	}
	alfa, beta := h.poller(certs.DefaultAlfa), h.poller(certs.DefaultBeta)
	status, _, text := alfa.claims(http.MethodPost, "/arauto/v1/preflight", nil)
	require.Equal(t, http.StatusOK, status, "%s", text)
	require.NoError(t, json.Unmarshal(text, &got))
	require.True(t, got.Data.OK, "%s", text)
	require.Equal(t, up.BaseURI("/"+certs.DefaultAlfa.Name), got.Data.WebhookURI)
	require.Equal(t, "client certificate", got.Data.Steps[len(got.Data.Steps)-1].Step)
	require.Empty(t, up.Requests(), "nothing was posted")

	_, _, text = beta.claims(http.MethodPost, "/arauto/v1/preflight", nil)
	require.NoError(t, json.Unmarshal(text, &got))
	require.False(t, got.Data.OK, "%s", text)
	require.NotNil(t, got.Data.Steps[len(got.Data.Steps)-1].Problem)
	require.Equal(t, "the address refuses connections at this port", *got.Data.Steps[len(got.Data.Steps)-1].Problem)
	require.NotContains(t, string(text), "127.0.0.1", "addresses outside of the public internet are the bank's matter")
	status, _, _ = beta.claims(http.MethodPost, "/arauto/v1/preflight", nil)
	require.Equal(t, 529, status)
	require.InDelta(t, 1, h.metric(`arauto_polls_shed_total{limit="preflight"}`), 0)

	status, _, text = alfa.claims(http.MethodPost, "/arauto/v1/redelivery", map[string]string{"since": time.Now().AddDate(0, 0, -29).Format(time.RFC3339)})
	require.Equal(t, http.StatusOK, status, "%s", text)
	require.Contains(t, string(text), `"queued":[]`)
}
