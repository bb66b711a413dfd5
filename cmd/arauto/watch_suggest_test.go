package main

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/watch/suggest"
)

// completePayments writes what a suggested mapping of payments lacks.
func completePayments(t *testing.T, file string) {
	t.Helper()
	whole := strings.NewReplacer(
		"ispb: nil #", `ispb: '"99999004"' #`, "accountType: nil #", `accountType: '"CACC"' #`, "accountType: conta.tipo #", `accountType: '"CACC"' #`, "localInstrument: nil #", `localInstrument: '"DICT"' #`,
		"RECEBIDO: RCVD # guess", "{RECEBIDO: RCVD, LIQUIDADO: ACSC}", "\n      map:\n        ", "\n      map: ",
	).Replace(readFile(t, file))
	require.NoError(t, os.WriteFile(file, []byte(whole), 0o600))
}

// coreOf makes a database with the tables of a sample, and names a file with its URL.
func coreOf(t *testing.T, files ...string) (url, file string) {
	t.Helper()
	url = storetest.Empty(t)
	core, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer core.Close(t.Context())
	for _, f := range files {
		_, err := core.Exec(t.Context(), string(readSample(t, "postgresql", f)))
		require.NoError(t, err, f)
	}
	file = filepath.Join(t.TempDir(), "core.url")
	require.NoError(t, os.WriteFile(file, []byte(url), 0o600))
	return url, file
}

// TestASuggestedMappingIsOneToStartFrom writes mappings for a Portuguese core, and completes one as a person would.
func TestASuggestedMappingIsOneToStartFrom(t *testing.T) {
	t.Parallel()
	_, url := coreOf(t, "schema.sql", "rows.sql")
	out := filepath.Join(t.TempDir(), "core.yaml")
	suggest := func(args ...string) called {
		return call(t, time.Minute, nil, append([]string{"watch", "suggest", "--url-file", url, "--namespace", "bancoexemplo"}, args...)...)
	}
	got := suggest("--out", out, "--table", "pagamentos", "--table", "consentimentos", "--table", "consentimentos_recorrentes", "--table", "pagamentos_recorrentes", "--table", "vinculos")
	require.Equal(t, done, got.code, got.errors)
	text := readFile(t, out)
	for _, line := range []string{
		"kind: recurring-consent", "client: iniciadora", "RECEBIDO: RCVD # guess", "amount: cents(valor_centavos)", "amount: amount(valor)",
		"conta: {table: contas, column: id, value: string(conta_id)}", "number: conta.numero", "number: 'conta?.numero'", "endToEndId: id_fim_a_fim", "number: recebedor_conta",
		`consentId: '"urn:bancoexemplo:consent:" + consentimento_id'`, `creationDateTime: 'instant(criado_em, "America/Sao_Paulo")'`, "identification: cancelado_por",
		`occurredAt: ['instant(situacao_alterada_em, "America/Sao_Paulo")', committed_at]`, "date: date(data_pagamento)", `CREATE PUBLICATION arauto FOR TABLE "public"."pagamentos", "public"."consentimentos", `,
	} {
		require.Contains(t, text, line)
	}
	for _, value := range []string{"99999999000191", "Loja", "94088392", "15025", "3f0c1d52"} {
		require.NotContains(t, text, value, "a value of a row")
	}
	require.NotContains(t, got.out, "check:", "every expression fits its columns")
	require.NotContains(t, got.out, "not tried")
	problems := regexp.MustCompile(`(?m)^    /data/\S*?/?(\w+) `).FindAllStringSubmatch(got.out, -1)
	require.NotEmpty(t, problems)
	for _, p := range problems {
		require.Regexp(t, `(?m)^ *`+p[1]+`:(.*|\s*\n.*)# (TODO|guess)`, text, "a problem of the newest row that no comment announces")
	}
	require.Equal(t, usage, suggest("--out", out, "--table", "pagamentos").code, "a file that is there is not replaced")

	one := filepath.Join(t.TempDir(), "one.yaml")
	require.Contains(t, suggest("--out", one, "--table", "pagamentos").out, "would go to quarantine")
	completePayments(t, one)
	explained := call(t, time.Minute, nil, "explain", "--source", one)
	require.Equal(t, done, explained.code, explained.out+explained.errors)
	require.Contains(t, explained.out, "it would be applied")
	require.Contains(t, explained.out, `"amount": "150.25"`)
}

// TestASuggestedMappingHasTheMembersOfTheDeclaredVersion: the tried row is judged by the declared versions, so the mapping has to be
// written by them as well.
func TestASuggestedMappingHasTheMembersOfTheDeclaredVersion(t *testing.T) {
	t.Parallel()
	address, url := coreOf(t, "schema.sql", "rows.sql")
	core, err := pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	defer core.Close(t.Context())
	_, err = core.Exec(t.Context(), `ALTER TABLE consentimentos_recorrentes ADD COLUMN journey jsonb DEFAULT '{"isLinked": true, "linkId": "urn:banco:consent:1"}'`)
	require.NoError(t, err)
	suggest := func(versions string) string {
		got := call(t, time.Minute, []string{"ARAUTO_SCHEMA_VERSIONS=" + versions}, "watch", "suggest", "--url-file", url, "--table", "consentimentos_recorrentes=recurring-consent")
		require.Equal(t, done, got.code, got.errors)
		return got.out
	}
	const member = `(?m)^ +linkId: .*journey`
	require.Regexp(t, member, suggest("automatic-payments/2.2.0"))
	require.NotRegexp(t, member, suggest("automatic-payments/2.0.0"), "2.0.0 has no such member: the row would go to quarantine")
}

// TestASuggestedMappingNamesEachColumnThatItDoesNotUse: a column whose type a member cannot have was passed over in silence, and a whole number
// that is named like a version.
func TestASuggestedMappingNamesEachColumnThatItDoesNotUse(t *testing.T) {
	t.Parallel()
	address, url := coreOf(t, "schema.sql", "rows.sql")
	core, err := pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	defer core.Close(t.Context())
	_, err = core.Exec(t.Context(), `ALTER TABLE pagamentos ADD vazio jsonb, ADD lista jsonb DEFAULT '[1]', ADD extras jsonb DEFAULT '{"recebedor": {"nome": "Ana"}, "sobra": 1, "etiquetas": []}',
ADD etiquetas text[], ADD "Nome Torto" json, ADD parcelas int, ADD versao int, ADD contador bigint, ADD duracao interval, ADD binario bytea, ADD faixa int4range, ADD visto_em timestamptz, ADD avisado boolean`)
	require.NoError(t, err)
	got := call(t, time.Minute, nil, "watch", "suggest", "--url-file", url, "--table", "pagamentos")
	require.Equal(t, done, got.code, got.errors)
	_, list, found := strings.Cut(got.out, "# columns without a member: ")
	require.True(t, found, got.out)
	list, _, _ = strings.Cut(list, "\n")
	names := strings.Split(list, ", ")
	for _, column := range []string{"vazio", "lista", "extras?.sobra", "etiquetas", `row["Nome Torto"]`, "parcelas", "versao", "contador", "duracao", "binario", "faixa", "visto_em", "avisado"} {
		require.Contains(t, names, column)
	}
	for _, column := range []string{"conta_id", "situacao_alterada_em", "id", "extras"} {
		require.NotContains(t, names, column, "the mapping uses it")
	}
}

// TestTheDemoFollowsACore goes the way of the page: from the tables of a core to the first notification that an initiator receives.
func TestTheDemoFollowsACore(t *testing.T) {
	t.Parallel()
	_, address := startCore(t, "core")
	core, err := pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	defer core.Close(t.Context())
	for _, f := range []string{"schema.sql", "rows.sql"} {
		_, err := core.Exec(t.Context(), string(readSample(t, "postgresql", f)))
		require.NoError(t, err, f)
	}
	folder, err := os.MkdirTemp("", "arauto-follow") //nolint:usetesting // the folder above the one of a test is closed to other users
	require.NoError(t, err)
	require.NoError(t, os.Chmod(folder, 0o755)) // the server's own user goes through it
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(folder)) })
	url, mapping := filepath.Join(folder, "core.url"), filepath.Join(folder, "core.yaml")
	require.NoError(t, os.WriteFile(url, []byte(address), 0o600))
	got := call(t, time.Minute, nil, "watch", "suggest", "--url-file", url, "--namespace", "bancoexemplo", "--table", "pagamentos", "--out", mapping)
	require.Equal(t, done, got.code, got.errors)
	completePayments(t, mapping)
	demo := product("demo", "--source", mapping)
	demo.Env = append(demo.Env, "TMPDIR="+folder)
	out, err := demo.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, demo.Start())
	patience := time.AfterFunc(2*time.Minute, func() { _ = demo.Process.Kill() })
	t.Cleanup(func() { patience.Stop(); _ = demo.Process.Kill() })
	lines := bufio.NewScanner(out)
	until := func(wanted ...string) (last string) {
		for len(wanted) > 0 {
			require.True(t, lines.Scan(), "the demo ended, or was ended after two minutes of silence, before it said %q", wanted)
			patience.Reset(2 * time.Minute)
			last = lines.Text()
			t.Log(last)
			wanted = slices.DeleteFunc(wanted, func(want string) bool { return strings.Contains(last, want) })
		}
		return last
	}
	until("Everything keeps running", "source core is running", "stored and announced to nobody: snapshot") // of the first load nothing is told
	_, err = core.Exec(t.Context(), "UPDATE pagamentos SET situacao = 'LIQUIDADO', situacao_alterada_em = now() AT TIME ZONE 'America/Sao_Paulo'")
	require.NoError(t, err)
	require.Contains(t, until("received POST /alfa/open-banking/webhook/v1/payments/v5/pix/payments/"), `{"data":{"timestamp":"`)
	_, err = core.Exec(t.Context(), "UPDATE pagamentos SET situacao = 'NUNCA_VISTO', situacao_alterada_em = now() AT TIME ZONE 'America/Sao_Paulo'")
	require.NoError(t, err)
	until("went to quarantine: /data/status unmapped-status")
	require.NoError(t, demo.Process.Signal(os.Interrupt))
	kept := until("files stay below ")
	until("demo: ok")
	require.NoError(t, demo.Wait())
	left, err := filepath.Glob(filepath.Join(folder, "arauto-*"))
	require.NoError(t, err)
	require.Len(t, left, 1, "the demo writes below one folder")
	require.Contains(t, kept, "files stay below "+left[0]+"; remove them with: rm -r "+left[0])
	database, err := filepath.Glob(filepath.Join(left[0], "arauto-postgres-*", "data"))
	require.NoError(t, err)
	require.Len(t, database, 1, "the folder that is named has the database's files, too")
}

func TestANameInQuotesIsReadAsInSQL(t *testing.T) {
	for text, want := range map[string]string{
		"pagamentos": "pagamentos", "app.pagamentos": "app.pagamentos", "Movimento": "Movimento", `"Movimento"`: "Movimento", `app."Movimento"`: "app.Movimento", `"App"."Movimento"`: "App.Movimento",
		`app."a,b"`: "app.a,b", `app."a.b"`: "app.a.b", `app.a.b`: "app.a.b", `"a=b"`: "a=b", `app."a ""b"" c"`: `app.a "b" c`, `"""a"""`: `"a"`,
	} {
		found, err := tablesOf([]string{text + "=pix-payment", "other"})
		require.NoError(t, err, text)
		require.Equal(t, []suggest.CoreTable{{Name: want, Kind: ofb.PixPayment}, {Name: "other"}}, found, text)
	}
	for text, want := range map[string]string{
		`"a.b"`: "needs its schema before it", `"a.b".c`: "cannot name a schema with a point", `"a`: "a quote stands alone", `a"b`: "a quote stands alone", `"a"b"`: "a quote stands alone",
		`a"b"`: "a quote stands alone", `"`: "a quote stands alone", `""`: "empty", "": "empty", "a,": "empty", "app.": "empty", `app.""`: "empty", `a,"a"`: "occurs twice", "a=pix": "pix", "a=pix-payment=b": "pix-payment=b",
	} {
		_, err := tablesOf([]string{text})
		require.ErrorContains(t, err, want, text)
	}
}

func TestSuggestSaysWhatItCannotRead(t *testing.T) {
	t.Parallel()
	core, url := coreOf(t, "schema.sql")
	owner, err := pgx.Connect(t.Context(), core)
	require.NoError(t, err)
	defer owner.Close(t.Context())
	_, err = owner.Exec(t.Context(), `CREATE TABLE "Movimento" (id uuid PRIMARY KEY, "Situacao" text CHECK ("Situacao" IN ('LIQUIDADO', 'ESTORNADO')), "Valor Total" numeric, date timestamptz)`)
	require.NoError(t, err)
	suggest := func(args ...string) called {
		return call(t, time.Minute, nil, append([]string{"watch", "suggest", "--url-file", url}, args...)...)
	}
	for want, args := range map[string][]string{
		"--table is missing": {},
		"the name does not tell the kind of resource; write --table Movimento=KIND": {"--table", "Movimento"},
		"table nada_pagamento does not exist":                                       {"--table", "nada_pagamento"},
		"the role may read: pagamentos, pagamentos_recorrentes, ":                   {"--table", "Pagamentos"},
		"--zone":                 {"--table", "pagamentos", "--zone", "Sampa"},
		"--table pagamentos=pix": {"--table", "pagamentos=pix"},
		"occurs twice":           {"--table", "pagamentos,pagamentos"},
	} {
		got := suggest(args...)
		if strings.Contains(want, "does not exist") || strings.Contains(want, "may read") {
			require.Equal(t, failed, got.code, want)
		} else {
			require.Equal(t, usage, got.code, want)
		}
		require.Contains(t, got.errors, want)
	}
	got := suggest("--table", "Movimento=pix-payment")
	require.Equal(t, done, got.code, got.errors)
	require.Contains(t, got.out, "LIQUIDADO: ACSC # guess")
	require.Contains(t, got.out, "# TODO ESTORNADO: one of ")
	require.NotContains(t, got.out, "there may be others", "the CHECK lists them")
	require.Contains(t, got.out, `amount: 'amount(row["Valor Total"])'`)
	require.Contains(t, got.out, "client: nil # TODO")
	require.Contains(t, got.errors, "Movimento: not tried: table Movimento has no row", "and the mapping can be read")
	none := suggest("--table", "vinculos")
	require.Contains(t, none.out, "# TODO map: from each value of the column")
}
