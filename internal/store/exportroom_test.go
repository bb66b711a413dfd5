package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
)

// TestOldFilesMakeRoomForNewOnes: finished files lie in the primary database, so the oldest go first, and say so.
func TestOldFilesMakeRoomForNewOnes(t *testing.T) {
	s := openSealed(t)
	s.full(10)
	s.seal()
	var old []history.Export
	for range 4 {
		old = append(old, s.request(history.Search{}, "jsonl"))
	}
	for i, e := range old { // 200 MiB each, as far as anybody counts, the last one the newest
		_, err := s.owner.Exec(t.Context(), "UPDATE export_job SET state = 'done', bytes = 200 << 20, ended_at = now() - interval '1 hour' + make_interval(mins => $2), expires_at = now() + interval '1 hour' WHERE id = $1", [16]byte(e.ID), i)
		require.NoError(t, err)
		_, err = s.owner.Exec(t.Context(), "INSERT INTO export_piece (job, n, data) VALUES ($1, 0, 'x')", [16]byte(e.ID))
		require.NoError(t, err)
	}
	fresh := s.request(history.Search{}, "jsonl")
	made, err := s.maker().Make(t.Context())
	require.NoError(t, err)
	require.True(t, made)
	require.Equal(t, s.direct(fresh), s.file(fresh))
	for i, e := range old {
		now := s.exportNow(e)
		if i < 2 {
			require.Equal(t, history.ExportFailed, now.State)
			require.Contains(t, now.Problem, "to make room for newer ones")
			require.Zero(t, now.Bytes)
			require.Empty(t, s.file(e))
			continue
		}
		require.Equal(t, history.ExportDone, now.State)
		require.Equal(t, []byte("x"), s.file(e))
	}
	var told, pieces int
	require.NoError(t, s.owner.QueryRow(t.Context(), "SELECT count(*) FROM entry WHERE kind = 'admin' AND outcome = 'export-removed'").Scan(&told))
	require.Equal(t, 2, told)
	require.NoError(t, s.owner.QueryRow(t.Context(), "SELECT count(*) FROM export_piece WHERE job = ANY($1)", [][16]byte{old[0].ID, old[1].ID}).Scan(&pieces))
	require.Zero(t, pieces)

	last := s.request(history.Search{}, "jsonl") // larger than all may be together
	claimed, err := s.log.ClaimExport(t.Context())
	require.NoError(t, err)
	require.Equal(t, last.ID, claimed.ID)
	require.NoError(t, s.log.AddPiece(t.Context(), claimed, 0, []byte("x")))
	_, err = s.owner.Exec(t.Context(), "UPDATE export_job SET bytes = 600 << 20 WHERE id = $1", [16]byte(last.ID))
	require.NoError(t, err)
	require.NoError(t, s.log.FinishExport(t.Context(), claimed, 1, ""))
	require.Equal(t, history.ExportFailed, s.exportNow(fresh).State)
	require.Equal(t, history.ExportDone, s.exportNow(last).State, "the newest stays, however large")
	require.NotEmpty(t, s.file(last))
}
