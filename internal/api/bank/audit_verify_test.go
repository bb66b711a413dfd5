package bank

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"crypto/ed25519"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/internal/timing"
)

// Consistency proves as package gateway does.
func (s storeLog) Consistency(ctx context.Context, old, size int64) (audit.Consistency, ed25519.PublicKey, error) {
	x, err := s.OpenLog(ctx, size)
	if err != nil {
		return audit.Consistency{}, nil, err
	}
	defer x.Close(ctx)
	p, err := x.ProveSince(ctx, old)
	return p, x.Public, err
}

// asked verifies nothing by itself: the test does the work.
type asked struct{ *auditlog.Log }

func (a asked) AskVerification(ctx context.Context) (history.Verification, error) {
	return a.AskWhole(ctx)
}

func (a asked) Verification(ctx context.Context, began time.Time) (history.Verification, error) {
	return a.WholeVerification(ctx, began)
}

const verificationsPath = "/internal/v1/audit/verifications"

func TestAVerificationIsAskedForFollowedAndRecorded(t *testing.T) {
	a := openArchive(t)
	a.api.cfg.Verifications = asked{a.auditlog}
	began := a.ask("POST", verificationsPath, "auditor", "")
	require.Equal(t, 202, began.status, began.text)
	require.Equal(t, "running", began.body["state"])
	path := began.header.Get("Location")
	require.Equal(t, path, a.ask("POST", verificationsPath, "auditor", "").header.Get("Location"), "one under way is joined")
	require.Equal(t, "running", a.ask("GET", path, "auditor", "").body["state"])
	require.Equal(t, began.body["id"], a.ask("GET", verificationsPath, "auditor", "").body["running"].(map[string]any)["id"])
	require.Len(t, a.readings("verify"), 2)

	for more := true; more; {
		var err error
		_, more, err = a.auditlog.VerifyWhole(t.Context(), a.key.Public(), 1000)
		require.NoError(t, err)
	}
	done := a.ask("GET", path, "auditor", "")
	require.Equal(t, "ok", done.body["state"], done.text)
	require.Equal(t, done.body["size"], done.body["verified"])
	require.NotNil(t, done.body["root"])
	state := a.ask("GET", verificationsPath, "auditor", "")
	require.Nil(t, state.body["running"])
	require.Equal(t, done.body["endedAt"], state.body["whole"].(map[string]any)["okAt"])
	for _, id := range []string{"0", "-1", "01", "x", "99999999999999999999", "4102444800000000"} {
		a.ask("GET", verificationsPath+"/"+id, "auditor", "").refused(t, 404, "not_found")
	}

	a.exec("SET session_replication_role = replica; UPDATE entry SET outcome = 'delivered' WHERE kind = 'result'")
	path = a.ask("POST", verificationsPath, "auditor", "").header.Get("Location")
	_, _, err := a.auditlog.VerifyWhole(t.Context(), a.key.Public(), 1000)
	require.NoError(t, err)
	bad := a.ask("GET", path, "auditor", "")
	require.Equal(t, "bad", bad.body["state"], bad.text)
	require.Less(t, bad.body["fault"].(map[string]any)["seq"], 5.0)
}

func TestConsistencyBetweenTwoDatesIsProvenAndJudged(t *testing.T) {
	a := openArchive(t)
	early := time.Now().UTC()
	a.exec("INSERT INTO arauto.entry (id, kind, facts) SELECT gen_random_uuid(), 'admin', '{}' FROM generate_series(1, 300)")
	a.seal()
	const path = "/internal/v1/audit/consistency"
	got, proof := a.raw(path + "?from=" + early.Format(time.RFC3339Nano))
	require.Equal(t, 200, got.StatusCode, string(proof))
	verdict, err := audit.VerifyConsistency(proof, a.key.Public())
	require.NoError(t, err)
	require.Greater(t, verdict.Size, int64(300))
	require.Len(t, a.readings("consistency"), 1)
	a.ask("GET", path, "auditor", "").refused(t, 400, "invalid_request")
	a.ask("GET", path+"?from=2020-01-01T00:00:00Z", "auditor", "").refused(t, 404, "not_found")
	a.ask("GET", path+"?to=2020-01-01T00:00:00Z&from="+early.Format(time.RFC3339Nano), "auditor", "").refused(t, 404, "not_found")

	judge := func(text string) reply {
		return a.ask("POST", "/internal/v1/audit/judgements", "auditor", text, "Content-Type: application/octet-stream")
	}
	ok := judge(string(proof))
	require.Equal(t, 200, ok.status, ok.text)
	require.Equal(t, []any{"consistency", "ok", true}, []any{ok.body["kind"], ok.body["verdict"], ok.body["inThisLog"]})
	entry, single := a.raw("/internal/v1/audit/entries/2/proof")
	require.Equal(t, 200, entry.StatusCode)
	require.Equal(t, "ok", judge(string(single)).body["verdict"])
	forged := judge(strings.Replace(string(single), "index 2", "index 3", 1))
	require.Equal(t, "bad", forged.body["verdict"], forged.text)
	require.NotNil(t, forged.body["fault"])
	require.Equal(t, "unproven", judge("{}").body["verdict"])
	var paper bytes.Buffer
	require.NoError(t, evidence.NewBreachWriter(&paper, "pdf", evidence.PaperFrom{Lang: "pt"}).End(&timing.ClockReport{Total: &timing.TimingSummary{}}))
	report := judge(paper.String())
	require.Equal(t, []any{"report", "unproven", nil}, []any{report.body["kind"], report.body["verdict"], report.body["fault"]}, report.text)
	require.Contains(t, report.text, "this PDF is a report, which proves nothing; export its period as a bundle")
	judge("").refused(t, 400, "invalid_request")
	last := a.readings("judge")
	require.Len(t, last, 5)
	require.Equal(t, "bad", last[2]["filter"].(map[string]any)["verdict"])
	require.Equal(t, forged.body["sha256"], last[2]["filter"].(map[string]any)["sha256"])
}

func TestAFileThatIsTooLargeToJudgeIsRefusedBeforeItIsRead(t *testing.T) {
	a := openArchive(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url+"/internal/v1/audit/judgements", http.NoBody)
	require.NoError(t, err)
	r.ContentLength, r.Body = maxJudged+1, http.NoBody
	r.Header.Set("Authorization", "Bearer auditor")
	r.Header.Set("Expect", "100-continue")
	x := a.api
	w := &deaf{header: http.Header{}}
	x.ServeHTTP(w, r)
	require.Equal(t, 413, w.status)
}

// deaf is a caller in this process.
type deaf struct {
	header http.Header
	status int
}

func (d *deaf) Header() http.Header       { return d.header }
func (d *deaf) WriteHeader(status int)    { d.status = status }
func (*deaf) Write(p []byte) (int, error) { return len(p), nil }

// TestAFileThatUnfoldsToFarMoreIsJudgedWithoutItsMemory: somebody else made the file, and the gateway has payments to notify.
func TestAFileThatUnfoldsToFarMoreIsJudgedWithoutItsMemory(t *testing.T) {
	a := openArchive(t)
	judge := func(members map[string][]byte) reply {
		var out bytes.Buffer
		to := zip.NewWriter(&out)
		to.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
		for name, text := range members {
			w, err := to.Create(name)
			require.NoError(t, err)
			_, err = w.Write(text)
			require.NoError(t, err)
		}
		require.NoError(t, to.Close())
		return a.ask("POST", "/internal/v1/audit/judgements", "auditor", out.String(), "Content-Type: application/octet-stream")
	}
	bomb := judge(map[string][]byte{"manifest.json": make([]byte, 64<<20)})
	require.Equal(t, []any{200, "bundle", "bad"}, []any{bomb.status, bomb.body["kind"], bomb.body["verdict"]}, bomb.text)
	require.Contains(t, bomb.text, "unfold to more than")

	noise := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // it never fails
	judge(map[string][]byte{
		"noise": noise, "manifest.json": []byte(`{"format":"arauto-bundle/1"}`), "checkpoints.txt": make([]byte, judgedMemory+1),
	}).refused(t, 413, "too_large")
}
