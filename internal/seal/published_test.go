package seal

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/store"
)

// setBack takes the database back to the checkpoint of a size, as a restore or a standby does that lacks the last transactions.
func (p *proof) setBack(size int) {
	p.t.Helper()
	_, err := p.owner.Exec(p.t.Context(), fmt.Sprintf(`SET session_replication_role = replica; DELETE FROM arauto.log_position WHERE seq >= %[1]d;
DELETE FROM arauto.log_checkpoint WHERE size > %[1]d; DELETE FROM arauto.entry e WHERE NOT EXISTS (SELECT FROM arauto.log_position p WHERE p.id = e.id);
SET session_replication_role = origin`, size))
	require.NoError(p.t, err)
}

// stops runs rounds until sealing is refused, and returns why.
func (p *proof) stops(s *Sealer) (err error) {
	p.t.Helper()
	size := p.value(s, "size")
	require.Eventually(p.t, func() bool {
		err = s.round(p.t.Context())
		return err != nil || p.value(s, "size") > size
	}, 30*time.Second, time.Millisecond)
	require.Error(p.t, err, "it sealed on")
	s.complain(err)
	return err
}

// TestADatabaseThatIsSetBackUnderARunningGatewayIsNotSealedOn is found F21: no anchor took anything, and no process was restarted.
func TestADatabaseThatIsSetBackUnderARunningGatewayIsNotSealedOn(t *testing.T) {
	p := openProof(t)
	s := p.must(p.sealer(config.Development, t.TempDir(), "", ""))
	p.write(10)
	p.sealed(s, 10)
	p.write(5)
	p.sealed(s, 15)
	require.Empty(t, s.Notes(false))
	p.setBack(10)
	p.write(20)
	err := p.stops(s)
	require.ErrorIs(t, err, store.ErrSetBack)
	require.ErrorContains(t, err, "this process has a checkpoint of 15 entries")
	require.InDelta(t, 1, p.value(s, "sealing_stopped"), 0)
	require.Len(t, s.Notes(false), 1)
	require.Contains(t, s.Notes(false)[0], "the history is not sealed: ")
	require.Regexp(t, `^o histórico não é selado: o log não continua um checkpoint publicado: .* \(texto técnico: this process has a checkpoint of 15 entries`, s.Notes(true)[0])
	var n int
	require.NoError(t, p.owner.QueryRow(t.Context(), "SELECT count(*) FROM arauto.log_position").Scan(&n))
	require.Equal(t, 10, n, "nothing was signed")
}

// TestAReplicaThatSawNothingIsStoppedByTheAnchorFile, and its carrier appends no fork to it.
func TestAReplicaThatSawNothingIsStoppedByTheAnchorFile(t *testing.T) {
	p := openProof(t)
	dir := t.TempDir()
	s := p.must(p.sealer(config.Development, dir, "", ""))
	for size := 5; size <= 15; size += 5 {
		p.write(5)
		p.sealed(s, size)
		require.NoError(t, s.deliver(t.Context(), s.carriers[0]))
	}
	before, err := os.ReadFile(s.cfg.AnchorFile())
	require.NoError(t, err)
	p.setBack(10)
	p.write(20)
	again := p.must(p.sealer(config.Development, dir, "", ""))
	require.ErrorContains(t, p.stops(again), "the anchor file has a checkpoint of 15 entries")

	stale := p.must(p.sealer(config.Development, t.TempDir(), s.cfg.File("log.key"), "")) // has another file, and so makes a fork
	p.sealed(stale, 30)
	stale.cfg.StateDir, stale.places[0].publisher, stale.carriers[0].anchor = dir, fileAnchor(s.cfg.AnchorFile()), fileAnchor(s.cfg.AnchorFile())
	err = stale.deliver(t.Context(), stale.carriers[0])
	require.ErrorIs(t, err, errAnchor)
	require.ErrorIs(t, err, store.ErrSetBack)
	after, err := os.ReadFile(s.cfg.AnchorFile())
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
}

// TestWhatIsNoCheckpointAtTheEndOfTheAnchorFileIsToldAndPassedOver: the newest valid one of this log counts.
func TestWhatIsNoCheckpointAtTheEndOfTheAnchorFileIsToldAndPassedOver(t *testing.T) {
	for name, junk := range map[string]string{
		"seven bytes":      "rubbish",
		"a torn one":       "arauto/0123456789abcdef\n77\n",
		"of another log":   "arauto/0123456789abcdef\n77\nAg/4YrT0gJW2OGAyVPoy5bXHXopm4j1lAOO8vYrWLAc=\ntime 2026-11-21T12:00:05.000000Z\nskew 0us\n\n— arauto/0123456789abcdef AAAA\n",
		"more than a page": strings.Repeat("rubbish\n", 3000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openProof(t)
			dir := t.TempDir()
			s := p.must(p.sealer(config.Development, dir, "", ""))
			p.write(10)
			p.sealed(s, 10)
			require.NoError(t, s.deliver(t.Context(), s.carriers[0]))
			file, err := os.OpenFile(s.cfg.AnchorFile(), os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = file.WriteString(junk)
			require.NoError(t, err)
			require.NoError(t, file.Close())
			heads, err := s.places[0].published(t.Context(), s.key)
			require.ErrorIs(t, err, errForeign)
			require.Len(t, heads, 1)
			require.Equal(t, int64(10), heads[0].Size)
			_, err = p.owner.Exec(t.Context(), "SET session_replication_role = replica; DELETE FROM arauto.log_position; DELETE FROM arauto.log_checkpoint; DELETE FROM arauto.entry; SET session_replication_role = origin")
			require.NoError(t, err)
			p.write(20)
			again := p.must(p.sealer(config.Development, dir, "", ""))
			require.ErrorContains(t, p.stops(again), "the anchor file has a checkpoint of 10 entries")

			require.NoError(t, s.carriers[0].anchor.put(t.Context(), *s.newest.Load()))
			heads, err = s.places[0].published(t.Context(), s.key)
			require.NoError(t, err, "what follows begins a line of its own")
			require.Len(t, heads, 1)
		})
	}
}

// TestAnObjectThatIsNoCheckpointHidesNone is found F30: seven bytes under a higher number, and much more of that kind.
func TestAnObjectThatIsNoCheckpointHidesNone(t *testing.T) {
	for name, junk := range map[string]map[string]string{
		"seven bytes":           {"00000000000000000099": "rubbish"},
		"of another log":        {"00000000000000000099": "arauto/0123456789abcdef\n99\n"},
		"a name that is none":   {"0000000000000000004x": "rubbish", "000000000000000000000": "rubbish", "0": ""},
		"twelve of them":        many(12),
		"far away":              {"00999999999999999999": "rubbish", "00000000000000000098": "rubbish"},
		"a checkpoint's double": {"00000000000000000099": "double"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openProof(t)
			b, settings := openBucket(t)
			p.write(10)
			maker := p.must(p.sealer(config.Development, t.TempDir(), "", ""))
			p.sealed(maker, 10)
			first := p.withObjects(maker.cfg.File("log.key"), settings.Log.S3)
			for size := 20; size <= 40; size += 10 {
				p.write(10)
				p.sealed(first, size)
				object := first.carriers[len(first.carriers)-1]
				object.at = time.Time{}
				require.NoError(t, first.deliver(t.Context(), object))
			}
			for key, body := range junk {
				if body == "double" {
					body = string(b.objects["/proofs/arauto/00000000000000000040"].body)
				}
				b.objects["/proofs/arauto/"+key] = &object{body: []byte(body)}
			}
			p.setBack(20)
			p.write(50)
			again := p.withObjects(maker.cfg.File("log.key"), settings.Log.S3)
			failed := p.value(again, "anchor_failures_total", "object-store")
			err := p.stops(again)
			require.ErrorIs(t, err, store.ErrSetBack)
			require.ErrorContains(t, err, "the object store has a checkpoint of 40 entries")
			require.Less(t, b.lists, 3000)
			if !strings.HasPrefix(name, "a name") || again.places[1].publisher.(*objectPlace).anchor.odd != nil {
				require.Greater(t, p.value(again, "anchor_failures_total", "object-store"), failed, "told")
			}
		})
	}
}

func many(n int) map[string]string {
	out := map[string]string{}
	for i := range n {
		out[fmt.Sprintf("%020d", 1000+i*i)] = "rubbish"
	}
	return out
}

// TestMoreRubbishThanOneLookPassesOverIsPassedOverByTheNext: each look is bounded, and each tells.
func TestMoreRubbishThanOneLookPassesOverIsPassedOverByTheNext(t *testing.T) {
	b, cfg := openBucket(t)
	o := anchorOf(t, cfg)
	s, key := testSigner(t)
	signed, err := s.Sign(audit.Checkpoint{Size: 40, Root: audit.Leaf(nil), At: audit.At(time.Now())})
	require.NoError(t, err)
	b.objects["/proofs/arauto/00000000000000000040"] = &object{body: signed}
	for name := range many(40) {
		b.objects["/proofs/arauto/"+name] = &object{body: []byte("rubbish")}
	}
	for look := range 3 {
		last, err := o.last(t.Context(), key)
		require.ErrorIs(t, err, errForeign, "%d", look)
		if look < 2 {
			require.Nil(t, last)
			continue
		}
		require.Equal(t, int64(40), last.Size)
	}
}

func testSigner(t *testing.T) (*audit.Signer, ed25519.PublicKey) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	s := audit.NewSigner(key)
	return s, s.Public()
}
