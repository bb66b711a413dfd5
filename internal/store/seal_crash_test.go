package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// TestASealerKilledAtAnyPointLeavesNothingBehind is case E3. The sealer is stopped at a step of its own by a lock on the
// table it needs next, and its session is killed there: in front of the batch, within it, and between signing and
// storing the checkpoint. What follows is as if it had never begun.
func TestASealerKilledAtAnyPointLeavesNothingBehind(t *testing.T) {
	for step, table := range map[string]string{
		"before the entries are read":                      "entry",
		"within the batch, before positions are written":   "log_position",
		"within the batch, before subtrees are written":    "log_node",
		"between the signature and the stored checkpoint":  "log_checkpoint",
		"before the key is compared, having just the lock": "log_key",
	} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			s := openSealed(t)
			s.full(300)
			s.seal()
			before := s.last()
			s.full(300)
			mode := "SHARE" // lets the sealer read, and write not
			if table == "entry" || table == "log_key" {
				mode = "ACCESS EXCLUSIVE"
			}
			_, err := s.owner.Exec(t.Context(), "BEGIN; LOCK TABLE "+table+" IN "+mode+" MODE")
			require.NoError(t, err)
			failed := make(chan error, 1)
			go func() {
				for {
					out, err := s.log.Seal(context.WithoutCancel(t.Context()), s.key)
					if err != nil || out.Entries > 0 {
						failed <- err
						return
					}
				}
			}()
			killer := s.connect()
			var killed bool
			require.Eventually(t, func() bool { // the sealer waits for the lock
				err := killer.QueryRow(t.Context(), `SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE NOT l.granted AND l.relation = $1::regclass
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1`, "arauto."+table).Scan(&killed)
				return err == nil && killed
			}, time.Minute, 5*time.Millisecond)
			require.Error(t, <-failed)
			_, err = s.owner.Exec(t.Context(), "ROLLBACK")
			require.NoError(t, err)

			require.Equal(t, before, s.last(), "no other checkpoint")
			v, err := s.verify(before)
			require.NoError(t, err, "the verifier accepts")
			require.Equal(t, int64(300), v.Entries)
			require.Equal(t, int64(300), v.Unsealed)
			require.Equal(t, 300, s.seal().Entries, "and the next sealer goes on where it was")
			s.ok(600)
		})
	}
}

// TestABitThatFallsOverBeforeTheSignatureIsFound is the other half of case M8: what was computed is stored otherwise, by
// a trigger here, by a failing disk or memory elsewhere. Nothing is signed, and nothing stays.
func TestABitThatFallsOverBeforeTheSignatureIsFound(t *testing.T) {
	for name, c := range map[string][2]string{
		"a leaf":    {"log_position", "NEW.leaf := set_byte(NEW.leaf, 3, get_byte(NEW.leaf, 3) # 1)"},
		"a subtree": {"log_node", "NEW.hash := set_byte(NEW.hash, 3, get_byte(NEW.hash, 3) # 1)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openSealed(t)
			s.full(200)
			s.seal()
			before := s.last()
			s.exec(`CREATE FUNCTION arauto.flip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ` + c[1] + `; RETURN NEW; END $$;
CREATE TRIGGER flip BEFORE INSERT ON arauto.` + c[0] + ` FOR EACH ROW EXECUTE FUNCTION arauto.flip()`)
			s.full(400)
			require.Eventually(t, func() bool {
				out, err := s.log.Seal(t.Context(), s.key)
				if err == nil {
					require.Zero(t, out.Entries)
					return false
				}
				require.ErrorIs(t, err, store.ErrTampered)
				return true
			}, time.Minute, time.Millisecond)
			require.Equal(t, before, s.last())
			s.exec("DROP TRIGGER flip ON arauto." + c[0])
			require.Equal(t, 400, s.seal().Entries, "the log is not ruined")
			s.ok(600)
		})
	}
}

// TestThreeReplicasSealOneLog is case G5: three replicas, each with its own connections, seal what nine writers append.
func TestThreeReplicasSealOneLog(t *testing.T) {
	s := openSealed(t)
	replicas := []*auditlog.Log{s.log}
	for range 2 {
		other, err := store.Open(t.Context(), store.Options{URL: s.url, Replica: "another", Version: "0"})
		require.NoError(t, err)
		t.Cleanup(other.Close)
		replicas = append(replicas, auditlog.New(other.Access()))
	}
	const writers, rounds, rows = 9, 40, 5
	var writing, sealing sync.WaitGroup
	done := make(chan struct{})
	for range writers {
		conn := s.connect()
		writing.Go(func() {
			for range rounds {
				_, err := conn.Exec(context.WithoutCancel(t.Context()), "INSERT INTO arauto.entry (id, kind, facts) SELECT gen_random_uuid(), 'change', '{}' FROM generate_series(1, $1::int)", rows)
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	sealed, busy := make([]int, len(replicas)), make([]int, len(replicas))
	for i, replica := range replicas {
		sealing.Go(func() {
			s.sealsUntil(done, replica, func(out auditlog.SealStep) {
				sealed[i] += out.Entries
				if out.Busy {
					busy[i]++
				}
			})
		})
	}
	writing.Wait()
	close(done)
	sealing.Wait()
	s.seal()
	s.ok(writers * rounds * rows)
	t.Logf("sealed by each replica: %v; found another at it: %v", sealed, busy)
	var gaps, doubles, forks int
	require.NoError(t, s.owner.QueryRow(t.Context(), `SELECT max(seq) + 1 - count(*), count(*) - count(DISTINCT (xid, id)) FROM log_position`).Scan(&gaps, &doubles))
	require.NoError(t, s.owner.QueryRow(t.Context(), `SELECT count(*) FROM log_checkpoint a JOIN log_checkpoint b ON a.size < b.size AND a.at > b.at`).Scan(&forks))
	require.Equal(t, [3]int{}, [3]int{gaps, doubles, forks})
	s.onlyGrew()
}

// onlyGrew verifies the proof of consistency between each checkpoint and the next.
func (s *sealedHistory) onlyGrew() {
	s.t.Helper()
	x, err := auditlog.OpenExport(s.t.Context(), s.url, 0)
	require.NoError(s.t, err)
	defer x.Close(s.t.Context())
	rows, err := s.owner.Query(s.t.Context(), "SELECT size FROM log_checkpoint ORDER BY size")
	require.NoError(s.t, err)
	sizes, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(s.t, err)
	for _, size := range sizes {
		p, err := x.ProveSince(s.t.Context(), size)
		require.NoError(s.t, err)
		old, later, err := p.Check(s.public)
		require.NoError(s.t, err)
		require.Equal(s.t, size, old.Size)
		require.Equal(s.t, x.Checkpoint, later)
		if size < x.Checkpoint.Size {
			p.Path = append(p.Path[:0:0], p.Path...)
			p.Path[0] = audit.Leaf(nil)
			_, _, err = p.Check(s.public)
			require.Error(s.t, err)
		}
	}
}
