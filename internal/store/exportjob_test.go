package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// maker makes exports as serve does.
func (s *sealedHistory) maker() evidence.Maker {
	return evidence.Maker{Jobs: s.log, Version: "0", Open: func(ctx context.Context, size int64, progress func(int64)) (evidence.SealedLog, func(), error) {
		x, err := s.log.OpenLogForLong(ctx, size)
		if err != nil {
			return nil, nil, err
		}
		x.Progress = progress
		return x, func() { x.Close(ctx) }, nil
	}}
}

func (s *sealedHistory) request(search history.Search, format string) history.Export {
	s.t.Helper()
	e, err := s.log.RequestExport(asAuditor(s.t), history.Export{Search: search, Format: format})
	require.NoError(s.t, err)
	require.Equal(s.t, history.ExportWaiting, e.State)
	return e
}

func (s *sealedHistory) file(e history.Export) []byte {
	s.t.Helper()
	var out bytes.Buffer
	for n := 0; ; n++ {
		piece, err := s.log.ExportPiece(s.t.Context(), e.ID, n)
		require.NoError(s.t, err)
		if piece == nil {
			return out.Bytes()
		}
		out.Write(piece)
	}
}

func (s *sealedHistory) exportNow(e history.Export) history.Export {
	s.t.Helper()
	now, err := s.log.Export(s.t.Context(), e.ID)
	require.NoError(s.t, err)
	return now
}

// direct is the same export as the command line makes it.
func (s *sealedHistory) direct(e history.Export) []byte {
	s.t.Helper()
	x, err := auditlog.OpenExport(s.t.Context(), s.url, e.Size)
	require.NoError(s.t, err)
	defer x.Close(s.t.Context())
	f, known := evidence.FormatNamed(e.Format)
	require.True(s.t, known)
	var out bytes.Buffer
	_, err = f.Write(s.t.Context(), x, e.Search, "0", &out)
	require.NoError(s.t, err)
	return out.Bytes()
}

func TestABackgroundExportHasTheBytesOfTheCommandLine(t *testing.T) {
	s := openSealed(t)
	s.full(5200) // some pieces of 1 MiB, and two windows of a walk
	s.seal()
	for _, f := range evidence.Formats() {
		for _, search := range []history.Search{{}, {ResourceID: "p-7"}, {Client: "client-5199"}, {Client: "nobody"}} {
			e := s.request(search, f.Name)
			s.full(1)
			s.seal() // a newer checkpoint must not show
			made, err := s.maker().Make(t.Context())
			require.NoError(t, err)
			require.True(t, made)
			done := s.exportNow(e)
			require.Equal(t, history.ExportDone, done.State, done.Problem)
			text := s.file(e)
			require.Equal(t, s.direct(e), text, "%s %v", f.Name, search.Filter())
			sum := sha256.Sum256(text)
			require.Equal(t, hex.EncodeToString(sum[:]), done.SHA256)
			require.EqualValues(t, len(text), done.Bytes)
			require.Equal(t, done.Size, done.Walked)
			if f.Name == "bundle" && len(search.Filter()) == 0 {
				require.Equal(t, done.Size, done.Entries)
				require.Greater(t, len(text), 3<<20, "one piece shows nothing")
				verdict, err := audit.VerifyBundle(bytes.NewReader(text), int64(len(text)), s.public, nil)
				require.NoError(t, err)
				require.Equal(t, done.Size, verdict.Entries)
			}
		}
	}
	made, err := s.maker().Make(t.Context())
	require.NoError(t, err)
	require.False(t, made)
	var told []string
	require.NoError(t, s.owner.QueryRow(t.Context(), `SELECT array_agg(DISTINCT outcome || ' ' || (facts->>'actor') || ' ' || (facts->>'source') ORDER BY outcome || ' ' || (facts->>'actor') || ' ' || (facts->>'source'))
FROM entry WHERE kind = 'admin' AND facts->>'sha256' IS DISTINCT FROM ''`).Scan(&told))
	require.Equal(t, []string{"export ana 192.0.2.7:4711", "export-requested ana 192.0.2.7:4711"}, told)
}

// dying are jobs whose maker loses the database after some pieces, as one that was killed.
type dying struct {
	*auditlog.Log
	mu    sync.Mutex
	after int
}

var errKilled error = killed("killed")

type killed string

func (k killed) Error() string { return string(k) }
func (killed) Transient() bool { return true }

func (d *dying) AddPiece(ctx context.Context, e *history.Export, n int, data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n >= d.after {
		return errKilled
	}
	return d.Log.AddPiece(ctx, e, n, data)
}

func TestAnotherReplicaTakesOverAnExportWhoseMakerDied(t *testing.T) {
	s := openSealed(t)
	s.full(5200)
	s.seal()
	e := s.request(history.Search{}, "jsonl")
	first := s.maker()
	first.Jobs = &dying{Log: s.log, after: 2}
	made, err := first.Make(t.Context())
	require.True(t, made)
	require.ErrorIs(t, err, errKilled)
	half := s.exportNow(e)
	require.Equal(t, history.ExportRunning, half.State)
	require.EqualValues(t, 2<<20, half.Bytes)
	require.Empty(t, s.file(e), "half a file is nobody's")

	made, err = s.maker().Make(t.Context())
	require.NoError(t, err)
	require.False(t, made, "the lease of the dead one still runs")
	_, err = s.owner.Exec(t.Context(), "UPDATE export_job SET lease_until = now() - interval '1 second'")
	require.NoError(t, err)
	second, err := s.log.ClaimExport(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, half.Token, second.Token)
	for _, late := range []error{
		s.log.AddPiece(t.Context(), &half, 0, []byte("x")), s.log.KeepExport(t.Context(), &half, 1), s.log.FinishExport(t.Context(), &half, 1, ""),
		s.log.FailExport(t.Context(), &half, "x"), s.log.ReleaseExport(t.Context(), &half),
	} {
		require.ErrorIs(t, late, store.ErrExportLost, "who was believed dead and is not can do no harm while another is at it")
	}
	require.NoError(t, s.log.ReleaseExport(t.Context(), second))
	made, err = s.maker().Make(t.Context())
	require.NoError(t, err)
	require.True(t, made)
	done := s.exportNow(e)
	require.Equal(t, history.ExportDone, done.State)
	require.Equal(t, 2, done.Starts)
	require.Equal(t, s.direct(e), s.file(e), "begun anew, not gone on with")
	require.ErrorIs(t, s.log.AddPiece(t.Context(), &half, 2, []byte("x")), store.ErrExportLost, "who was believed dead and is not can do no harm")
	require.ErrorIs(t, s.log.FinishExport(t.Context(), &half, 1, ""), store.ErrExportLost)
	require.Equal(t, s.direct(e), s.file(e))
}

func TestAnExportOverWhichMakersDieIsGivenUp(t *testing.T) {
	s := openSealed(t)
	s.full(10)
	s.seal()
	e := s.request(history.Search{}, "jsonl")
	maker := s.maker()
	maker.Jobs = &dying{Log: s.log}
	for range 3 {
		made, err := maker.Make(t.Context())
		require.True(t, made)
		require.ErrorIs(t, err, errKilled)
		_, err = s.owner.Exec(t.Context(), "UPDATE export_job SET lease_until = now() - interval '1 second'")
		require.NoError(t, err)
	}
	made, err := maker.Make(t.Context())
	require.NoError(t, err)
	require.False(t, made)
	require.Equal(t, history.ExportFailed, s.exportNow(e).State)
	require.Contains(t, s.exportNow(e).Problem, "begun 3 times")
}

// TestADeletedExportIsNotGoneOnWith: its maker notices by its next sign of life.
func TestADeletedExportIsNotGoneOnWith(t *testing.T) {
	s := openSealed(t)
	s.full(10)
	s.seal()
	e := s.request(history.Search{}, "jsonl")
	maker := s.maker()
	maker.Alive = time.Millisecond
	open := maker.Open
	maker.Open = func(ctx context.Context, size int64, progress func(int64)) (evidence.SealedLog, func(), error) {
		require.NoError(t, s.log.DeleteExport(asAuditor(t), e.ID))
		<-ctx.Done() // the sign of life found nothing to be alive for
		return open(context.WithoutCancel(ctx), size, progress)
	}
	_, err := maker.Make(t.Context())
	require.ErrorIs(t, err, store.ErrExportLost)
	_, err = s.log.Export(t.Context(), e.ID)
	require.ErrorIs(t, err, store.ErrNotFound)
	require.ErrorIs(t, s.log.DeleteExport(asAuditor(t), e.ID), store.ErrNotFound)
}

func TestAnExportThatIsGivenBackIsTakenUpAtOnce(t *testing.T) {
	s := openSealed(t)
	s.full(10)
	s.seal()
	e := s.request(history.Search{}, "jsonl")
	ctx, cancel := context.WithCancel(t.Context())
	maker := s.maker()
	open := maker.Open
	maker.Open = func(c context.Context, size int64, progress func(int64)) (evidence.SealedLog, func(), error) {
		cancel() // the replica is asked to end
		return open(context.WithoutCancel(c), size, progress)
	}
	_, err := maker.Make(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, history.ExportWaiting, s.exportNow(e).State)
	made, err := s.maker().Make(t.Context())
	require.NoError(t, err)
	require.True(t, made)
	require.Equal(t, history.ExportDone, s.exportNow(e).State)
}

func TestExportsAreBounded(t *testing.T) {
	s := openSealed(t)
	s.full(10)
	_, err := s.log.RequestExport(asAuditor(t), history.Export{Format: "jsonl"})
	require.ErrorIs(t, err, store.ErrNoCheckpoint, "nothing is sealed yet")
	s.seal()
	e := s.request(history.Search{}, "jsonl")
	_, err = s.owner.Exec(t.Context(), "UPDATE export_job SET bytes = 1073741824 - 100")
	require.NoError(t, err)
	claimed, err := s.log.ClaimExport(t.Context())
	require.NoError(t, err)
	require.Zero(t, claimed.Bytes, "a new maker begins anew")
	_, err = s.owner.Exec(t.Context(), "UPDATE export_job SET bytes = 1073741824 - 100")
	require.NoError(t, err)
	require.NoError(t, s.log.AddPiece(t.Context(), claimed, 0, make([]byte, 100)))
	require.ErrorIs(t, s.log.AddPiece(t.Context(), claimed, 1, make([]byte, 1)), store.ErrExportLarge)
	_, err = s.owner.Exec(t.Context(), "UPDATE export_job SET bytes = 1; INSERT INTO export_job (id, filter, format, size, requested_by, role, source, state, bytes) SELECT gen_random_uuid(), '{}', 'jsonl', 1, 'x', 'x', 'x', 'done', 1073741824 FROM generate_series(1, 4)")
	require.NoError(t, err)
	require.ErrorIs(t, s.log.AddPiece(t.Context(), claimed, 1, make([]byte, 1)), store.ErrExportSpace)
	_, err = s.owner.Exec(t.Context(), "DELETE FROM export_job WHERE id <> $1", [16]byte(e.ID))
	require.NoError(t, err)
	for range 19 {
		s.request(history.Search{}, "jsonl")
	}
	_, err = s.log.RequestExport(asAuditor(t), history.Export{Format: "jsonl"})
	require.ErrorIs(t, err, store.ErrExports)
	_, err = s.owner.Exec(t.Context(), "UPDATE export_job SET state = 'done', expires_at = now() - interval '1 second'")
	require.NoError(t, err)
	claimed, err = s.log.ClaimExport(t.Context())
	require.NoError(t, err)
	require.Nil(t, claimed)
	list, err := s.log.Exports(t.Context())
	require.NoError(t, err)
	require.Empty(t, list, "what has expired is gone")
	var pieces int
	require.NoError(t, s.owner.QueryRow(t.Context(), "SELECT count(*) FROM export_piece").Scan(&pieces))
	require.Zero(t, pieces)
}

// TestAnIDOfManyEntriesIsExportedAndMakesNoDocument: a client may ask for one payment as often as it likes, and each answer is an entry. A
// hundred thousand took a dossier five minutes and 600 MiB of the gateway.
func TestAnIDOfManyEntriesIsExportedAndMakesNoDocument(t *testing.T) {
	s := openSealed(t)
	polls := func(n int) {
		_, err := s.owner.Exec(t.Context(), `INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, interaction_id, outcome, facts)
SELECT gen_random_uuid(), 'poll', 'itp', 2, 'p-' || n % 2, gen_random_uuid(), '200', '{}' FROM generate_series(1, $1) n`, 2*n)
		require.NoError(t, err)
		s.seal()
	}
	found := func(reader func(context.Context, int64) (*auditlog.LogReader, error)) (n int64, err error) {
		x, err := reader(t.Context(), 0)
		require.NoError(t, err)
		defer x.Close(t.Context())
		err = x.Each(t.Context(), history.Search{ResourceID: "p-1"}, func(*audit.Sealed) error { n++; return nil })
		return n, err
	}
	polls(10_000)
	n, err := found(s.log.OpenLog)
	require.NoError(t, err)
	require.EqualValues(t, 10_000, n)
	polls(1)
	n, err = found(s.log.OpenLog)
	require.Zero(t, n)
	require.True(t, failure.TooWide(err), "%v", err)

	e := s.request(history.Search{ResourceID: "p-1"}, "jsonl")
	made, err := s.maker().Make(t.Context())
	require.NoError(t, err)
	require.True(t, made)
	now := s.exportNow(e)
	require.Equal(t, history.ExportDone, now.State)
	require.EqualValues(t, 10_001, now.Entries)
	require.Equal(t, 10_001, bytes.Count(s.file(e), []byte(`"resourceId":"p-1"`)))
}
