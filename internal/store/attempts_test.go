package store_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/migrations"
)

// TestNobodyMakesTheQueueSendAFourthAttempt has the owner of the database write what would be claimed: the database refuses it.
func TestNobodyMakesTheQueueSendAFourthAttempt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.accept(payment("itp", "p1", 1, "ACSC"))
	for _, wrong := range []string{"attempts = 3", "attempts = 4", "attempts = -1", "attempts = 4, token = gen_random_uuid()", "manual = true, attempts = 1", "manual = true, attempts = 2, token = gen_random_uuid()"} {
		_, err := b.owner.Exec(t.Context(), "UPDATE queue SET "+wrong)
		require.True(t, store.IsCode(err, "23514"), "%s: %v", wrong, err)
		require.ErrorContains(t, err, "queue_attempts")
	}
	for n := 1; n <= 3; n++ { // each attempt by itself, the last of which is the end
		b.do("UPDATE queue SET due_at = now()")
		got := b.claimFor("itp", 20*time.Second)
		require.Len(t, got, 1)
		require.Equal(t, n, got[0].Number)
		b.settle(notice.OutcomeRefused, got...)
	}
	require.Zero(t, one[int](b, "SELECT count(*) FROM queue"))
}

// TestAnAttemptUnderWayThatSomebodyCountedUpIsTheLast: its row, set to three attempts while the first is under way, ends as exhausted, which an
// operator sees; and the other settlements of the same transaction are stored.
func TestAnAttemptUnderWayThatSomebodyCountedUpIsTheLast(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.accept(payment("itp", "p1", 1, "ACSC"))
	b.accept(payment("itp", "p2", 1, "ACSC"))
	got := b.claimFor("itp", 20*time.Second)
	require.Len(t, got, 2)
	b.do("UPDATE queue SET attempts = 3 WHERE resource_id = 'p1'")
	require.Len(t, b.settle(notice.OutcomeRefused, got...), 1)
	require.Equal(t, "p2", one[string](b, "SELECT string_agg(resource_id, ' ') FROM queue"))
	require.Equal(t, "exhausted", one[string](b, "SELECT closes FROM entry WHERE kind = 'result' AND resource_id = 'p1'"))
}

// TestTheMigrationThatLimitsAttemptsNamesOnlyRowsThatAreWrong: its message also listed the last attempts under way, which an operator who
// follows it would have deleted.
func TestTheMigrationThatLimitsAttemptsNamesOnlyRowsThatAreWrong(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	for id, is := range map[string]string{
		"waits": "attempts = 2", "last": "attempts = 3, token = gen_random_uuid()", "asked": "manual = true, attempts = 1, token = gen_random_uuid()",
		"fourth": "attempts = 3", "again": "manual = true, attempts = 1", "beyond": "attempts = 4, token = gen_random_uuid()",
	} {
		b.accept(payment("itp", id, 1, "ACSC"))
		b.do("ALTER TABLE queue DROP CONSTRAINT IF EXISTS queue_attempts")
		b.do("UPDATE queue SET "+is+" WHERE resource_id = $1", id)
	}
	text, err := migrations.Files.ReadFile("0035_attempts.sql")
	require.NoError(t, err)
	up, _, _ := strings.Cut(string(text), "-- +goose Down")
	_, err = b.owner.Exec(t.Context(), up)
	require.ErrorContains(t, err, "the queue has 3 rows")
	list := regexp.MustCompile(`SELECT .* (FROM arauto\.queue WHERE .*)\) \(SQLSTATE`).FindStringSubmatch(err.Error())
	require.NotNil(t, list, err.Error())
	require.Equal(t, "again beyond fourth", one[string](b, "SELECT string_agg(resource_id, ' ' ORDER BY resource_id) "+list[1]))
}
