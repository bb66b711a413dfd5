package bank

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/tiles"
)

// afterReading requires that nobody who records a reading of the log still holds the connection it was read with: with more callers than
// connections, each would wait for one that another holds.
type afterReading struct {
	Readings

	t     *testing.T
	open  *atomic.Int64
	alone *atomic.Bool // one call at a time is made
}

func (a afterReading) RecordReading(ctx context.Context, r history.LogReading) error {
	if r.Act == "tiles" && a.alone.Load() {
		assert.Zero(a.t, a.open.Load())
	}
	return a.Readings.RecordReading(ctx, r)
}

// overHTTP is the log as a mirror reads it from the listener.
func (a *archive) overHTTP() *tiles.Site {
	return &tiles.Site{URL: a.url + "/internal/v1/audit/log", Token: "auditor", Client: a.client}
}

// TestAMirrorFollowsTheInternalListener with a token, entries included, and what it reads is recorded: hashes once a minute, each bundle
// of entries by itself.
func TestAMirrorFollowsTheInternalListener(t *testing.T) {
	var open atomic.Int64
	var alone atomic.Bool
	a := openArchive(t, func(c *InternalConfig) {
		log := c.Audited.(storeLog).Log
		c.Tiles = func(ctx context.Context) (tiles.TreeSource, func(), error) {
			x, err := log.OpenLog(ctx, 0)
			if err != nil {
				return nil, nil, err
			}
			open.Add(1)
			return x, func() { open.Add(-1); x.Close(ctx) }, nil
		}
		c.Readings = afterReading{c.Readings, t, &open, &alone}
	})
	a.exec("INSERT INTO entry (id, kind, client_id, facts) SELECT gen_random_uuid(), 'poll', 'itp', '{}' FROM generate_series(1, 300)")
	a.seal()
	key, err := audit.ParseLogKey(audit.VerifierKey(a.key.Public()))
	require.NoError(t, err)
	m := &tiles.Mirror{Remote: a.overHTTP(), Log: key, Dir: t.TempDir(), Entries: true}
	done, err := m.Round(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 305, done.Size)
	require.Zero(t, done.Left)
	all := a.readings("tiles")
	files := map[any]int{}
	for _, r := range all {
		require.Equal(t, "who-auditor", r["actor"])
		files[r["filter"].(map[string]any)["file"]]++
	}
	require.Equal(t, map[any]int{"hashes": 1, "tile/entries/000": 1, "tile/entries/001.p/49": 1}, files)

	for path, status := range map[string]int{"checkpoint": 200, "tile/0/001.p/50": 404, "tile/0/1": 404, "nothing": 404, "checkpoint?x=1": 400} {
		got, text := a.raw("/internal/v1/audit/log/" + path)
		require.Equal(t, status, got.StatusCode, "%s: %s", path, text)
	}
	alone.Store(true)
	got, _ := a.raw("/internal/v1/audit/log/tile/entries/000")
	require.Equal(t, 200, got.StatusCode)
	before := len(a.readings("not-found"))
	for _, absent := range []string{"tile/0/002", "tile/0/003", "tile/entries/004"} {
		got, _ := a.raw("/internal/v1/audit/log/" + absent)
		require.Equal(t, 404, got.StatusCode)
	}
	require.Len(t, a.readings("not-found"), before, "files that are not there are recorded once a minute")
	for _, role := range []string{"operator", "registrar", "ingest"} {
		a.ask("GET", "/internal/v1/audit/log/checkpoint", role, "").refused(t, 403, "forbidden")
	}
	a.ask("GET", "/internal/v1/audit/log/checkpoint", "", "").refused(t, 401, "unauthorized")
}

// TestAProofCanBeAskedForWithACosignedCheckpoint: by ?witnessed=true, once a witness has vouched.
func TestAProofCanBeAskedForWithACosignedCheckpoint(t *testing.T) {
	a := openArchive(t)
	a.ask("GET", "/internal/v1/audit/entries/2/proof?witnessed=true", "auditor", "").refused(t, 404, "not_found")
	head, err := a.auditlog.Checkpoint(t.Context(), 0)
	require.NoError(t, err)
	w, key := newWitness(t)
	a.vouch(w, key, head)
	a.exec("INSERT INTO entry (id, kind, client_id, facts) VALUES (gen_random_uuid(), 'poll', 'itp', '{}')")
	a.seal()
	got, text := a.raw("/internal/v1/audit/entries/2/proof?witnessed=true")
	require.Equal(t, 200, got.StatusCode, string(text))
	v, err := audit.VerifyProof(text, a.key.Public())
	require.NoError(t, err)
	require.Equal(t, head.Checkpoint.Size, v.Size)
	p, err := audit.ParseProof(text)
	require.NoError(t, err)
	said, err := audit.ReadCosignatures(p.Checkpoint, a.key.Public(), []audit.WitnessKey{w})
	require.NoError(t, err)
	require.Len(t, said, 1)
	_, text = a.raw("/internal/v1/audit/checkpoints?witnessed=true")
	var c struct{ Size int64 }
	require.NoError(t, json.Unmarshal(text, &c))
	require.Equal(t, head.Checkpoint.Size, c.Size)
	a.ask("GET", "/internal/v1/audit/entries/5?witnessed=true", "auditor", "").refused(t, 404, "not_found")
	for _, query := range []string{"witnessed=yes", "witnessed=true&size=5"} {
		a.ask("GET", "/internal/v1/audit/entries/2?"+query, "auditor", "").refused(t, 400, "invalid_request")
	}
}

func newWitness(t *testing.T) (audit.WitnessKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	w, err := audit.NewWitnessKey("w.example", public)
	require.NoError(t, err)
	return w, private
}

// vouch stores what a witness says of a checkpoint.
func (a *archive) vouch(w audit.WitnessKey, key ed25519.PrivateKey, head audit.SignedHead) {
	a.t.Helper()
	line, err := w.Cosign(head.Note, key, time.Now())
	require.NoError(a.t, err)
	said, err := audit.ReadCosignatures(append(bytes.Clone(head.Note), line...), a.key.Public(), []audit.WitnessKey{w})
	require.NoError(a.t, err)
	require.NoError(a.t, a.auditlog.KeepCosignature(a.t.Context(), head.Checkpoint.Size, said[0]))
}
