package bank

import (
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
)

// TestEveryAuditEndpointNamesDamageOfTheLog: rows of the log's own tables that were put in, altered or removed. An answer
// either is log_damaged, or shows what is stored together with the damage; none is an internal error, and the metrics are told.
func TestEveryAuditEndpointNamesDamageOfTheLog(t *testing.T) {
	const note = "replace(note, chr(10) || 'time ', chr(10) || 'tima ')"
	replica := func(sql string) string {
		return "SET session_replication_role = replica; " + sql + "; SET session_replication_role = origin"
	}
	owner := func(sql string) string { return sql } // from everybody else the tables refuse these
	const shown, refused = "shown", "refused"
	const entries, entry, proof, dossier, newest, sized, dated, key, exports, breaches = "entries?resourceId=p-1", "entries/2", "entries/2/proof", "dossier/p-1",
		"checkpoints", "checkpoints?size=305", "checkpoints?at=", "key", "exports", "breaches"
	const later, laterProof = "entries/300", "entries/300/proof" // behind a stored subtree
	all := []string{entries, entry, proof, later, laterProof, dossier, newest, sized, dated, key, exports, breaches}
	for _, c := range []struct {
		name, sql string
		want      map[string]string // of what is not there: the answer is right
	}{
		{"a checkpoint was put in", owner("INSERT INTO log_checkpoint VALUES (100000, now(), 'x')"), map[string]string{
			entries: shown, entry: refused, proof: refused, later: refused, laterProof: refused, dossier: refused, newest: refused, dated: refused, exports: refused, breaches: shown,
		}},
		{"a checkpoint of the end of time was put in", owner("INSERT INTO log_checkpoint VALUES (9223372036854775807, 'infinity', 'x')"), map[string]string{
			entries: shown, entry: refused, proof: refused, later: refused, laterProof: refused, dossier: refused, newest: refused, exports: refused, breaches: shown,
		}},
		{"a genuine note stands beside another size", owner("INSERT INTO log_checkpoint SELECT 100000, at, note FROM log_checkpoint WHERE size = 5"), map[string]string{
			entries: shown, entry: refused, proof: refused, later: refused, laterProof: refused, dossier: refused, newest: refused, dated: refused, exports: refused, breaches: shown,
		}},
		{"every checkpoint was altered", replica("UPDATE log_checkpoint SET note = " + note), map[string]string{
			entries: shown, entry: refused, proof: refused, later: refused, laterProof: refused, dossier: refused, newest: refused, sized: refused, dated: refused, exports: refused, breaches: shown,
		}},
		{"the key was removed", replica("DELETE FROM log_key"), map[string]string{
			entries: shown, entry: refused, proof: refused, later: refused, laterProof: refused, dossier: refused, newest: refused, sized: refused, dated: refused, key: refused, exports: refused, breaches: shown,
		}},
		{"a checkpoint and the last possible position were put in", owner("INSERT INTO log_checkpoint VALUES (100000, now(), 'x'); " +
			"INSERT INTO log_position (seq, xid, id, at, leaf) SELECT 9223372036854775807, xid, id, at, leaf FROM log_position WHERE seq = 0"), map[string]string{
			entries: shown, entry: refused, proof: refused, later: refused, laterProof: refused, dossier: refused, newest: refused, dated: refused, exports: refused, breaches: shown,
		}},
		{"a position was removed", replica("DELETE FROM log_position WHERE seq = 2"), map[string]string{
			entries: shown, entry: refused, proof: refused, dossier: refused, breaches: shown,
		}},
		{"a leaf was altered", replica("UPDATE log_position SET leaf = sha256('x') WHERE seq = 2"), map[string]string{
			entries: shown, entry: shown, dossier: refused, breaches: shown, // its proof needs no leaf of its own
		}},
		{"a leaf beside it was altered", replica("UPDATE log_position SET leaf = sha256('x') WHERE seq = 100"), map[string]string{
			entries: shown, entry: shown, proof: refused, dossier: refused, breaches: shown,
		}},
		{"a position beside it was removed", replica("DELETE FROM log_position WHERE seq = 100"), map[string]string{
			entries: shown, entry: refused, proof: refused, dossier: refused, breaches: shown,
		}},
		{"a subtree was altered", replica("UPDATE log_node SET hash = sha256('x')"), map[string]string{
			entries: shown, later: shown, laterProof: refused, breaches: shown,
		}},
		{"a subtree was removed", replica("DELETE FROM log_node"), map[string]string{
			entries: shown, later: refused, laterProof: refused, breaches: shown,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var told atomic.Int64
			a := openArchive(t, func(c *InternalConfig) {
				c.Clock = c.History.(Clock)
				c.Tampered = func(_ string, found history.Integrity) { told.Add(found.FailedCount) }
			})
			a.exec("INSERT INTO entry (id, kind, facts) SELECT gen_random_uuid(), 'poll', '{}' FROM generate_series(1, 300)")
			a.seal()
			ask := func(path string) reply {
				switch path {
				case exports:
					return a.ask("POST", "/internal/v1/audit/exports", "auditor", `{"filter":{"resourceId":"p-1"},"format":"jsonl"}`)
				case dated:
					path += url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339))
				case breaches:
					path += fmt.Sprintf("?from=%s&to=%s", time.Now().UTC().AddDate(0, 0, -1).Format(time.RFC3339), time.Now().UTC().AddDate(0, 0, 1).Format(time.RFC3339))
				case dossier:
					got, text := a.raw("/internal/v1/audit/" + path)
					if got.StatusCode == http.StatusOK {
						return reply{status: 200, text: string(text)}
					}
				case proof, laterProof:
					got, text := a.raw("/internal/v1/audit/" + path)
					if got.StatusCode == http.StatusOK {
						return reply{status: 200, text: string(text)}
					}
				}
				return a.ask("GET", "/internal/v1/audit/"+path, "auditor", "")
			}
			for _, path := range all {
				got := ask(path)
				require.Contains(t, []int{200, 202}, got.status, "%s before: %s", path, got.text)
			}
			require.Zero(t, told.Load())
			a.exec(c.sql)
			for _, path := range all {
				told.Store(0)
				got := ask(path)
				switch c.want[path] {
				case refused:
					got.refused(t, 500, "log_damaged")
				case shown:
					require.Equal(t, 200, got.status, "%s: %s", path, got.text)
					i, there := got.body["integrity"].(map[string]any)
					if !there {
						i = got.body["report"].(map[string]any)["integrity"].(map[string]any)
					}
					require.NotZero(t, i["failedCount"], path)
				default:
					require.Contains(t, []int{200, 202}, got.status, "%s: %s", path, got.text)
				}
				if c.want[path] != "" && path != exports {
					require.NotZero(t, told.Load(), path)
				}
			}
		})
	}
}

// TestAReadCountsEachEntryOnce: a resource's timeline tells the entries that made its notifications twice, and counts them once.
func TestAReadCountsEachEntryOnce(t *testing.T) {
	a := openArchive(t)
	a.exec(`INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, notification_id, outcome, closes, facts)
VALUES (gen_random_uuid(), 'cancelled', 'itp', 2, 'p-1', '` + paidNotice + `', 'x', NULL, '{}')`)
	a.seal()
	account := func() (verified, proven, failed float64, list []any) {
		got := a.ask("GET", "/internal/v1/resources/pix-payment/p-1", "auditor", "")
		require.Equal(t, 200, got.status, got.text)
		i := got.body["integrity"].(map[string]any)
		return i["verified"].(float64), i["proven"].(float64), i["failedCount"].(float64), i["failed"].([]any)
	}
	verified, proven, failed, _ := account()
	require.Equal(t, []float64{5, 5, 0}, []float64{verified, proven, failed}, "change, attempt, result, poll, cancelled")
	for n, kind := range []string{"change", "cancelled", "poll", "attempt"} {
		a.exec("SET session_replication_role = replica; UPDATE entry SET facts = '{\"altered\":1}' WHERE resource_id = 'p-1' AND kind = '" + kind + "'; SET session_replication_role = origin")
		verified, proven, failed, list := account()
		require.Equal(t, []float64{float64(4 - n), float64(4 - n), float64(n + 1)}, []float64{verified, proven, failed}, kind)
		require.Len(t, list, n+1)
	}
	a.exec("SET session_replication_role = replica; DELETE FROM log_position WHERE seq = 0; SET session_replication_role = origin")
	_, _, _, list := account()
	damage := 0
	for _, f := range list {
		if f.(map[string]any)["entryId"] == nil {
			damage++
		}
	}
	require.Equal(t, 1, damage, "of the log's own tables")
	require.Len(t, list, 6)
}
