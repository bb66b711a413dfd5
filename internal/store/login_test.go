package store_test

import (
	"context"
	"net/url"
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/temppostgres"
	"github.com/arauto/arauto/internal/store"
)

// bankServer is a server of a bank whose roles have no more rights than its administrators give them. Nothing was migrated on it.
type bankServer struct {
	t     *testing.T
	url   *url.URL
	owner *pgx.Conn // a superuser
}

func openBankServer(t *testing.T) *bankServer {
	t.Helper()
	server, err := temppostgres.Start(t.Context(), temppostgres.Options{Private: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	made, err := server.CreateDatabase(t.Context(), "bank", "")
	require.NoError(t, err)
	b := &bankServer{t: t}
	b.url, err = url.Parse(made)
	require.NoError(t, err)
	b.owner, err = pgx.Connect(t.Context(), made)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.owner.Close(context.Background()) })
	return b
}

func (b *bankServer) do(text string) {
	b.t.Helper()
	_, err := b.owner.Exec(b.t.Context(), text)
	require.NoError(b.t, err, text)
}

// as is the database's URL for another login, whose password is x.
func (b *bankServer) as(login string) string {
	u := *b.url
	u.User = url.UserPassword(login, "x")
	return u.String()
}

// migrate runs migrations as a login, which must fail, and returns the statements that the error asks for.
func (b *bankServer) migrate(login string, cure *regexp.Regexp) string {
	b.t.Helper()
	err := store.Migrate(b.t.Context(), b.as(login))
	require.Error(b.t, err)
	found := cure.FindStringSubmatch(err.Error())
	require.NotNil(b.t, found, "no cure in: %v", err)
	require.ErrorContains(b.t, err, "then run arauto migrate again")
	return found[1]
}

// TestMigrateNamesTheRightThatTheOwnerLacksAndItsCureWorks follows each error's own words until the schema is up to date.
func TestMigrateNamesTheRightThatTheOwnerLacksAndItsCureWorks(t *testing.T) {
	b := openBankServer(t)
	b.do("CREATE ROLE bank_owner LOGIN PASSWORD 'x'")

	schema := b.migrate("bank_owner", regexp.MustCompile(`may not create the schema arauto: the owner of the database runs (.*), then`))
	require.Equal(t, `CREATE SCHEMA arauto AUTHORIZATION "bank_owner"`, schema)
	b.do(schema)

	roles := b.migrate("bank_owner", regexp.MustCompile(`lacks CREATEROLE, .*: a role that has CREATEROLE runs (.*), then`))
	require.Equal(t, `CREATE ROLE arauto_app NOLOGIN; CREATE ROLE arauto_auditor NOLOGIN; GRANT arauto_app TO "bank_owner";`, roles)
	b.do(roles)
	require.NoError(t, store.Migrate(t.Context(), b.as("bank_owner")))

	b.do("CREATE ROLE another LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA arauto TO another")
	require.ErrorContains(t, store.Migrate(t.Context(), b.as("another")), "permission denied")
	b.do("REVOKE USAGE ON SCHEMA arauto FROM another")
	err := store.Migrate(t.Context(), b.as("another"))
	require.ErrorContains(t, err, "another is not the owner of the schema arauto: log in as the owner, then run arauto migrate again")
	require.NotContains(t, err.Error(), "the schema is not the one this binary needs")
}

// TestALoginThatCannotActAsOurRoleIsTold: none of these is a schema at version 0.
func TestALoginThatCannotActAsOurRoleIsTold(t *testing.T) {
	b := openBankServer(t)
	versions := func(login string) (have, want int64, err error) {
		s, err := store.Open(t.Context(), store.Options{URL: b.as(login), Replica: "test"})
		require.NoError(t, err)
		defer s.Close()
		return s.SchemaVersions(t.Context())
	}
	b.do("CREATE ROLE outsider LOGIN PASSWORD 'x'")
	have, _, err := versions("outsider")
	require.NoError(t, err, "nothing was migrated, and nothing else is wrong")
	require.Zero(t, have)

	require.NoError(t, store.Migrate(t.Context(), b.url.String()))
	_, _, err = versions("outsider")
	require.EqualError(t, err, `the login outsider is no member of arauto_app; run GRANT arauto_app TO "outsider"`)
	require.NotErrorIs(t, err, store.ErrUnavailable, "waiting does not help")

	b.do(`GRANT arauto_app TO "outsider"`)
	have, want, err := versions("outsider")
	require.NoError(t, err)
	require.Equal(t, want, have)

	b.do("REVOKE USAGE ON SCHEMA arauto FROM arauto_app")
	_, _, err = versions("outsider")
	require.ErrorContains(t, err, "GRANT USAGE ON SCHEMA arauto TO arauto_app")
	b.do("GRANT USAGE ON SCHEMA arauto TO arauto_app")

	s, err := store.Open(t.Context(), store.Options{URL: b.as("outsider"), Replica: "test"})
	require.NoError(t, err)
	defer s.Close()
	l, err := s.Login(t.Context())
	require.NoError(t, err)
	require.Equal(t, store.SessionUser{User: "outsider"}, l)
	top, err := store.Open(t.Context(), store.Options{URL: b.url.String(), Replica: "test"})
	require.NoError(t, err)
	defer top.Close()
	l, err = top.Login(t.Context())
	require.NoError(t, err)
	require.True(t, l.Superuser)
	require.True(t, l.Owner)
}
