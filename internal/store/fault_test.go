package store_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// TestASQLSTATEHasOneCause is the table of docs/operations/database-faults.md.
func TestASQLSTATEHasOneCause(t *testing.T) {
	for cause, codes := range map[store.FaultCause][]string{
		store.CauseRecord: {
			"21000", "22001", "22003", "22021", "22023", "22P02", "22P05", "23502", "23503", "23505", "23514", "23P01", "54000", "54001", "54023",
		},
		store.CauseConnection:  {"08000", "08003", "08006", "57000", "57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "3D000", "26000"},
		store.CauseCredentials: {"28000", "28P01"},
		store.CauseRights:      {"42501", "0P000"},
		store.CauseSchema:      {"42P01", "42703", "42883", "42704", "42601", "3F000", "0A000"},
		store.CauseResources:   {"53000", "53100", "53200", "53300", "53400", "58000", "58030", "58P01"},
		store.CauseReadOnly:    {"25006"},
		store.CauseContention:  {"40001", "40P01", "55P03", "57014", "25P04"},
		store.CauseDamage:      {"XX001", "XX002"},
		store.CauseUnknown:     {"XX000", "P0001", "P0000", "72000", "F0000", "HV000", "ZZZZZ", ""},
	} {
		for _, code := range codes {
			require.Equal(t, cause, store.CauseOf(fmt.Errorf("x: %w", &pgconn.PgError{Code: code})), code)
		}
	}
	for cause, errs := range map[store.FaultCause][]error{
		store.CauseConnection: {
			io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, context.DeadlineExceeded, &net.OpError{Err: errors.New("refused")}, pgx.ErrTxClosed,
		},
		store.CauseUnknown: {errors.New("cannot encode"), context.Canceled},
	} {
		for _, err := range errs {
			require.Equal(t, cause, store.CauseOf(fmt.Errorf("x: %w", err)), err)
		}
	}
}

// recordOne stores one change as intake does, through the judge that applies it.
func recordOne(ctx context.Context, s *store.Store, id string) error {
	c := &notice.Change{
		ID: store.NewID(), Kind: ofb.PixPayment, ResourceID: id, Client: "itp", APIVersion: "v5", Revision: 1, OccurredAt: time.Now(), Cause: ofb.Holder,
		State: ofb.ResourceState{Status: ofb.RCVD}, Document: []byte("{}"), Source: "test", Actor: "test", ReceivedAt: time.Now(),
	}
	return s.Record(ctx, []*notice.Change{c}, func(pasts []notice.Past) []notice.Decision {
		return []notice.Decision{{Verdict: notice.Applied, Current: pasts[0].Resource == nil}}
	})
}

func open(t *testing.T, o store.Options) *store.Store {
	t.Helper()
	o.Replica, o.Version = "one", "test"
	s, err := store.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func owner(t *testing.T, url string) func(statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	return func(statement string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

// isOutage tells whether everybody would be told to come again: nothing is put aside for it.
func isOutage(t *testing.T, err error, cause store.FaultCause) {
	t.Helper()
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.Equal(t, cause, store.CauseOf(err), err)
	var passes interface{ Transient() bool }
	require.ErrorAs(t, err, &passes)
	require.True(t, passes.Transient())
}

// TestWhatIsDoneToOurDatabaseIsNoRecordsFault breaks rights, schema and settings one by one, and mends them.
func TestWhatIsDoneToOurDatabaseIsNoRecordsFault(t *testing.T) {
	url := storetest.Database(t)
	s, do := open(t, store.Options{URL: url}), owner(t, url)
	do("SET search_path = arauto")
	do("UPDATE form SET dense = false") // so that every change needs the table that is renamed
	require.NoError(t, recordOne(t.Context(), s, "before"))
	for name, c := range map[string]struct {
		breaks, mends string
		cause         store.FaultCause
		seen          bool // the catalog alone tells
	}{
		"a right is taken":      {"REVOKE INSERT ON entry FROM arauto_app", "GRANT INSERT ON entry TO arauto_app", store.CauseRights, true},
		"a table is renamed":    {"ALTER TABLE revision RENAME TO away", "ALTER TABLE away RENAME TO revision", store.CauseSchema, true},
		"a column is renamed":   {"ALTER TABLE resource RENAME announced TO away", "ALTER TABLE resource RENAME away TO announced", store.CauseSchema, false},
		"a check refuses all":   {"ALTER TABLE resource ADD CONSTRAINT no CHECK (id < '') NOT VALID", "ALTER TABLE resource DROP CONSTRAINT no", store.CauseSchema, false},
		"a trigger refuses all": {"CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'; CREATE TRIGGER no BEFORE INSERT ON resource FOR EACH ROW EXECUTE FUNCTION no()", "DROP TRIGGER no ON resource; DROP FUNCTION no", store.CauseUnknown, false},
		"no partition":          {"DO 'DECLARE p text; BEGIN FOR p IN SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = ''entry''::regclass LOOP EXECUTE ''ALTER TABLE entry DETACH PARTITION '' || p; EXECUTE ''DROP TABLE '' || p; END LOOP; END'", "SELECT make_history(1)", store.CauseSchema, false},
	} {
		do(c.breaks)
		isOutage(t, recordOne(t.Context(), s, name), c.cause)
		isOutage(t, s.Probe(t.Context()), c.cause)
		isOutage(t, s.Writable(t.Context()), c.cause)
		require.Equal(t, c.cause, s.Faults()["store changes"].Cause, name)
		fresh := open(t, store.Options{URL: url})
		if err := fresh.Writable(t.Context()); c.seen {
			isOutage(t, err, c.cause)
			require.Equal(t, c.cause, fresh.Faults()["write"].Cause, "known before a change fails")
		} else {
			require.NoError(t, err, "the catalog says nothing of it")
			require.Empty(t, fresh.Faults())
		}
		do(c.mends)
		require.NoError(t, s.Writable(t.Context()), name)
		require.Empty(t, s.Faults(), name)
		require.NoError(t, recordOne(t.Context(), s, name))
	}
}

// TestWhatIsDoneToFlightsIsNoRecordsFault: a change fails because its first attempt is stored with it.
func TestWhatIsDoneToFlightsIsNoRecordsFault(t *testing.T) {
	b := newFlights(t)
	for name, c := range map[string]struct {
		breaks, mends string
		cause         store.FaultCause
	}{
		"a right is taken":   {"REVOKE INSERT ON flight FROM arauto_app", "GRANT INSERT ON flight TO arauto_app", store.CauseRights},
		"a table is renamed": {"ALTER TABLE flight RENAME TO away", "ALTER TABLE away RENAME TO flight", store.CauseSchema},
		"a check refuses all": {
			"ALTER TABLE flight ADD CONSTRAINT no CHECK (unsettled > 100) NOT VALID", "ALTER TABLE flight DROP CONSTRAINT no", store.CauseSchema,
		},
	} {
		b.do(c.breaks)
		_, err := b.launch(20*time.Second, name)
		isOutage(t, err, c.cause)
		isOutage(t, b.store.Writable(t.Context()), c.cause)
		require.Equal(t, c.cause, b.store.Faults()["store changes"].Cause, name)
		b.do(c.mends)
		require.NoError(t, b.store.Writable(t.Context()), name)
		require.Empty(t, b.store.Faults(), name)
		b.fly(20*time.Second, name)
	}
}

// TestARecordIsToBlameOnlyWhileOthersAreStored: a text with a zero byte is, and a duplicate of nothing is not.
func TestARecordIsToBlameOnlyWhileOthersAreStored(t *testing.T) {
	url := storetest.Database(t)
	s := open(t, store.Options{URL: url})
	err := recordOne(t.Context(), s, "zero\x00byte")
	require.Error(t, err)
	require.NotErrorIs(t, err, store.ErrUnavailable)
	require.Equal(t, store.CauseRecord, store.CauseOf(err))
	require.Empty(t, s.Faults(), "it is no fault of the database")
	owner(t, url)("ALTER TABLE arauto.resource ADD CONSTRAINT no CHECK (id < '') NOT VALID")
	isOutage(t, recordOne(t.Context(), s, "zero\x00byte"), store.CauseSchema)
}

// TestAReadingThatCannotBeRecordedIsAFaultOfTheDatabase: nobody may read then, so nothing may say that all is well.
func TestAReadingThatCannotBeRecordedIsAFaultOfTheDatabase(t *testing.T) {
	url := storetest.Database(t)
	s := open(t, store.Options{URL: url})
	log, do := auditlog.New(s.Access()), owner(t, url)
	read := func() error { return log.RecordReading(t.Context(), history.LogReading{Act: "search"}) }
	require.NoError(t, read())
	require.Empty(t, s.Faults())
	do(`CREATE FUNCTION arauto.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'; END $$`)
	do("CREATE TRIGGER full_disk BEFORE INSERT ON arauto.entry FOR EACH ROW WHEN (NEW.kind = 'admin') EXECUTE FUNCTION arauto.full_disk()")
	require.ErrorIs(t, read(), store.ErrUnavailable)
	require.Len(t, s.Faults(), 1)
	for act, f := range s.Faults() {
		require.Equal(t, "record who reads the history", act)
		require.Equal(t, store.CauseResources, f.Cause)
	}
	require.NoError(t, s.Writable(t.Context()))
	require.Len(t, s.Faults(), 1, "a change could be stored, and that says nothing of readings")
	do("DROP TRIGGER full_disk ON arauto.entry")
	require.NoError(t, s.Writable(t.Context()), "which looks again, though nobody reads")
	require.Empty(t, s.Faults())
}

func TestAProbeLeavesNothing(t *testing.T) {
	url := storetest.Database(t)
	s := open(t, store.Options{URL: url})
	require.NoError(t, s.Probe(t.Context()))
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	var rows int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM arauto.entry) + (SELECT count(*) FROM arauto.revision) + (SELECT count(*) FROM arauto.resource)
  + (SELECT count(*) FROM arauto.queue) + (SELECT count(*) FROM arauto.timer) + (SELECT count(*) FROM arauto.quarantine)`).Scan(&rows))
	require.Zero(t, rows)
}

// TestAPasswordThatChangesIsReadAgainAtTheNextSession ends all sessions after the change, as a rotation of secrets does.
func TestAPasswordThatChangesIsReadAgainAtTheNextSession(t *testing.T) {
	address := storetest.Database(t)
	do := owner(t, address)
	role := "arauto_serve_" + strings.ToLower(rand.Text()[:8])
	do("CREATE ROLE " + role + " LOGIN PASSWORD 'one' IN ROLE arauto_app")
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), address)
		require.NoError(t, err)
		defer conn.Close(context.Background())
		_, err = conn.Exec(context.Background(), "DROP ROLE "+role)
		require.NoError(t, err)
	})
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.User = url.User(role)
	for name, format := range map[string]string{"password_file": "%s\n", "passfile": "*:*:*:" + role + ":%s\n"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), name)
			write := func(password string) {
				require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, format, password), 0o600))
			}
			write("one")
			do("ALTER ROLE " + role + " PASSWORD 'one'")
			o := store.Options{URL: u.String(), PasswordFile: file}
			if name == "passfile" {
				q := *u
				q.RawQuery += "&passfile=" + url.QueryEscape(file)
				o = store.Options{URL: q.String()}
			}
			s := open(t, o)
			require.NoError(t, recordOne(t.Context(), s, name+" before"))
			do("ALTER ROLE " + role + " PASSWORD 'two'")
			do("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = '" + role + "'")
			require.ErrorIs(t, recordOne(t.Context(), s, name+" meanwhile"), store.ErrUnavailable) // the first to use a session that is gone is told so
			for err := error(nil); store.CauseOf(err) != store.CauseCredentials; {                 // another pool has sessions of its own
				err = s.Writable(t.Context())
				require.ErrorIs(t, err, store.ErrUnavailable)
			}
			require.Equal(t, store.CauseCredentials, s.Faults()["store changes"].Cause, "whatever the last change was told")
			for err := error(nil); store.CauseOf(err) != store.CauseCredentials; {
				err = recordOne(t.Context(), s, name+" meanwhile")
				require.ErrorIs(t, err, store.ErrUnavailable)
			}
			require.NoError(t, os.Remove(file))
			isOutage(t, recordOne(t.Context(), s, name+" meanwhile"), store.CauseCredentials)
			write("two")
			require.NoError(t, recordOne(t.Context(), s, name+" after"))
			require.Empty(t, s.Faults())
			with, err := store.WithPassword(u.String(), file)
			require.NoError(t, err)
			require.Contains(t, with, role+":")
		})
	}
}

func TestAPasswordFileIsPutIntoAnAddress(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte(`it's a\b@c`+"\r\n"), 0o600))
	for _, address := range []string{"postgres://u@h:1/d?sslmode=disable", "host=h port=1 user=u dbname=d sslmode=disable"} {
		with, err := store.WithPassword(address, file)
		require.NoError(t, err)
		c, err := pgx.ParseConfig(with)
		require.NoError(t, err)
		require.Equal(t, []string{"u", "h", "d", `it's a\b@c`}, []string{c.User, c.Host, c.Database, c.Password})
	}
	same, err := store.WithPassword("postgres://u@h/d", "")
	require.NoError(t, err)
	require.Equal(t, "postgres://u@h/d", same)
	_, err = store.WithPassword("postgres://u@h/d", filepath.Join(t.TempDir(), "absent"))
	require.ErrorContains(t, err, "password file")
	require.NoError(t, os.WriteFile(file, []byte("\n"), 0o600))
	_, err = store.WithPassword("postgres://u@h/d", file)
	require.ErrorContains(t, err, "is empty")
}
