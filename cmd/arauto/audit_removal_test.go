package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
)

// signAnyway seals what waits as a sealer would that does not look at what entries claim, such as the one before migration 6,
// or that of somebody who has the log's key: as of a time.
func (p *proven) signAnyway(at time.Time) {
	p.t.Helper()
	p.exec("SET search_path = arauto; SET session_replication_role = replica")
	rows, err := p.owner.Query(p.t.Context(), "SELECT leaf FROM log_position ORDER BY seq")
	require.NoError(p.t, err)
	var tree audit.Range
	for rows.Next() {
		var leaf []byte
		require.NoError(p.t, rows.Scan(&leaf))
		tree.Append(audit.Hash(leaf), nil)
	}
	require.NoError(p.t, rows.Err())
	rows, err = p.owner.Query(p.t.Context(), "SELECT id, at, xid, kind, outcome, facts::text FROM entry e WHERE NOT EXISTS (SELECT FROM log_position l WHERE l.id = e.id) ORDER BY xid, id")
	require.NoError(p.t, err)
	var waiting []audit.Entry
	for rows.Next() {
		var e audit.Entry
		var at time.Time
		require.NoError(p.t, rows.Scan((*[16]byte)(&e.ID), &at, &e.XID, &e.Kind, &e.Outcome, &e.Facts))
		e.At = audit.At(at)
		waiting = append(waiting, e)
	}
	require.NoError(p.t, rows.Err())
	for _, e := range waiting {
		leaf := audit.Leaf(e.AppendRecord(nil, tree.Size()))
		_, err := p.owner.Exec(p.t.Context(), "INSERT INTO log_position (seq, xid, id, at, leaf) VALUES ($1, $2, $3, $4, $5)", tree.Size(), e.XID, [16]byte(e.ID), e.At.Time(), leaf[:])
		require.NoError(p.t, err)
		tree.Append(leaf, nil)
	}
	signed, err := p.key.Sign(audit.Checkpoint{Size: tree.Size(), Root: tree.Root(), At: audit.At(at)})
	require.NoError(p.t, err)
	_, err = p.owner.Exec(p.t.Context(), "INSERT INTO log_checkpoint (size, at, note) VALUES ($1, $2, $3)", tree.Size(), at, string(signed))
	require.NoError(p.t, err)
	p.exec("SET session_replication_role = origin")
}

// everybody verifies the log in every way there is: in the database with all its checkpoints as anchors, as a bundle, and the
// bundle by the verifier that shares no code with ours. Each must begin with what is wanted.
func (p *proven) everybody(want string) {
	p.t.Helper()
	var all strings.Builder
	rows, err := p.owner.Query(p.t.Context(), "SELECT note FROM arauto.log_checkpoint ORDER BY size")
	require.NoError(p.t, err)
	for rows.Next() {
		var note string
		require.NoError(p.t, rows.Scan(&note))
		all.WriteString(note + "\n")
	}
	require.NoError(p.t, rows.Err())
	anchors := p.file("anchors.txt")
	require.NoError(p.t, os.WriteFile(anchors, []byte(all.String()), 0o600))
	told := func(how, out string) {
		p.t.Helper()
		lines := strings.Split(strings.TrimSpace(out), "\n")
		found := false
		for _, line := range lines {
			found = found || strings.HasPrefix(line, want)
			require.False(p.t, strings.HasPrefix(line, "ok") && strings.HasPrefix(want, "BAD"), "%s: %s", how, out)
		}
		require.True(p.t, found, "%s: %s", how, out)
	}
	_, out := p.verify("--database-url", p.url, "--anchors", anchors)
	told("the database", out)
	code, out := p.run("audit", "export", "--database-url", p.url, "--format", "bundle", "--out", p.file("log.zip"))
	require.Equal(p.t, done, code, out)
	_, out = p.verify(p.file("log.zip"), "--anchors", anchors)
	told("the bundle", out)
	if python, err := exec.LookPath("python3"); err == nil {
		text, _ := exec.CommandContext(p.t.Context(), python, "../../docs/verify.py", "--key", p.file("log.pub.pem"), "--anchors", anchors, p.file("log.zip")).CombinedOutput()
		told("verify.py", string(text))
	} else if os.Getenv("ARAUTO_REQUIRE_ORACLES") != "" {
		p.t.Fatal("there is no python3")
	}
	require.NoError(p.t, os.Remove(p.file("log.zip")))
}

// openOld is a log with twenty entries of January 2020, sealed then, and thirty of today.
func openOld(t *testing.T) *proven {
	t.Helper()
	p := openProven(t, 0)
	p.exec("CREATE TABLE arauto.entry_202001 PARTITION OF arauto.entry FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-02-01 00:00:00+00')")
	p.exec("INSERT INTO arauto.entry (id, at, kind, facts) SELECT gen_random_uuid(), '2020-01-31T23:59:59Z', 'change', '{}' FROM generate_series(1, 20)")
	p.signAnyway(time.Date(2020, 2, 1, 0, 0, 5, 0, time.UTC))
	p.exec("INSERT INTO arauto.entry (id, kind, facts) SELECT gen_random_uuid(), 'change', '{}' FROM generate_series(1, 30)")
	p.seal()
	return p
}

// announcement writes an announcement of the removal of some positions by hand, true to their leaves.
func (p *proven) announcement(outcome, month string, from, to int) {
	p.t.Helper()
	rows, err := p.owner.Query(p.t.Context(), "SELECT leaf FROM arauto.log_position WHERE seq BETWEEN $1 AND $2 ORDER BY seq", from, to)
	require.NoError(p.t, err)
	var tree audit.Range
	for rows.Next() {
		var leaf []byte
		require.NoError(p.t, rows.Scan(&leaf))
		tree.Append(audit.Hash(leaf), nil)
	}
	require.NoError(p.t, rows.Err())
	_, err = p.owner.Exec(p.t.Context(), `INSERT INTO arauto.entry (id, kind, outcome, facts) VALUES (gen_random_uuid(), 'retention', $1,
json_build_object('partition', $2::text, 'first', $3::int, 'last', $4::int, 'entries', $5::int, 'digest', $6::text))`, outcome, month, from, to, to-from+1, tree.Root().String())
	require.NoError(p.t, err)
}

// TestWhatIsMissingWasAnnouncedOrIsBAD is found F20 and its kind: the owner of the database has entries signed that say that
// something was removed, and takes entries of today out of the log.
func TestWhatIsMissingWasAnnouncedOrIsBAD(t *testing.T) {
	const take = "DELETE FROM entry WHERE id = (SELECT id FROM log_position WHERE seq = 21)"
	back := func(to string) string { return "UPDATE log_position SET at = '" + to + "' WHERE seq = 21" }
	now := time.Now()
	for name, c := range map[string]struct {
		act  func(p *proven)
		want string
	}{
		"nothing is missing": {func(*proven) {}, "ok 50 "},
		"a month is removed as announced": {func(p *proven) {
			p.removeOld()
		}, "ok 52 "},
		"a removal of the old form, back-dated (hide.sql, hide2.sql)": {func(p *proven) {
			p.exec(`INSERT INTO arauto.entry (id, kind, outcome, facts) VALUES (gen_random_uuid(), 'retention', 'dropped',
 '{"now":["entry_201501"],"dropped":[{"partition":"entry_201501","first":21,"last":21,"entries":1,"droppedAt":"2026-11-01T00:00:00.000000Z"}]}')`)
			p.signAnyway(now)
			p.asOwner(take)
			p.asOwner(back("2015-01-05"))
		}, "BAD seq=50 an entry of kind retention announces or records one removal"},
		"an announcement of a month that never was": {func(p *proven) {
			p.announcement("announced", "entry_201501", 21, 21)
			p.signAnyway(now)
			p.announcement("dropped", "entry_201501", 21, 21)
			p.signAnyway(now)
			p.asOwner(take)
			p.asOwner(back("2015-01-05"))
		}, "BAD seq=21 missing, and the time of its position, 2015-01-05T00:00:00.000000Z, cannot be"},
		"an announcement that came too early": {func(p *proven) {
			month := "entry_" + now.UTC().Format("200601")
			p.announcement("announced", month, 20, 49)
			p.signAnyway(now)
			p.announcement("dropped", month, 20, 49)
			p.signAnyway(now)
			p.asOwner("DELETE FROM entry WHERE id IN (SELECT id FROM log_position WHERE seq BETWEEN 20 AND 49)")
		}, "BAD seq=20 "},
		"an announcement that is dated far ahead": {func(p *proven) {
			month := "entry_" + now.UTC().Format("200601")
			p.announcement("announced", month, 20, 49)
			p.signAnyway(now.AddDate(6, 0, 0))
			p.asOwner("DELETE FROM entry WHERE id IN (SELECT id FROM log_position WHERE seq BETWEEN 20 AND 49)")
		}, "BAD seq="},
		"one more than was announced": {func(p *proven) {
			p.removeOld()
			p.asOwner(take)
			p.asOwner(back("2020-01-31T23:59:59Z"))
		}, "BAD seq="},
		"a removal without an announcement": {func(p *proven) {
			p.announcement("dropped", "entry_202001", 0, 19)
			p.signAnyway(now)
			p.asOwner("DELETE FROM entry WHERE id IN (SELECT id FROM log_position WHERE seq < 20)")
		}, "BAD seq=50 the removal of entry_202001 is recorded, and no entry announced it"},
		"no checkpoint between announcement and removal": {func(p *proven) {
			p.announcement("announced", "entry_202001", 0, 19)
			p.announcement("dropped", "entry_202001", 0, 19)
			p.asOwner("DELETE FROM entry WHERE id IN (SELECT id FROM log_position WHERE seq < 20)")
			p.signAnyway(now)
		}, "BAD seq=51 the removal of entry_202001 is recorded, and no checkpoint covers its announcement"},
		"entries of an announced month that were not removed": {func(p *proven) {
			p.removeOld()
			p.exec("CREATE TABLE arauto.entry_202001 PARTITION OF arauto.entry FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-02-01 00:00:00+00')")
			p.exec("INSERT INTO arauto.entry (id, at, kind, facts) VALUES (gen_random_uuid(), '2020-01-05T00:00:00Z', 'change', '{}')")
			p.seal()
		}, "BAD seq=52 the entry is of entry_202001, which was removed"},
		"other entries than those announced": {func(p *proven) {
			p.announcement("announced", "entry_202001", 1, 20) // another twenty
			p.signAnyway(now)
			p.asOwner("DELETE FROM entry WHERE id IN (SELECT id FROM log_position WHERE seq < 20)")
		}, "BAD seq=0 missing: 20 entries of entry_202001 from 0 to 19 are not here; the removal of 20 from 1 to 20 was announced"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openOld(t)
			c.act(p)
			p.everybody(c.want)
		})
	}
}

// removeOld removes January 2020 as retention does.
func (p *proven) removeOld() {
	p.t.Helper()
	told, err := p.auditlog.AnnounceRemovals(p.t.Context(), 5)
	require.NoError(p.t, err)
	require.Equal(p.t, []string{"entry_202001"}, told)
	p.seal()
	p.asOwner("UPDATE seal_state SET anchored_through = now() + interval '1 second'")
	gone, err := p.auditlog.DropHistory(p.t.Context(), 5)
	require.NoError(p.t, err)
	require.Equal(p.t, told, gone)
	p.seal()
}
