package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
)

// tampered are the tables somebody with the rights of their owner could alter.
var tampered = []string{"entry", "log_key", "log_position", "log_node", "log_checkpoint", "history_announced", "history_dropped"}

// owner does something as the owner of the tables, with the triggers switched off.
func (p *proven) asOwner(sql string) {
	p.t.Helper()
	p.exec("SET search_path = arauto; SET session_replication_role = replica")
	tag, err := p.owner.Exec(p.t.Context(), sql)
	require.NoError(p.t, err, sql)
	require.NotZero(p.t, tag.RowsAffected(), "nothing was altered: %s", sql)
	p.exec("SET session_replication_role = origin")
}

// keep copies all tables aside; back restores them.
func (p *proven) keep() {
	p.t.Helper()
	p.exec("SET search_path = arauto")
	for _, table := range tampered {
		p.exec(fmt.Sprintf("CREATE TABLE kept_%s AS SELECT * FROM %[1]s", table))
	}
}

func (p *proven) back() {
	p.t.Helper()
	p.exec("SET search_path = arauto; SET session_replication_role = replica")
	for _, table := range tampered {
		p.exec(fmt.Sprintf("TRUNCATE %s; INSERT INTO %[1]s SELECT * FROM kept_%[1]s", table))
	}
	p.exec("SET session_replication_role = origin")
}

// anchor writes the checkpoints of these sizes to a file, as an anchor keeps them.
func (p *proven) anchor(name string, sizes ...int) string {
	p.t.Helper()
	var all strings.Builder
	for _, size := range sizes {
		var note string
		require.NoError(p.t, p.owner.QueryRow(p.t.Context(), "SELECT note FROM arauto.log_checkpoint WHERE size = $1", size).Scan(&note))
		all.WriteString(note + "\n")
	}
	require.NoError(p.t, os.WriteFile(p.file(name), []byte(all.String()), 0o600))
	return p.file(name)
}

// anew seals everything that is there with a key, as an owner would who writes the log anew.
func (p *proven) anew(key ed25519.PrivateKey) {
	p.t.Helper()
	mine := p.key
	p.key = audit.NewSigner(key)
	p.seal()
	p.key = mine
}

// openTwice is a log of 300 entries with a value in every column, and then 300 more, each half with its checkpoint.
func openTwice(t *testing.T) *proven {
	t.Helper()
	p := openProven(t, 0)
	for range 2 {
		p.exec(`INSERT INTO arauto.entry (id, kind, client_id, resource_kind, resource_id, revision, notification_id, change_id, interaction_id, number, outcome, closes, created_at, brand, facts, private)
SELECT gen_random_uuid(), 'result', 'client-' || n, 2, 'p-' || n, n, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 3, 'refused', 'exhausted',
  '2026-01-02T03:04:05.678901Z', 'brand-' || n % 2, ('{"system" : "test 0", "private":"' || rtrim(encode(sha256(p.private::bytea), 'base64'), '=') || '", "n":' || n || '}')::json, p.private::json
FROM generate_series(1, 300) n CROSS JOIN LATERAL (SELECT '{"salt":"' || n || '","local":"10.0.0.9:51234"}' AS private) p`)
		p.seal()
	}
	return p
}

const entryAt = "(SELECT id FROM log_position WHERE seq = 450)"

// tampering is one thing that somebody does, and what audit verify must say of it.
type tampering struct {
	name     string
	sql      []string
	want     string // the position, and a word of the reason
	anchored bool   // what an anchor has is needed to see it: without it the log looks whole
	known    string // what is said with anchors, where that is something else
}

// columnsAltered is case M1: each column of the entry at 450 in turn.
func columnsAltered() []tampering {
	change := map[string]string{
		"id": "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "at": "at + interval '40 days'", "xid": "xid + 1000000", "kind": "'change'", "client_id": "'client-0'", "resource_kind": "3",
		"resource_id": "resource_id || ' '", "revision": "revision + 1", "notification_id": "gen_random_uuid()", "change_id": "NULL", "interaction_id": "gen_random_uuid()",
		"number": "2", "outcome": "'delivered'", "closes": "''", "created_at": "created_at + interval '1 microsecond'", "brand": "NULL", "facts": "replace(facts::text, 'test 0', 'test 1')::json",
		"private": "replace(private::text, '10.0.0.9', '10.0.0.8')::json",
	}
	var out []tampering
	for _, c := range audit.Columns() {
		out = append(out, tampering{name: "column " + c[0] + " altered", sql: []string{"UPDATE entry SET " + c[0] + " = " + change[c[0]] + " WHERE id = " + entryAt}, want: "BAD seq=450 the entry "})
	}
	return out
}

func tamperings() []tampering {
	const flip = "UPDATE %s SET %[2]s = set_byte(%[2]s, 3, get_byte(%[2]s, 3) # 1) WHERE %[3]s"
	return append(columnsAltered(), []tampering{
		{name: "a private text removed", sql: []string{"UPDATE entry SET private = NULL WHERE id = " + entryAt}, want: "BAD seq=450 the entry "},
		{name: "a private text put in", sql: []string{"UPDATE entry SET kind = 'change', private = '{}' WHERE id = " + entryAt}, want: "BAD seq=450 the entry "},
		{name: "an entry deleted from the middle", sql: []string{"DELETE FROM entry WHERE id = " + entryAt}, want: "BAD seq=450 the entry "},
		{name: "two entries swapped", sql: []string{`UPDATE entry e SET facts = o.facts FROM entry o
WHERE (e.id, o.id) IN (SELECT a.id, b.id FROM log_position a, log_position b WHERE (a.seq, b.seq) IN ((450, 451), (451, 450)))`}, want: "BAD seq=450 the entry "},
		{name: "two positions swapped", sql: []string{`UPDATE log_position p SET id = o.id, leaf = o.leaf FROM log_position o WHERE p.seq + o.seq = 901 AND p.seq IN (450, 451)`}, want: "BAD seq=45"},
		{name: "an entry put in", sql: []string{"INSERT INTO entry (id, at, xid, kind, facts) SELECT '00000000-0000-0000-0000-000000000001', at, xid, 'change', '{}' FROM log_position WHERE seq = 450"}, want: "BAD seq=300 the entry 00000000-0000-0000-0000-000000000001"},
		{name: "an entry put in and given a position", sql: []string{
			"INSERT INTO entry (id, at, xid, kind, facts) SELECT 'ffffffff-ffff-ffff-ffff-ffffffffffff', at, xid, 'change', '{}' FROM log_position WHERE seq = 599",
			"INSERT INTO log_position (seq, xid, id, at, leaf) SELECT 600, xid, 'ffffffff-ffff-ffff-ffff-ffffffffffff', at, leaf FROM log_position WHERE seq = 599",
		}, want: "BAD seq=600 "},
		{name: "a position's time altered", sql: []string{"UPDATE log_position SET at = at - interval '1 second' WHERE seq = 450"}, want: "BAD seq=450 the entry "},
		{name: "a position deleted", sql: []string{"DELETE FROM log_position WHERE seq = 450"}, want: "BAD seq=450 its position is missing"},
		{name: "an entry and its position deleted, the rest moved up", sql: []string{
			"DELETE FROM entry WHERE id = " + entryAt, "DELETE FROM log_position WHERE seq = 450",
			"UPDATE log_position SET seq = seq + 10000 WHERE seq > 450", "UPDATE log_position SET seq = seq - 10001 WHERE seq > 10000",
		}, want: "BAD seq=450 the entry "},
		{name: "a bit of a leaf flipped", sql: []string{fmt.Sprintf(flip, "log_position", "leaf", "seq = 450")}, want: "BAD seq=450 the entry "},
		{name: "a bit of a stored subtree flipped", sql: []string{fmt.Sprintf(flip, "log_node", "hash", "n = 1")}, want: "BAD seq=256 the stored tree"},
		{name: "a stored subtree deleted", sql: []string{"DELETE FROM log_node WHERE n = 1"}, want: "BAD seq=256 the stored tree"},
		{name: "a checkpoint's time altered", sql: []string{"UPDATE log_checkpoint SET note = replace(note, 'time 20', 'time 19') WHERE size = 600"}, want: "BAD seq=599 the checkpoint of 600"},
		{name: "a checkpoint's root altered", sql: []string{`UPDATE log_checkpoint SET note = regexp_replace(note, E'\\n600\\n.', E'\n600\nA') WHERE size = 600`}, want: "BAD seq=599 the checkpoint of 600"},
		{name: "the last checkpoint deleted", sql: []string{"DELETE FROM log_checkpoint WHERE size = 600"}, want: "BAD seq=300 no checkpoint", known: "BAD seq=599 the checkpoint of 600 entries was anchored"},
		{name: "all checkpoints deleted", sql: []string{"DELETE FROM log_checkpoint"}, want: "BAD seq=0 no checkpoint", known: "BAD seq=299 the checkpoint of 300 entries was anchored"},
		{name: "an old checkpoint deleted", anchored: true, sql: []string{"DELETE FROM log_checkpoint WHERE size = 300"}, want: "BAD seq=299 the checkpoint of 300 entries was anchored"},
		{name: "a removal forged by a line in the ledger of removals", sql: []string{
			"DELETE FROM entry WHERE id = " + entryAt,
			"INSERT INTO history_dropped (partition, first, last, entries) SELECT 'entry_' || to_char(at, 'YYYYMM'), 450, 450, 1 FROM log_position WHERE seq = 450",
		}, want: "BAD seq=450 the entry "},
		{name: "a removal forged by moving its time back", sql: []string{
			"DELETE FROM entry WHERE id = " + entryAt, "UPDATE log_position SET at = '2020-01-15T00:00:00Z' WHERE seq = 450",
		}, want: "BAD seq=450 missing, and the time of its position, 2020-01-15T00:00:00.000000Z, cannot be: it was sealed between "},
		{name: "the tail cut off with its positions", sql: []string{"DELETE FROM entry WHERE id IN (SELECT id FROM log_position WHERE seq >= 590)", "DELETE FROM log_position WHERE seq >= 590"}, want: "BAD seq=590 the end is cut off"},
		{name: "the tail cut off with all that proves it", anchored: true, sql: []string{
			"DELETE FROM entry WHERE id IN (SELECT id FROM log_position WHERE seq >= 300)", "DELETE FROM log_position WHERE seq >= 300",
			"DELETE FROM log_checkpoint WHERE size > 300", "DELETE FROM log_node WHERE (n + 1) * 256 > 300",
		}, want: "BAD seq=300 the end is cut off: 600 entries were signed"},
	}...)
}

// TestEveryKindOfTamperingIsDetectedAndItsPositionNamed goes through the command, as an auditor does.
func TestEveryKindOfTamperingIsDetectedAndItsPositionNamed(t *testing.T) {
	t.Parallel()
	p := openTwice(t)
	p.keep()
	anchors := p.anchor("checkpoints.txt", 300, 600)
	require.GreaterOrEqual(t, len(tamperings()), 12)
	for _, c := range tamperings() {
		t.Run(c.name, func(t *testing.T) {
			defer p.back()
			for _, sql := range c.sql {
				p.asOwner(sql)
			}
			code, out := p.verify("--database-url", p.url)
			if c.anchored {
				require.Equal(t, done, code, "nobody can see it without an anchor: %s", out)
			} else {
				require.Equal(t, failed, code)
				require.True(t, strings.HasPrefix(out, c.want), "%s", out)
			}
			code, out = p.verify("--database-url", p.url, "--anchors", anchors)
			require.Equal(t, failed, code)
			if c.known == "" {
				c.known = c.want
			}
			require.True(t, strings.HasPrefix(out, c.known), "%s", out)
			require.Equal(t, 1, strings.Count(out, "\n"))
		})
	}
	code, out := p.verify("--database-url", p.url, "--anchors", anchors)
	require.Equal(t, done, code, out)
}

// TestAHistoryWrittenAnewIsNotTheAnchoredOne: the owner of the database rewrites all of it, even with the log's own key.
func TestAHistoryWrittenAnewIsNotTheAnchoredOne(t *testing.T) {
	p := openProven(t, 0)
	_, mine, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	p.asOwner("UPDATE log_key SET public = '\\x" + fmt.Sprintf("%x", []byte(mine.Public().(ed25519.PublicKey))) + "'")
	public, err := audit.MarshalPublic(mine.Public().(ed25519.PublicKey))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(p.file("log.pub.pem"), public, 0o600))
	for range 2 {
		p.exec("INSERT INTO arauto.entry (id, kind, facts) SELECT gen_random_uuid(), 'change', '{}' FROM generate_series(1, 300) n")
		p.anew(mine)
	}
	p.keep()
	anchors := p.anchor("checkpoints.txt", 300, 600)
	forget := []string{"DELETE FROM log_checkpoint", "DELETE FROM log_position", "DELETE FROM log_node"}

	t.Run("with the log's own key", func(t *testing.T) {
		p.asOwner("UPDATE entry SET kind = 'poll' WHERE id = " + entryAt)
		for _, sql := range forget {
			p.asOwner(sql)
		}
		p.anew(mine)
		code, out := p.verify("--database-url", p.url)
		require.Equal(t, done, code, out)
		code, out = p.verify("--database-url", p.url, "--anchors", anchors)
		require.Equal(t, failed, code)
		require.Contains(t, out, "BAD seq=300 the entries from 300 to 599 are not what was signed at")
		p.back()
	})
	t.Run("with a key of their own", func(t *testing.T) {
		_, theirs, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		p.asOwner("UPDATE log_key SET public = '\\x" + fmt.Sprintf("%x", []byte(theirs.Public().(ed25519.PublicKey))) + "'")
		for _, sql := range forget {
			p.asOwner(sql)
		}
		p.anew(theirs)
		code, out := p.verify("--database-url", p.url)
		require.Equal(t, failed, code)
		require.Contains(t, out, "BAD seq=0 the key given is of the log ")
		p.back()
	})
}

// TestAProofShowsThatTheLogOnlyGrewBetweenTwoDates, and is verified without the database.
func TestAProofShowsThatTheLogOnlyGrewBetweenTwoDates(t *testing.T) {
	p := openTwice(t)
	var first, second string
	require.NoError(t, p.owner.QueryRow(t.Context(), `SELECT to_char(min(at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), to_char(max(at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM arauto.log_checkpoint`).
		Scan(&first, &second))
	today := second[:10]
	p.exec("SET search_path = arauto")
	for name, args := range map[string][]string{
		"two sizes":             {"--from-size", "300", "--to-size", "600"},
		"a size and the newest": {"--from-size", "300"},
		"two times":             {"--from", first, "--to", second},
		"a time and the newest": {"--from", first},
		"one day":               {"--from", today, "--to", today},
	} {
		code, out := p.run(append([]string{"audit", "proof", "--database-url", p.url}, args...)...)
		require.Equal(t, done, code, "%s: %s", name, out)
		require.NoError(t, os.WriteFile(p.file("proof.txt"), []byte(out), 0o600))
		code, told := p.verify(p.file("proof.txt"))
		require.Equal(t, done, code, told)
		require.Contains(t, told, "ok 600 ", name)
		require.NoError(t, os.WriteFile(p.file("proof.txt"), []byte(strings.Replace(out, "\n600\n", "\n601\n", 1)), 0o600))
		code, told = p.verify(p.file("proof.txt"))
		require.Equal(t, failed, code)
		require.Contains(t, told, "BAD seq=")
	}
	for _, wrong := range [][]string{{}, {"7", "--from-size", "300"}, {"--from-size", "300", "--to", today}, {"--from", "yesterday"}, {"--to", today}} {
		code, out := p.run(append([]string{"audit", "proof", "--database-url", p.url}, wrong...)...)
		require.Equal(t, usage, code, "%v: %s", wrong, out)
	}
	for _, none := range []struct {
		args []string
		told string
	}{
		{[]string{"--from-size", "299"}, "--from-size: no checkpoint has 299 entries; the nearest checkpoint has 300 entries"},
		{[]string{"--from", "2001-01-01"}, "up to 2001-01-01T23:59:59Z: there is no such checkpoint; use a later time, because the log was first signed after it"},
		{[]string{"--from-size", "600", "--to-size", "300"}, "the checkpoint of 600 entries is younger than that of 300; name the older one first"},
	} {
		code, out := p.run(append([]string{"audit", "proof", "--database-url", p.url}, none.args...)...)
		require.Equal(t, failed, code, "%v: %s", none.args, out)
		require.Contains(t, out, none.told)
	}
	var recorded int
	require.NoError(t, p.owner.QueryRow(t.Context(), "SELECT count(*) FROM entry WHERE outcome = 'proof' AND facts->'filter'->>'fromSize' IS NOT NULL").Scan(&recorded))
	require.Equal(t, 5, recorded)
}
