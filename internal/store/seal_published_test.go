package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// sealAgainst seals until something is sealed or refused, comparing with published heads.
func (s *sealedHistory) sealAgainst(heads ...audit.Checkpoint) error {
	s.t.Helper()
	published := make([]auditlog.PublishedHead, len(heads))
	for i, c := range heads {
		published[i] = auditlog.PublishedHead{Checkpoint: c, Where: "the test"}
	}
	var err error
	require.Eventually(s.t, func() bool {
		var out auditlog.SealStep
		out, err = s.log.Seal(s.t.Context(), s.key, published...)
		return err != nil || out.Entries > 0
	}, time.Minute, time.Millisecond)
	return err
}

// TestTheSealerSignsNothingThatDoesNotExtendWhatWasPublished, be it shorter or another log of the same length; after a signed
// statement of loss it does, and only for what the statement names.
func TestTheSealerSignsNothingThatDoesNotExtendWhatWasPublished(t *testing.T) {
	s := openSealed(t)
	s.full(300)
	s.seal()
	kept := s.last()
	s.full(100)
	s.seal()
	early := s.last()
	s.full(200)
	s.seal()
	published := s.last()
	s.forget(300)
	s.tamper("DELETE FROM entry WHERE xid > (SELECT max(xid) FROM log_position)")
	s.full(10)
	require.ErrorIs(t, s.sealAgainst(kept, published), store.ErrSetBack, "shorter")
	require.NoError(t, s.log.Extends(t.Context(), s.public, auditlog.PublishedHead{Checkpoint: kept}))
	require.ErrorIs(t, s.log.Extends(t.Context(), s.public, auditlog.PublishedHead{Checkpoint: early}), store.ErrSetBack)

	forged := published
	forged.Size, forged.Root = 300, audit.EmptyRoot()
	require.ErrorIs(t, s.sealAgainst(forged), store.ErrSetBack, "another log of the same length")
	forged.Size = 250
	require.ErrorIs(t, s.sealAgainst(forged), store.ErrSetBack, "another log that was shorter")

	_, err := auditlog.StateLoss(t.Context(), s.url, s.key, []audit.Checkpoint{kept}, audit.Loss{By: "Ana", Why: "a restore"})
	require.ErrorIs(t, err, store.ErrNothingLost)
	_, err = auditlog.StateLoss(t.Context(), s.url, s.key, []audit.Checkpoint{early, published}, audit.Loss{By: "Ana", Why: "two\nlines"})
	require.ErrorContains(t, err, "reason: ")
	said, err := auditlog.StateLoss(t.Context(), s.url, s.key, []audit.Checkpoint{early, published, kept}, audit.Loss{By: "Ana", Why: "a restore"})
	require.NoError(t, err)
	require.Equal(t, audit.Tree{Size: 300, Root: kept.Root}, said.Kept)
	require.Len(t, said.Lost, 1, "the largest head admits the others")
	require.Equal(t, published.Size, said.Lost[0].Size)

	later := published
	later.Size++
	require.ErrorIs(t, s.sealAgainst(later), store.ErrSetBack, "a head that the statement does not name")
	require.NoError(t, s.sealAgainst(kept, early, published), "heads that it names")
	s.seal()
	v, err := s.verify(kept, early, published, s.last())
	require.NoError(t, err)
	require.Equal(t, int64(311), v.Entries)
	require.Len(t, v.Notes, 1)
	require.Contains(t, v.Notes[0], "the positions 300 to 599 as they were published are lost: a restore (stated by Ana at ")
	_, err = auditlog.StateLoss(t.Context(), s.url, s.key, []audit.Checkpoint{early, published}, audit.Loss{By: "Ana", Why: "a restore"})
	require.ErrorIs(t, err, store.ErrNothingLost, "it is stated already")

	once := s.last()
	s.full(20)
	s.seal()
	more := s.last()
	s.forget(int(once.Size))
	s.tamper("DELETE FROM entry WHERE xid > (SELECT max(xid) FROM log_position)")
	s.full(30)
	require.ErrorIs(t, s.sealAgainst(more), store.ErrSetBack, "set back once more, and nobody says so")
	s.bad(once.Size, "the end is cut off", more)
}

// TestALossThatTheOwnerWritesWithoutTheLogsKeyIsNotSealed and admits nothing.
func TestALossThatTheOwnerWritesWithoutTheLogsKeyIsNotSealed(t *testing.T) {
	s := openSealed(t)
	s.full(30)
	s.seal()
	kept := s.last()
	s.full(30)
	s.seal()
	published := s.last()
	s.forget(30)
	s.tamper("DELETE FROM entry WHERE xid > (SELECT max(xid) FROM log_position)")
	other := openSealed(t)
	signed, err := other.key.SignLoss(audit.Loss{Kept: audit.Tree{Size: kept.Size, Root: kept.Root}, Lost: []audit.Checkpoint{published}, At: kept.At, By: "x", Why: "y"})
	require.NoError(t, err)
	_, err = s.owner.Exec(t.Context(), "INSERT INTO entry (id, kind, outcome, facts) VALUES (gen_random_uuid(), 'loss', 'stated', json_build_object('statement', $1::text))", string(signed))
	require.NoError(t, err)
	require.ErrorIs(t, s.sealAgainst(published), store.ErrSetBack)
	require.ErrorIs(t, s.refused(), store.ErrTampered)
}

// TestTheNewestCheckpointThatEveryAnchorHasIsTold: facts count as anchored an hour before it, since transactions may overlap; the
// checkpoint itself is out there.
func TestTheNewestCheckpointThatEveryAnchorHasIsTold(t *testing.T) {
	s := openSealed(t)
	s.full(3)
	s.seal()
	told := func() (at, through time.Time) {
		head, err := s.log.Head(t.Context())
		require.NoError(t, err)
		health, err := s.log.LogHealth(t.Context())
		require.NoError(t, err)
		require.Equal(t, head.AnchoredAt, health.AnchoredAt)
		return head.AnchoredAt, head.AnchoredThrough
	}
	at, through := told()
	require.Zero(t, at)
	require.Zero(t, through)
	first := s.last().At.Time()
	require.NoError(t, s.log.MarkAnchored(t.Context(), first))
	s.full(3)
	s.seal()
	at, through = told()
	require.True(t, at.Equal(first), "%s, and the newer one is in no anchor", at)
	require.True(t, through.Equal(first.Add(-time.Hour)))
}
