package store_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// sealed is a history with its log's key.
type sealedHistory struct {
	*openStore
	key    *audit.Signer
	owner  *pgx.Conn
	public ed25519.PublicKey
}

func openSealed(t *testing.T) *sealedHistory {
	t.Helper()
	h := openHistory(t)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	s := &sealedHistory{openStore: h, key: audit.NewSigner(private), owner: h.connect()}
	s.public = s.key.Public()
	_, err = s.owner.Exec(t.Context(), "SET search_path = arauto; SET timezone = 'UTC'")
	require.NoError(t, err)
	registered, err := h.log.RegisterLogKey(t.Context(), s.public)
	require.NoError(t, err)
	require.Equal(t, s.public, registered)
	return s
}

// full writes n entries with a value in every column.
func (s *sealedHistory) full(n int) {
	s.t.Helper()
	_, err := s.owner.Exec(s.t.Context(), `
INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, revision, notification_id, change_id, interaction_id, number, outcome, closes, created_at, brand, facts, private)
SELECT gen_random_uuid(), 'result', 'client-' || n, 2, 'p-' || n, n, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 3, 'refused', 'exhausted',
  '2026-01-02T03:04:05.678901Z', 'brand-' || n % 2, ('{"system" : "test 0", "private":"' || rtrim(encode(sha256(p.private::bytea), 'base64'), '=') || '", "n":' || n || '}')::json, p.private::json
FROM generate_series(1, $1) n CROSS JOIN LATERAL (SELECT '{"salt":"' || n || '","local":"10.0.0.9:51234"}' AS private) p`, n)
	require.NoError(s.t, err)
}

// seal seals everything that is committed by now.
func (s *sealedHistory) seal() auditlog.SealStep {
	s.t.Helper()
	return storetest.Seal(s.t, s.log, s.owner, s.key)
}

func (s *sealedHistory) verify(anchored ...audit.Checkpoint) (audit.VerifiedLog, error) {
	s.t.Helper()
	return auditlog.Verify(s.t.Context(), s.url, s.public, anchored)
}

func (s *sealedHistory) ok(entries int64) {
	s.t.Helper()
	v, err := s.verify()
	require.NoError(s.t, err)
	require.Equal(s.t, entries, v.Entries)
	require.Zero(s.t, v.Unsealed)
}

// bad verifies and expects a fault at a position.
func (s *sealedHistory) bad(seq int64, words string, anchored ...audit.Checkpoint) {
	s.t.Helper()
	_, err := s.verify(anchored...)
	var fault *audit.Fault
	require.ErrorAs(s.t, err, &fault)
	require.Equal(s.t, seq, fault.Seq, fault.Reason)
	require.Contains(s.t, fault.Reason, words)
}

// tamper does something as the owner, who can switch the triggers off.
func (s *sealedHistory) tamper(sql string, args ...any) {
	s.t.Helper()
	_, err := s.owner.Exec(s.t.Context(), "SET session_replication_role = replica")
	require.NoError(s.t, err)
	tag, err := s.owner.Exec(s.t.Context(), sql, args...)
	require.NoError(s.t, err)
	require.NotZero(s.t, tag.RowsAffected(), sql)
	_, err = s.owner.Exec(s.t.Context(), "SET session_replication_role = origin")
	require.NoError(s.t, err)
}

const at = "(SELECT id FROM log_position WHERE seq = $1)"

func TestASealedHistoryVerifies(t *testing.T) {
	s := openSealed(t)
	s.bad(0, "the log is empty")
	for i, n := range []int{1, 255, 1, 0, 300, 511} {
		s.full(n)
		out := s.seal()
		require.False(t, out.Busy)
		if n == 0 {
			require.Zero(t, out.Entries, "round %d", i)
		}
	}
	s.ok(1068)
	s.full(7)
	v, err := s.verify()
	require.NoError(t, err)
	require.Equal(t, int64(1068), v.Entries)
	require.Equal(t, int64(7), v.Unsealed)
}

// TestEveryColumnOfAnEntryIsProven is case M1: each column in turn is changed by the owner of the table.
func TestEveryColumnOfAnEntryIsProven(t *testing.T) {
	s := openSealed(t)
	s.full(100)
	s.full(200)
	s.seal()
	rows, err := s.owner.Query(t.Context(), "SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_schema = 'arauto' AND table_name = 'entry' ORDER BY ordinal_position")
	require.NoError(t, err)
	var names, proven []string
	types, nullable := map[string]string{}, map[string]bool{}
	var name, kind, null string
	_, err = pgx.ForEachRow(rows, []any{&name, &kind, &null}, func() error {
		names, types[name], nullable[name] = append(names, name), kind, null == "YES"
		return nil
	})
	require.NoError(t, err)
	for _, c := range audit.Columns() {
		proven = append(proven, c[0])
	}
	require.ElementsMatch(t, names, proven, "a column that the record does not have")
	change := map[string][]string{
		"uuid":                     {"gen_random_uuid()"},
		"timestamp with time zone": {"%s + interval '1 microsecond'"},
		"bigint":                   {"%s + 1000000", "%s - 1"},
		"smallint":                 {"%s + 1"},
		"text":                     {"%s || 'x'", "''"},
		"json":                     {`'{"system" : "test 1", "n":300}'`, `(%s::text || ' ')::json`, `'"x"'`, `E'{"system" : "test 0",\n"n":100}'`},
	}
	s.tamper("CREATE TABLE kept AS SELECT * FROM entry")
	const seq = 150
	for _, column := range names {
		values := change[types[column]]
		require.NotEmpty(t, values, column)
		if nullable[column] {
			values = append(values, "NULL")
		}
		for _, value := range values {
			value = strings.ReplaceAll(value, "%s", column)
			s.tamper(fmt.Sprintf("UPDATE entry SET %s = %s WHERE id = %s", column, value, at), seq)
			_, err := s.verify()
			var fault *audit.Fault
			require.ErrorAs(t, err, &fault, "%s = %s", column, value)
			if column == "id" || column == "xid" { // these decide the order: the first position that is wrong may be an earlier one
				require.LessOrEqual(t, fault.Seq, int64(seq), "%s = %s", column, value)
			} else {
				require.Equal(t, int64(seq), fault.Seq, "%s = %s: %s", column, value, fault.Reason)
			}
			s.tamper("TRUNCATE entry; INSERT INTO entry SELECT * FROM kept")
		}
	}
	s.ok(300)
}

// TestWhatIsRemovedSwappedOrPutInIsFound is case M2.
func TestWhatIsRemovedSwappedOrPutInIsFound(t *testing.T) {
	const swapEntries = `UPDATE entry e SET facts = o.facts FROM entry o
WHERE (e.id, o.id) IN (SELECT a.id, b.id FROM log_position a, log_position b WHERE (a.seq, b.seq) IN ((40, 41), (41, 40)))`
	for name, c := range map[string]struct {
		sql   string
		seq   int64
		words string
	}{
		"an entry is deleted":         {"DELETE FROM entry WHERE id = (SELECT id FROM log_position WHERE seq = 40)", 40, "missing"},
		"the last entry is deleted":   {"DELETE FROM entry WHERE id = (SELECT id FROM log_position WHERE seq = 599)", 599, "missing"},
		"two entries are swapped":     {swapEntries, 40, "not what was sealed"},
		"an entry is put in":          {"INSERT INTO entry (id, at, xid, kind, facts) SELECT '00000000-0000-0000-0000-000000000001', at, xid, 'change', '{}' FROM log_position WHERE seq = 0", 0, "put in"},
		"an entry is there twice":     {"INSERT INTO entry SELECT * FROM entry WHERE id = (SELECT id FROM log_position WHERE seq = 40)", 41, "put in"},
		"a position is deleted":       {"DELETE FROM log_position WHERE seq = 40", 40, "position is missing"},
		"the last position is gone":   {"DELETE FROM log_position WHERE seq = 599", 599, "cut off"},
		"two positions are swapped":   {"UPDATE log_position p SET id = o.id, leaf = o.leaf FROM log_position o WHERE p.seq + o.seq = 81 AND p.seq IN (40, 41)", 40, ""},
		"a leaf is changed":           {"UPDATE log_position SET leaf = set_byte(leaf, 3, get_byte(leaf, 3) # 1) WHERE seq = 40", 40, "not what was sealed"},
		"a node is changed":           {"UPDATE log_node SET hash = set_byte(hash, 3, get_byte(hash, 3) # 1) WHERE n = 1", 256, "subtree"},
		"a node is gone":              {"DELETE FROM log_node WHERE n = 1", 256, "subtree"},
		"a node too many":             {"INSERT INTO log_node SELECT level, 9, hash FROM log_node WHERE n = 1", 600, "subtree"},
		"the checkpoints are gone":    {"DELETE FROM log_checkpoint", 0, "no checkpoint"},
		"the last checkpoint is gone": {"DELETE FROM log_checkpoint WHERE size = 600", 300, "no checkpoint"},
		"a checkpoint is forged":      {"UPDATE log_checkpoint SET note = replace(note, 'skew ', 'skew 1') WHERE size = 600", 599, "checkpoint"},
		"a checkpoint is moved":       {"UPDATE log_checkpoint SET note = (SELECT note FROM log_checkpoint WHERE size = 300) WHERE size = 600", 599, "signed for 300"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openSealed(t)
			s.full(300)
			s.seal()
			s.full(300)
			s.seal()
			s.ok(600)
			s.tamper(c.sql)
			s.bad(c.seq, c.words)
		})
	}
}

// last reads the newest checkpoint.
func (s *sealedHistory) last() audit.Checkpoint {
	s.t.Helper()
	var signed string
	require.NoError(s.t, s.owner.QueryRow(s.t.Context(), "SELECT note FROM log_checkpoint ORDER BY size DESC LIMIT 1").Scan(&signed))
	c, err := audit.OpenCheckpoint([]byte(signed), s.public)
	require.NoError(s.t, err)
	return c
}

// forget takes the whole proof away from a size on, as an owner would who writes the log anew.
func (s *sealedHistory) forget(size int) {
	s.t.Helper()
	s.tamper(fmt.Sprintf("DELETE FROM log_checkpoint WHERE size > %d", size))
	s.tamper(fmt.Sprintf("DELETE FROM log_position WHERE seq >= %d", size))
	_, err := s.owner.Exec(s.t.Context(), fmt.Sprintf("SET session_replication_role = replica; DELETE FROM log_node WHERE (n + 1) << level > %d; SET session_replication_role = origin", size))
	require.NoError(s.t, err)
}

// TestOnlyAnAnchorShowsThatTheEndWasCutOffOrWrittenAnew: even the owner of the key cannot rewrite what was anchored.
func TestOnlyAnAnchorShowsThatTheEndWasCutOffOrWrittenAnew(t *testing.T) {
	s := openSealed(t)
	s.full(300)
	s.seal()
	s.full(300)
	s.seal()
	anchored := s.last()
	s.forget(300)
	s.tamper("DELETE FROM entry WHERE xid > (SELECT max(xid) FROM log_position)")
	s.ok(300)
	s.bad(300, "cut off", anchored)
	require.ErrorIs(t, s.log.Extends(t.Context(), s.public, auditlog.PublishedHead{Checkpoint: anchored}), store.ErrSetBack)
	s.full(400)
	s.seal()
	s.ok(700)
	s.bad(300, "from 300 to 599 are not what was signed", anchored)
	require.ErrorIs(t, s.log.Extends(t.Context(), s.public, auditlog.PublishedHead{Checkpoint: anchored}), store.ErrSetBack)
	require.NoError(t, s.log.Extends(t.Context(), s.public, auditlog.PublishedHead{Checkpoint: s.last()}))
}

// TestDamageIsFoundBeforeTheNextSignature is case M8.
func TestDamageIsFoundBeforeTheNextSignature(t *testing.T) {
	flip := "UPDATE %s SET %[2]s = set_byte(%[2]s, 3, get_byte(%[2]s, 3) # 1) WHERE %[3]s"
	for name, sql := range map[string]string{
		"a leaf at the edge":  fmt.Sprintf(flip, "log_position", "leaf", "seq = 520"),
		"a leaf further back": fmt.Sprintf(flip, "log_position", "leaf", "seq IN (3, 300)"), // one of each subtree, as the scrub picks one
		"a node":              fmt.Sprintf(flip, "log_node", "hash", "n = 0"),
		"a node is gone":      "DELETE FROM log_node WHERE n = 1",
		"a leaf is gone":      "DELETE FROM log_position WHERE seq = 520",
		"the checkpoint":      "UPDATE log_checkpoint SET note = replace(note, 'skew ', 'skew 1')",
		"an older checkpoint": "DELETE FROM log_checkpoint WHERE size = 600",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openSealed(t)
			s.full(300)
			s.seal()
			s.full(300)
			s.seal()
			s.tamper(sql)
			s.full(10)
			_, err := s.log.Seal(t.Context(), s.key)
			require.ErrorIs(t, err, store.ErrTampered)
			var n int
			require.NoError(t, s.owner.QueryRow(t.Context(), "SELECT count(*) FROM log_position WHERE seq >= 600").Scan(&n))
			require.Zero(t, n)
		})
	}
}

// TestNothingIsSealedWithAnotherKey is case M3.
func TestNothingIsSealedWithAnotherKey(t *testing.T) {
	s := openSealed(t)
	s.full(10)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	other := audit.NewSigner(private)
	_, err = s.log.Seal(t.Context(), other)
	require.ErrorIs(t, err, store.ErrWrongKey)
	registered, err := s.log.RegisterLogKey(t.Context(), other.Public())
	require.NoError(t, err)
	require.Equal(t, s.public, registered, "the first key stays")
	require.ErrorIs(t, auditlog.RegisterLogKey(t.Context(), s.url, other.Public()), store.ErrWrongKey)
	s.seal()
	_, err = auditlog.Verify(t.Context(), s.url, other.Public(), nil)
	var fault *audit.Fault
	require.ErrorAs(t, err, &fault)
}

// TestTheApplicationCannotChangeTheProof is case M5 for what the sealer writes.
func TestTheApplicationCannotChangeTheProof(t *testing.T) {
	s := openSealed(t)
	s.full(10)
	s.seal()
	for _, role := range []string{"arauto_app", "none"} {
		_, err := s.owner.Exec(t.Context(), "SET ROLE "+role)
		require.NoError(t, err)
		for _, table := range []string{"log_key", "log_position", "log_node", "log_checkpoint", "history_dropped", "entry"} {
			for _, sql := range []string{"TRUNCATE %s", "DELETE FROM %s", "UPDATE %s SET %s = %[2]s"} {
				column := map[string]string{"log_key": "public", "log_position": "seq", "log_node": "n", "log_checkpoint": "size", "history_dropped": "first", "entry": "kind"}[table]
				sql = strings.Split(fmt.Sprintf(sql, table, column), "%!")[0]
				tag, err := s.owner.Exec(t.Context(), sql)
				if err == nil {
					require.Zero(t, tag.RowsAffected(), "%s as %s", sql, role) // an empty table
					require.NotContains(t, sql, "TRUNCATE")
					continue
				}
				require.Contains(t, err.Error(), "42501", "%s as %s", sql, role)
			}
		}
	}
}

// sealsUntil has a replica seal again and again until done is closed, and tells the result each time.
func (s *sealedHistory) sealsUntil(done <-chan struct{}, replica *auditlog.Log, tell func(auditlog.SealStep)) {
	for {
		out, err := replica.Seal(context.Background(), s.key)
		if err != nil {
			s.t.Error(err)
			return
		}
		tell(out)
		select {
		case <-done:
			return
		default:
		}
	}
}

// TestWritersThatFinishOutOfOrderLoseNothing: many writers at once, some of which roll back, some of which dawdle, and
// two sealers against them.
func TestWritersThatFinishOutOfOrderLoseNothing(t *testing.T) {
	s := openSealed(t)
	const writers, rounds = 8, 25
	var writing, sealing sync.WaitGroup
	var mu sync.Mutex
	written := 0
	done := make(chan struct{})
	for range writers {
		conn := s.connect()
		writing.Go(func() {
			for range rounds {
				n := 1 + mathrand.IntN(5)
				commit := mathrand.IntN(4) > 0
				end := map[bool]string{true: "COMMIT", false: "ROLLBACK"}[commit]
				_, err := conn.Exec(context.Background(), fmt.Sprintf(`BEGIN; INSERT INTO arauto.entry (id, kind, facts) SELECT gen_random_uuid(), 'change', '{}' FROM generate_series(1, %d);
SELECT pg_sleep(%f); INSERT INTO arauto.entry (id, kind, facts) VALUES (gen_random_uuid(), 'change', '{}'); %s`, n, mathrand.Float64()/100, end))
				if err != nil {
					t.Error(err)
					return
				}
				if commit {
					mu.Lock()
					written += n + 1
					mu.Unlock()
				}
			}
		})
	}
	for range 2 {
		sealing.Go(func() { s.sealsUntil(done, s.log, func(auditlog.SealStep) {}) })
	}
	writing.Wait()
	close(done)
	sealing.Wait()
	s.seal()
	s.ok(int64(written))
}

func TestASecondSealerStandsBack(t *testing.T) {
	s := openSealed(t)
	s.full(10)
	_, err := s.owner.Exec(t.Context(), "BEGIN; SELECT pg_advisory_xact_lock(hashtext('arauto.seal'))")
	require.NoError(t, err)
	out, err := s.log.Seal(t.Context(), s.key)
	require.NoError(t, err)
	require.True(t, out.Busy)
	_, err = s.owner.Exec(t.Context(), "COMMIT")
	require.NoError(t, err)
	require.Equal(t, 10, s.seal().Entries)
}

// TestAnEntryWaitsForOlderTransactions: what is younger than a running transaction is not sealed before it has ended.
func TestAnEntryWaitsForOlderTransactions(t *testing.T) {
	s := openSealed(t)
	slow := s.connect()
	_, err := slow.Exec(t.Context(), "BEGIN; INSERT INTO arauto.entry (id, kind, facts) VALUES (gen_random_uuid(), 'change', '{}')")
	require.NoError(t, err)
	s.full(5)
	out, err := s.log.Seal(t.Context(), s.key)
	require.NoError(t, err)
	require.Zero(t, out.Entries)
	require.Less(t, out.Horizon, out.Newest)
	_, err = slow.Exec(t.Context(), "COMMIT")
	require.NoError(t, err)
	require.Equal(t, 6, s.seal().Entries)
	s.ok(6)
}
