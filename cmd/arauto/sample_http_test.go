package main

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
)

// sampleFile is a file of docs/samples.
func sampleFile(parts ...string) string {
	return filepath.Join(append([]string{"..", "..", "docs", "samples"}, parts...)...)
}

// runSample runs the script of the HTTP sample with the given environment, and nothing else that steers it.
func runSample(t *testing.T, environ ...string) (out, complaints string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", sampleFile("http", "run.sh"))
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, environ...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

// TestTheHTTPSampleConnectsACore runs the script as a stranger does, by bash and curl against a running gateway.
func TestTheHTTPSampleConnectsACore(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	h := open(t, stage.Options{Settings: unhurried})
	token, err := h.Token("sample", "registrar", "ingest", "auditor")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
	environ := []string{
		"ARAUTO_URL=http://" + h.replica.Internal, "ARAUTO_TOKEN_FILE=" + file, "WEBHOOK_URI=" + h.good.BaseURI("/sample"), "CLIENT=stranger",
	}

	out, complaints, err := runSample(t, environ...)
	require.NoError(t, err, out+complaints)
	require.Empty(t, complaints)
	changed := regexp.MustCompile(`"outcome":"(\w+)","notifications":\[\{"id":"([^"]+)"\}\]`).FindAllStringSubmatch(out, -1)
	require.Len(t, changed, 2, out)
	require.Equal(t, []string{"applied", "duplicate"}, []string{changed[0][1], changed[1][1]})
	require.Equal(t, changed[0][2], changed[1][2], "the same change names the same notification")
	require.Contains(t, out, `"state":"delivered"`)

	n, err := h.core.Load().Notification(t.Context(), changed[0][2])
	require.NoError(t, err)
	require.Equal(t, []string{"stranger", "pix-payment", "ACSC", "delivered"}, []string{n.ClientID, n.Kind, n.Status, n.State})
	require.Len(t, n.Attempts, 1)
	require.Contains(t, out, n.ResourceID)
	arrived := slices.DeleteFunc(h.good.Requests(), func(r standin.Request) bool { return !standin.For(n.ResourceID)(&r) })
	require.Len(t, arrived, 1, "told once")
	require.Equal(t, "/sample/open-banking/webhook/v1/payments/v5/pix/payments/"+n.ResourceID, arrived[0].Target)
	require.Equal(t, n.Attempts[0].InteractionID, arrived[0].Interaction)

	var registered initiator
	require.NoError(t, h.core.Load().Call(t.Context(), http.MethodGet, "/internal/v1/initiators/stranger", nil, &registered))
	require.Equal(t, []string{h.good.BaseURI("/sample")}, registered.WebhookURIs)

	again, complaints, err := runSample(t, environ...)
	require.NoError(t, err, again+complaints)
	require.NotContains(t, again, n.ResourceID, "each run has a payment of its own")

	receiver := listening(t) // as the page has it: the initiator is arauto listen
	shown, complaints, err := runSample(t, append(slices.Clone(environ), "WEBHOOK_URI=https://localhost:"+receiver.addr+"/sample")...)
	require.NoError(t, err, shown+complaints)
	require.NotContains(t, receiver.out.until(t, `(?s)(POST /sample/open-banking/webhook/v1/payments/v5/pix/payments/curl-sample-.*answer 202)`), "WRONG")
}

func TestTheHTTPSampleSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	_, complaints, err := runSample(t, "ARAUTO_URL=http://127.0.0.1:1", "ARAUTO_TOKEN_FILE=/dev/null")
	require.Error(t, err)
	require.Contains(t, complaints, "WEBHOOK_URI: is not set")
	_, complaints, err = runSample(t, "ARAUTO_URL=http://127.0.0.1:1", "ARAUTO_TOKEN_FILE=/dev/null", "WEBHOOK_URI=https://localhost/sample")
	require.Error(t, err)
	require.Contains(t, complaints, "curl: (7)")
}
