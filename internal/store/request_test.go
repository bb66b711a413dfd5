package store_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// TestTheTablesOfTheLogRefuseWhatWouldStopTheSealer is F27: no single statement of serve's role leaves a row that
// stops sealing. A transaction that adds a position and a checkpoint for it does, as the sealer's own does: the database cannot tell
// whose signature it is, and docs/tampering.md says what notices it.
func TestTheTablesOfTheLogRefuseWhatWouldStopTheSealer(t *testing.T) {
	s := openSealed(t)
	s.full(300)
	s.seal()
	bogus := []string{
		"INSERT INTO log_checkpoint VALUES (100000, now(), 'x')",
		"INSERT INTO log_checkpoint SELECT 301, at, note FROM log_checkpoint",
		"INSERT INTO log_checkpoint SELECT 300, at, note FROM log_checkpoint LIMIT 1 ON CONFLICT DO NOTHING",
		"INSERT INTO log_checkpoint VALUES (299, now(), E'x\\n299\\n')",
		"INSERT INTO log_position SELECT 300, xid, id, at, leaf FROM log_position WHERE seq = 0",
		"INSERT INTO log_position SELECT 9223372036854775807, xid, id, at, leaf FROM log_position WHERE seq = 0",
		"INSERT INTO log_position SELECT 305, xid, id, at, leaf FROM log_position WHERE seq = 0",
		"INSERT INTO log_node VALUES (8, 1, sha256('x'))",
		"INSERT INTO log_node VALUES (64, 0, sha256('x'))",
		"WITH p AS (INSERT INTO log_position SELECT 300, xid, id, at, leaf FROM log_position WHERE seq = 0) INSERT INTO log_checkpoint VALUES (301, 'infinity', E'x\\n301\\n')",
		"INSERT INTO log_position SELECT 300, xid, id, at, leaf FROM log_position WHERE seq = 0; DELETE FROM seal_pending",
	}
	for _, sql := range bogus {
		_, err := s.owner.Exec(t.Context(), "BEGIN; SET LOCAL ROLE arauto_app; "+sql+"; COMMIT")
		require.ErrorContains(t, err, "23514", sql)
		_, err = s.owner.Exec(t.Context(), "ROLLBACK")
		require.NoError(t, err)
	}
	s.full(5)
	require.Equal(t, int64(305), s.seal().Size, "the sealer goes on")
}

// TestAnAuditorsRoleReadsAndRecordsAndCanDoNothingElse: a member of arauto_auditor may judge the whole history, and records
// it in its own name alone.
func TestAnAuditorsRoleReadsAndRecordsAndCanDoNothingElse(t *testing.T) {
	b := newBench(t)
	b.accept(payment("itp", "p1", 1, "ACSC"))
	_, err := b.owner.Exec(t.Context(), "DROP ROLE IF EXISTS auditor_of_the_bank; CREATE ROLE auditor_of_the_bank LOGIN PASSWORD 'x' IN ROLE arauto_auditor")
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = b.owner.Exec(context.Background(), "DROP ROLE auditor_of_the_bank") })
	cfg, err := pgx.ParseConfig(b.url)
	require.NoError(t, err)
	cfg.User, cfg.Password = "auditor_of_the_bank", "x"
	cfg.RuntimeParams["search_path"] = "arauto"
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	require.NoError(t, err)
	defer conn.Close(t.Context())

	i := auditlog.NewInspector(conn, auditlog.SweepPages)
	found, err := i.Reconcile(t.Context(), time.Time{}, time.Now().Add(time.Hour), func(history.Difference) error { return nil })
	require.NoError(t, err)
	require.Equal(t, int64(1), found.Entries["change"])

	var user string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT session_user").Scan(&user))
	record := func(actor, role string) error {
		text, err := json.Marshal(map[string]string{"actor": actor, "role": role})
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), "SELECT record_reading('export', $1::json)", string(text))
		return err
	}
	require.ErrorContains(t, record("somebody else", "database"), "42501")
	require.ErrorContains(t, record(user, "operator"), "42501")
	require.NoError(t, record(user, "database"))
	require.Equal(t, 1, one[int](b, "SELECT count(*)::int FROM entry WHERE kind = 'admin' AND outcome = 'export' AND facts->>'actor' = $1", user))
	for _, sql := range []string{
		"INSERT INTO entry (id, kind, facts) VALUES (gen_random_uuid(), 'admin', '{}')", "DELETE FROM queue", "UPDATE initiator SET push = false",
		"INSERT INTO log_checkpoint VALUES (1, now(), 'x')", "SELECT * FROM keyring", "SELECT drop_history('5 years')",
		"UPDATE act_request SET state = 'approved'", "SELECT lift_hold('x', '{}')",
	} {
		_, err := conn.Exec(t.Context(), sql)
		require.ErrorContains(t, err, "42501", sql)
	}
}

// TestTheDatabaseItselfKeepsRequestsFromTheirAskers: what serve's role writes cannot make a request its own asker's, nor
// change what was asked for.
func TestTheDatabaseItselfKeepsRequestsFromTheirAskers(t *testing.T) {
	b := newBench(t)
	r, err := b.log.RequestAct(t.Context(), history.ActRequest{
		Act: history.ActHold, Method: "PUT", Path: "/x", Roles: []string{"auditor"}, Reason: "court", AskedBy: history.Actor{Subject: "ana", Role: "auditor", Source: "x"},
	})
	require.NoError(t, err)
	require.Equal(t, 24*time.Hour, r.ExpiresAt.Sub(r.AskedAt))
	_, err = b.log.DecideRequest(t.Context(), r.ID, history.Actor{Subject: "ana"}, true, "mine")
	require.ErrorIs(t, err, store.ErrOwnRequest)
	_, err = b.app().Exec(t.Context(), "UPDATE act_request SET state = 'approved', decided_by = 'ana'")
	require.ErrorContains(t, err, "23514")
	_, err = b.app().Exec(t.Context(), "UPDATE act_request SET body = 'x'")
	require.ErrorContains(t, err, "42501")
	_, err = b.app().Exec(t.Context(), "UPDATE act_request SET asked_by = 'bia'")
	require.ErrorContains(t, err, "42501")

	claimed, err := b.log.ClaimRequest(t.Context())
	require.NoError(t, err)
	require.Nil(t, claimed, "nobody approved it")
	approved, err := b.log.DecideRequest(t.Context(), r.ID, history.Actor{Subject: "bia", Role: "auditor", Source: "y"}, true, "yes")
	require.NoError(t, err)
	require.False(t, approved.Token.IsZero())
	claimed, err = b.log.ClaimRequest(t.Context())
	require.NoError(t, err)
	require.Nil(t, claimed, "who approved it has its lease")
}

// TestAStepOfARequestIsCommittedOnce: of two replicas that carry out the same request at once one commits.
func TestAStepOfARequestIsCommittedOnce(t *testing.T) {
	b := newBench(t)
	r, err := b.log.RequestAct(t.Context(), history.ActRequest{
		Act: history.ActRegistration, Method: "DELETE", Path: "/x", Roles: []string{"registrar"}, AskedBy: history.Actor{Subject: "ana", Role: "registrar", Source: "x"},
	})
	require.NoError(t, err)
	r, err = b.log.DecideRequest(t.Context(), r.ID, history.Actor{Subject: "bia", Role: "registrar", Source: "y"}, true, "yes")
	require.NoError(t, err)
	ctx := context.WithValue(t.Context(), history.RequestKey{}, &r)
	first, err := b.owner.Begin(t.Context())
	require.NoError(t, err)
	require.NoError(t, store.Step(ctx, first, "", ""))
	second := make(chan error, 1)
	go func() {
		second <- pgx.BeginFunc(ctx, b.app(), func(tx pgx.Tx) error { return store.Step(ctx, tx, "", "") })
	}()
	require.NoError(t, first.Commit(t.Context()))
	require.ErrorIs(t, <-second, store.ErrCarriedOut)

	failed := r
	failed.State, failed.Status, failed.Answer = history.RequestFailed, 409, "{}"
	require.NoError(t, b.log.EndRequest(t.Context(), &failed))
	ended, err := b.log.ActRequest(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, history.RequestDone, ended.State, "what was committed is not told as failed")
	require.ErrorIs(t, pgx.BeginFunc(ctx, b.owner, func(tx pgx.Tx) error { return store.Step(ctx, tx, "other", "") }), store.ErrCarriedOut, "it is over")
}

// TestAHigherRevisionClosesTheCaseOfALowerOne: the case names the change that took its place, and its closing is an entry.
func TestAHigherRevisionClosesTheCaseOfALowerOne(t *testing.T) {
	b := newBench(t)
	b.accept(payment("itp", "p1", 3, "RJCT"))
	b.accept(payment("itp", "p1", 4, "ACSC"))
	require.Equal(t, 1, one[int](b, "SELECT count(*)::int FROM quarantine WHERE state = 'open' AND revision = 4"))
	n, err := b.store.CloseSuperseded(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
	b.do("UPDATE resource SET revision = 5, updated_at = now() WHERE id = 'p1'")
	b.do("INSERT INTO revision SELECT kind, resource_id, 5, gen_random_uuid(), data_hash, status, watched, cause, occurred_at, NULL, reason FROM revision WHERE resource_id = 'p1' AND revision = 3")
	n, err = b.store.CloseSuperseded(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	why := one[string](b, "SELECT closed_why FROM quarantine WHERE revision = 4 AND state = 'dismissed' AND line IS NULL")
	require.Contains(t, why, "revision 5 was applied: change "+one[string](b, "SELECT change_id::text FROM revision WHERE resource_id = 'p1' AND revision = 5"))
	require.Equal(t, 1, one[int](b, "SELECT count(*)::int FROM entry e JOIN quarantine q ON e.facts->>'object' = q.id::text AND e.at = q.closed_at WHERE e.outcome = 'quarantine-superseded'"))
}

// TestAReconciliationThatWasAskedForIsOneOfItsOwn: it tells how far it is, one goes on at a time, and the daily one does not
// take it for its own.
func TestAReconciliationThatWasAskedForIsOneOfItsOwn(t *testing.T) {
	b := newBench(t)
	b.accept(payment("itp", "p1", 1, "ACSC"))
	now := time.Now().UTC().Truncate(time.Second)
	_, err := b.log.AskReconciliation(asAuditor(t), now.Add(-time.Hour), now.Add(time.Hour))
	require.NoError(t, err)
	_, err = b.log.AskReconciliation(asAuditor(t), now.Add(-time.Hour), now)
	require.ErrorIs(t, err, store.ErrReconciling)
	run, err := b.log.ClaimReconciliation(t.Context())
	require.NoError(t, err)
	require.Equal(t, "ana", run.AskedBy.Subject)
	again, err := b.log.ClaimReconciliation(t.Context())
	require.NoError(t, err)
	require.Nil(t, again)
	told := int64(0)
	found, err := b.log.Inspector().Telling(func(ctx context.Context, done, all int64) error {
		require.LessOrEqual(t, done, all)
		told = done
		return b.log.KeepReconciliation(ctx, run.ID, run.Token, done, all)
	}).Reconcile(t.Context(), run.From, run.To, func(history.Difference) error { return nil })
	require.NoError(t, err)
	require.Positive(t, told)
	require.NoError(t, b.log.EndReconciliation(t.Context(), run, found, ""))
	require.ErrorIs(t, b.log.EndReconciliation(t.Context(), run, found, ""), store.ErrRunLost)
	_, _, err = b.log.LatestReconciliation(t.Context())
	require.ErrorIs(t, err, store.ErrNotFound)
	all, err := b.log.Reconciliations(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, "ana", all[0].AskedBy)
}

func TestReplicasAreKnownByTheirHeartbeat(t *testing.T) {
	b := newBench(t)
	began := time.Now().UTC().Truncate(time.Microsecond)
	for name, version := range map[string]string{"a": "1.0", "b": "1.1"} {
		_, err := b.log.ReportReplica(t.Context(), auditlog.RunningReplica{Name: name, Version: version, Profile: "production", Started: began})
		require.NoError(t, err)
	}
	b.do("UPDATE replica SET seen_at = now() - interval '1 minute' WHERE name = 'b'")
	all, err := b.log.Replicas(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, history.Replica{Name: "a", Version: "1.0", StartedAt: began, SeenAt: all[0].SeenAt, Alive: true}, all[0])
	require.False(t, all[1].Alive)
}

// TestOneAskerDoesNotTakeThePlaceOfAllOthers: half the requests that may wait are everybody else's.
func TestOneAskerDoesNotTakeThePlaceOfAllOthers(t *testing.T) {
	b := newBench(t)
	b.do(`INSERT INTO act_request (id, act, method, path, body, roles, reason, asked_by, asked_role, asked_source)
SELECT gen_random_uuid(), 'hold', 'PUT', '/x', '', '{auditor}', '', 'ana', 'auditor', 'x' FROM generate_series(1, 500)`)
	ask := func(who string) error {
		_, err := b.log.RequestAct(t.Context(), history.ActRequest{
			Act: history.ActHold, Method: "PUT", Path: "/x", Roles: []string{"auditor"}, Reason: "court", AskedBy: history.Actor{Subject: who, Role: "auditor", Source: "x"},
		})
		return err
	}
	require.ErrorIs(t, ask("ana"), store.ErrRequestsOfOne)
	require.NoError(t, ask("bia"))
	b.do("UPDATE act_request SET expires_at = now() - interval '1 second' WHERE asked_by = 'ana'")
	require.NoError(t, ask("ana"), "what nobody can decide about any more takes no place")
}
