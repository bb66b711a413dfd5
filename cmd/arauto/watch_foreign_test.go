package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// coded is a core with codes in place of words: states are numbers, amounts are cents, JSON holds the accounts, and the initiator's client id
// is in a table of its own.
const coded = `
CREATE TABLE tb_tpp (cd_tpp int PRIMARY KEY, client_id_oauth text NOT NULL, nr_cnpj char(14));
CREATE TABLE tb_cons (nu_cons bigint PRIMARY KEY, id_externo text NOT NULL, cd_tpp int NOT NULL REFERENCES tb_tpp, cd_sit char(1) NOT NULL);
CREATE TABLE tb_pix (
	nu_lcto bigint PRIMARY KEY, uid_lcto uuid NOT NULL, nu_cons bigint NOT NULL REFERENCES tb_cons, cd_tpp int NOT NULL REFERENCES tb_tpp, cd_sit smallint NOT NULL,
	vl_centavos numeric(15,0) NOT NULL, id_fim_a_fim char(32) NOT NULL, js_contas jsonb NOT NULL, dh_inclusao timestamp NOT NULL, dh_sit timestamp NOT NULL);
INSERT INTO tb_tpp VALUES (7, 'b0a1c2d3', '12345678000195');
INSERT INTO tb_cons VALUES (1001, 'urn:jequitiba:c-1001', 7, 'A');
INSERT INTO tb_pix SELECT n, gen_random_uuid(), 1001, 7, n, 100 * n, 'E9999900420261122014881B91E1B00' || n,
	'{"origem": {"ispb": "99999004", "agencia": "0001", "conta": "94088392"}, "destino": {"ispb": "99999004", "agencia": "1774", "conta": "1234567890"}}',
	'2026-11-20 12:00:00', '2026-11-20 12:00:00' FROM generate_series(1, 3) n`

// kept is a core of an ORM, in a schema whose name needs quotes: types are enums, the states of a payment are rows of their own, and a trigger
// keeps the newest in the payment.
const kept = `
CREATE SCHEMA "Núcleo-Pgto"; SET search_path = "Núcleo-Pgto";
CREATE TYPE situacao AS ENUM ('Recebido', 'Em Análise', 'Efetivado');
CREATE TABLE "Iniciadora" ("Id" uuid PRIMARY KEY, "CNPJ" char(14));
CREATE TABLE "Consentimento" ("Id" uuid PRIMARY KEY, "IniciadoraId" uuid NOT NULL REFERENCES "Iniciadora", situacao text NOT NULL, "CPF" char(11) NOT NULL, credor jsonb NOT NULL);
CREATE TABLE "Pagamento" (
	"Id" uuid PRIMARY KEY, "ConsentimentoId" uuid NOT NULL REFERENCES "Consentimento", "Valor" numeric(15,2) NOT NULL, "CriadoEm" timestamp NOT NULL, "ContaCredito" jsonb NOT NULL,
	forma text NOT NULL, situacao_atual situacao NOT NULL, situacao_em timestamp NOT NULL);
CREATE TABLE "HistoricoPagamento" ("Id" bigint PRIMARY KEY, "PagamentoId" uuid NOT NULL REFERENCES "Pagamento", "Situacao" situacao NOT NULL, "Em" timestamp NOT NULL);
INSERT INTO "Iniciadora" VALUES ('11111111-1111-4111-8111-111111111111', '12345678000195');
INSERT INTO "Consentimento" VALUES ('22222222-2222-4222-8222-222222222222', '11111111-1111-4111-8111-111111111111', 'autorizado', '76109277673', '{"cpfCnpj": "76109277673", "name": "Ana"}');
INSERT INTO "Pagamento" VALUES ('33333333-3333-4333-8333-333333333333', '22222222-2222-4222-8222-222222222222', 10, now() + interval '1 day', '{"ispb": "99999004", "number": "94088392"}',
	'MANU', 'Recebido', now() - interval '1 day');
INSERT INTO "HistoricoPagamento" VALUES (1, '33333333-3333-4333-8333-333333333333', 'Recebido', now() - interval '1 day')`

// foreignCore makes a database with these tables, and names a file with its URL.
func foreignCore(t *testing.T, statements string) (address, file string) {
	t.Helper()
	address, file = coreOf(t)
	core, err := pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	defer core.Close(t.Context())
	_, err = core.Exec(t.Context(), statements)
	require.NoError(t, err)
	return address, file
}

// TestASuggestedMappingFitsCoresOfOtherMaking: what is not marked TODO or guess is right as it stands.
func TestASuggestedMappingFitsCoresOfOtherMaking(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		core         string
		tables       []string
		want, absent []string
	}{
		"codes": {
			coded,
			[]string{"tb_pix", "tb_cons=payment-consent"},
			[]string{
				`FOR TABLE "public"."tb_pix", "public"."tb_cons" WITH`, "id: uid_lcto", "client: r_cd_tpp.client_id_oauth", "# TODO '3': one of RCVD", "consentId: r_nu_cons.id_externo",
				"cnpjInitiator: r_cd_tpp.nr_cnpj", "ispb: 'js_contas?.destino?.ispb'", "number: 'js_contas?.destino?.conta'", "number: 'js_contas?.origem?.conta'", "amount: cents(vl_centavos)",
				"id: id_externo",
			},
			[]string{"b0a1c2d3", "cancellation:", "lies ahead"},
		},
		"an ORM": {
			kept,
			[]string{`"Núcleo-Pgto"."Pagamento"`, "Núcleo-Pgto.Consentimento", "Núcleo-Pgto.HistoricoPagamento"},
			[]string{
				`FOR TABLE "Núcleo-Pgto"."Pagamento", "Núcleo-Pgto"."Consentimento", `, "value: situacao_atual", "Efetivado: ACSC # guess", `statusUpdateDateTime: 'instant(situacao_em, `,
				"localInstrument: forma # guess", "cnpjInitiator: iniciadora.CNPJ", "client: IniciadoraId # guess", "cpfCnpj: 'credor?.cpfCnpj'", "identification: CPF",
				"id: PagamentoId", "value: Situacao", "client: consentimento.IniciadoraId", `statusUpdateDateTime: 'instant(Em, "America/Sao_Paulo")' # guess`,
				"# TODO CriadoEm of the newest row lies ahead", "number: 'pagamento.ContaCredito?.number'",
			},
			[]string{"cancellation:", "situacao_em of the newest row"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, file := foreignCore(t, c.core)
			args := []string{"watch", "suggest", "--url-file", file, "--namespace", "banco"}
			for _, table := range c.tables {
				args = append(args, "--table", table)
			}
			got := call(t, time.Minute, nil, args...)
			require.NotEmpty(t, got.out, got.errors)
			for _, line := range c.want {
				require.Contains(t, got.out, line)
			}
			for _, line := range c.absent {
				require.NotContains(t, got.out, line)
			}
		})
	}
}

// TestAMappingIsCheckedBeforeThereAreSettings: a newcomer has a database and a mapping, and no gateway.
func TestAMappingIsCheckedBeforeThereAreSettings(t *testing.T) {
	t.Parallel()
	address, file := foreignCore(t, coded)
	mapping := filepath.Join(t.TempDir(), "core.yaml")
	write := func(text string) {
		t.Helper()
		require.NoError(t, os.WriteFile(mapping, []byte(strings.NewReplacer("URL_FILE", file).Replace(text)), 0o600))
	}
	const text = `source: core
type: postgres
postgres: {url_file: URL_FILE, publication: arauto_checked, slot: arauto_checked, create: true}
tables:
  tb_pix:
    kind: pix-payment
    id: uid_lcto
    client: '"alfa"'
    version: v5
    status: {value: cd_sit, map: {1: RCVD, 2: PDNG}}
    data: {creationDateTime: 'instant(dh_inclusao, "UTC")'}
`
	check := func() called { return call(t, time.Minute, nil, "check", "--source", mapping) }
	write(text)
	got := check()
	require.NotContains(t, got.errors, "ARAUTO_", "no other setting is asked for")
	require.Regexp(t, `WARNING source core: tb_pix: .*, 1 more would go to quarantine: /data/status unmapped-status`, got.out, "the newest row is mapped, and an older one is not")

	write(strings.Replace(text, "tb_pix", "TB_PIX", 1))
	got = check()
	require.Equal(t, usage, got.code)
	require.Contains(t, got.errors, "table TB_PIX does not exist")
	require.Contains(t, got.errors, "the role may read: tb_pix, ")

	write(text)
	parsed, err := url.Parse(address)
	require.NoError(t, err)
	parsed.Path = "/nowhere"
	require.NoError(t, os.WriteFile(file, []byte(parsed.String()), 0o600))
	for _, got := range []called{check(), call(t, time.Minute, nil, "demo", "--source", mapping)} { // the demo starts nothing that cannot succeed
		require.Equal(t, usage, got.code)
		require.Contains(t, got.errors, "url_file "+file)
		require.Contains(t, got.errors, `database "nowhere" does not exist`)
		require.Contains(t, got.errors, "correct the name of the database in it")
		require.Len(t, strings.Split(strings.TrimSpace(got.errors), "\n"), 1, "one line says it")
		require.NotContains(t, got.out, "demo: started")
	}
	parsed.Host = "127.0.0.1:1"
	require.NoError(t, os.WriteFile(file, []byte(parsed.String()), 0o600))
	require.Contains(t, check().errors, "nothing listens there: correct the host or the port in it")
	require.Equal(t, usage, call(t, time.Minute, nil, "check", "--source", mapping, "--offline").code)
}
