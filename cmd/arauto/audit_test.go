package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// proven is a database with a sealed history, and the public key in a file.
type proven struct {
	t        *testing.T
	url      string
	dir      string
	key      *audit.Signer
	auditlog *auditlog.Log
	owner    *pgx.Conn
	environ  []string // of the commands
}

func openProven(t *testing.T, entries int) *proven {
	t.Helper()
	p := &proven{t: t, url: storetest.Database(t), dir: t.TempDir()}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	p.key = audit.NewSigner(private)
	public, err := audit.MarshalPublic(p.key.Public())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(p.file("log.pub.pem"), public, 0o600))
	s, err := store.Open(t.Context(), store.Options{URL: p.url, Replica: "test", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	p.auditlog = auditlog.New(s.Access())
	p.owner, err = pgx.Connect(t.Context(), p.url)
	require.NoError(t, err)
	t.Cleanup(func() { p.owner.Close(t.Context()) })
	code, out := p.run("audit", "register", p.file("log.pub.pem"), "--database-url", p.url)
	require.Equal(t, done, code, out)
	p.exec(fmt.Sprintf(`INSERT INTO arauto.entry (id, kind, client_id, resource_kind, resource_id, facts)
SELECT gen_random_uuid(), 'change', '=cmd|calc', 2, 'p-' || n %% 10, json_build_object('n', n) FROM generate_series(1, %d) n`, entries))
	p.seal()
	return p
}

func (p *proven) file(name string) string { return filepath.Join(p.dir, name) }

func (p *proven) exec(sql string) {
	p.t.Helper()
	_, err := p.owner.Exec(p.t.Context(), sql)
	require.NoError(p.t, err)
}

func (p *proven) seal() {
	p.t.Helper()
	storetest.Seal(p.t, p.auditlog, p.owner, p.key)
}

func (p *proven) run(args ...string) (code int, stdout string) {
	p.t.Helper()
	var out, errs bytes.Buffer
	code = run(p.t.Context(), world{p.environ, &out, &errs}, args)
	return code, out.String() + errs.String()
}

func (p *proven) verify(args ...string) (int, string) {
	p.t.Helper()
	return p.run(append([]string{"audit", "verify", "--key", p.file("log.pub.pem")}, args...)...)
}

func TestVerifyPrintsOneLineAndItsExitCodeTells(t *testing.T) {
	p := openProven(t, 300)
	code, out := p.verify("--database-url", p.url)
	require.Equal(t, done, code, out)
	require.Regexp(t, `^ok 300 [A-Za-z0-9+/]{43}=\n$`, out)
	p.exec("SET session_replication_role = replica; UPDATE arauto.entry SET client_id = 'x' WHERE id = (SELECT id FROM arauto.log_position WHERE seq = 123)")
	code, out = p.verify("--database-url", p.url)
	require.Equal(t, failed, code)
	require.Regexp(t, `^BAD seq=123 .*\n$`, out)
	code, _ = p.run("audit", "verify", "--database-url", p.url)
	require.Equal(t, usage, code, "without a key")
}

// TestAnEmptyLogIsNotOK: neither is a log whose registered key is missing or another one (found F25).
func TestAnEmptyLogIsNotOK(t *testing.T) {
	p := openProven(t, 0)
	code, out := p.verify("--database-url", p.url)
	require.Equal(t, failed, code)
	require.Regexp(t, `^BAD seq=0 the log is empty: .*\n$`, out)
	p.exec("INSERT INTO arauto.entry (id, kind, facts) VALUES (gen_random_uuid(), 'admin', '{}')")
	code, out = p.verify("--database-url", p.url)
	require.Equal(t, failed, code)
	require.Regexp(t, `^BAD seq=0 the log is empty: .*\n$`, out)
	p.seal()
	code, out = p.verify("--database-url", p.url)
	require.Equal(t, done, code, out)

	public, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	other, err := audit.MarshalPublic(public)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(p.file("log.pub.pem"), other, 0o600))
	code, out = p.verify("--database-url", p.url)
	require.Equal(t, failed, code)
	require.Regexp(t, `^BAD seq=0 the key given is of the log arauto/[0-9a-f]{16}, and the registered key .* is of the log `+audit.Origin(p.key.Public())+`\n$`, out)
	p.asOwner("DELETE FROM log_key")
	code, out = p.verify("--database-url", p.url)
	require.Equal(t, failed, code)
	require.Regexp(t, `^BAD seq=0 no key is registered .*\n$`, out)
}

// TestAnchorsWithoutACheckpointAreRefused: an empty file of anchors was compared with nothing, and the log was ok.
func TestAnchorsWithoutACheckpointAreRefused(t *testing.T) {
	p := openProven(t, 3)
	empty := p.file("anchors.txt")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	code, out := p.verify("--database-url", p.url)
	require.Equal(t, done, code, out)
	code, out = p.verify("--database-url", p.url, "--anchors", empty)
	require.Equal(t, usage, code, out)
	require.NotContains(t, out, "ok ")
}

func TestABundleProvesItself(t *testing.T) {
	t.Parallel()
	p := openProven(t, 300)
	for name, filters := range map[string][]string{"the whole log": nil, "one payment": {"--resource", "p-3"}, "a client": {"--client", "=cmd|calc"}, "nothing": {"--client", "nobody"}} {
		t.Run(name, func(t *testing.T) {
			first, second := p.file("one.zip"), p.file("two.zip")
			for _, file := range []string{first, second} {
				code, out := p.run(append([]string{"audit", "export", "--database-url", p.url, "--size", "300", "--out", file}, filters...)...)
				require.Equal(t, done, code, out)
				p.seal() // the export itself is in the log by now, which must not show
			}
			one, err := os.ReadFile(first)
			require.NoError(t, err)
			two, err := os.ReadFile(second)
			require.NoError(t, err)
			require.Equal(t, one, two, "the same query gives the same bytes")
			code, out := p.verify(first)
			require.Equal(t, done, code, out)
			require.Contains(t, out, map[string]string{"the whole log": "ok 300 ", "one payment": "genuine 30 of 300 ", "a client": "genuine 300 of 300 ", "nothing": "genuine 0 of 300 "}[name])
			if filters != nil {
				require.Contains(t, out, "; completeness not shown\n")
				code, again := p.verify(first, "--require-complete")
				require.Equal(t, failed, code)
				require.Equal(t, out, again)
			}
			if name == "nothing" {
				return
			}
			i := bytes.Index(one, []byte(`"kind":"change"`))
			one[i+9] ^= 1
			require.NoError(t, os.WriteFile(second, one, 0o600))
			code, out = p.verify(second)
			require.Equal(t, failed, code)
			require.Contains(t, out, "BAD seq=")
		})
	}
	var recorded int
	require.NoError(t, p.owner.QueryRow(t.Context(), "SELECT count(*) FROM arauto.entry WHERE outcome = 'export' AND facts->>'sha256' <> '' AND facts->>'actor' <> ''").Scan(&recorded))
	require.Equal(t, 8, recorded, "reading the log is logged")
}

// TestACompleteBundleSaysSoAndOneWithARecordTakenOutDoesNotVerify is found F25 through the commands.
func TestACompleteBundleSaysSoAndOneWithARecordTakenOutDoesNotVerify(t *testing.T) {
	p := openProven(t, 30)
	p.exec("INSERT INTO arauto.entry (id, at, kind, client_id, facts) VALUES (gen_random_uuid(), now() + interval '3 hours', 'poll', '=cmd|calc', '{}')")
	p.seal()
	_, err := p.auditlog.VerifySince(t.Context(), p.key.Public(), 1000)
	require.NoError(t, err)
	p.seal()
	filters := []string{"audit", "export", "--database-url", p.url, "--client", "=cmd|calc", "--to", time.Now().Add(time.Minute).UTC().Format(time.RFC3339)}
	code, out := p.run(append(filters, "--out", p.file("all.zip"))...)
	require.Equal(t, done, code, out)
	code, out = p.verify(p.file("all.zip"), "--require-complete")
	require.Equal(t, done, code, out)
	require.Regexp(t, `(?m)^ok 30 [A-Za-z0-9+/]{43}=; complete$`, out)
	require.Contains(t, out, "note: the bundle has every entry of =cmd|calc")

	own := []string{"audit", "completeness", "--database-url", p.url, "--client", "=cmd|calc", "--from", "2020-01-01", "--to", time.Now().Add(time.Minute).UTC().Format(time.RFC3339)}
	code, out = p.run(append(own, "--out", p.file("own.zip"))...)
	require.Equal(t, done, code, out)
	require.Regexp(t, `(?m)^ok 30 [A-Za-z0-9+/]{43}=; complete$`, out)
	code, out = p.verify(p.file("own.zip"), "--require-complete")
	require.Equal(t, done, code, out)
	code, out = p.run(append(own[:len(own)-1], time.Now().AddDate(0, 0, 9).UTC().Format(time.RFC3339), "--out", p.file("later.zip"))...)
	require.Equal(t, failed, code, out)
	require.Contains(t, out, "completeness not shown", "the period is not over")
	code, out = p.run("audit", "completeness", "--database-url", p.url, "--client", "x", "--to", "2026-11-30", "--out", p.file("x.zip"))
	require.Equal(t, usage, code, out)

	p.asOwner("DELETE FROM entry WHERE id = (SELECT id FROM log_position WHERE seq = 7)") // and its proof and the sums are made anew
	code, out = p.run(append(filters, "--out", p.file("fewer.zip"))...)
	require.Equal(t, done, code, out)
	code, out = p.verify(p.file("fewer.zip"))
	require.Equal(t, failed, code)
	require.Regexp(t, `^BAD seq=0 .* the log has 31 entries of client "=cmd\|calc", and the bundle has 30\n$`, out)
}

func TestLinesVerifyAgainstAnchoredCheckpointsOnly(t *testing.T) {
	p := openProven(t, 300)
	code, out := p.run("audit", "export", "--database-url", p.url, "--format", "jsonl", "--out", p.file("log.jsonl"))
	require.Equal(t, done, code, out)
	code, _ = p.verify(p.file("log.jsonl"))
	require.Equal(t, usage, code)
	var note string
	require.NoError(t, p.owner.QueryRow(t.Context(), "SELECT note FROM arauto.log_checkpoint").Scan(&note))
	require.NoError(t, os.WriteFile(p.file("checkpoints.txt"), []byte(note+"\n"), 0o600))
	code, out = p.verify(p.file("log.jsonl"), "--anchors", p.file("checkpoints.txt"))
	require.Equal(t, done, code, out)
	text, err := os.ReadFile(p.file("log.jsonl"))
	require.NoError(t, err)
	lines := strings.SplitAfter(string(text), "\n")
	changed := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, "p-3") })
	for name, broken := range map[string]string{
		"BAD seq=299":                       strings.Join(lines[:299], ""),
		"BAD seq=7":                         strings.Join(lines[:7], "") + strings.Join(lines[8:], ""),
		fmt.Sprintf("BAD seq=%d ", changed): strings.Replace(string(text), "p-3", "p-4", 1),
	} {
		require.NoError(t, os.WriteFile(p.file("broken.jsonl"), []byte(broken), 0o600))
		code, out = p.verify(p.file("broken.jsonl"), "--anchors", p.file("checkpoints.txt"))
		require.Equal(t, failed, code)
		require.Contains(t, out, name)
	}
}

// TestAFilteredExportAsLinesIsNotAccused: it was called BAD, because positions are missing between its lines.
func TestAFilteredExportAsLinesIsNotAccused(t *testing.T) {
	p := openProven(t, 300)
	var note string
	require.NoError(t, p.owner.QueryRow(t.Context(), "SELECT note FROM arauto.log_checkpoint").Scan(&note))
	require.NoError(t, os.WriteFile(p.file("checkpoints.txt"), []byte(note+"\n"), 0o600))
	for name, filter := range map[string][]string{"some": {"--client", "=cmd|calc"}, "from": {"--to", "9000-01-01"}, "none": {"--client", "nobody"}} {
		file := p.file(name + ".jsonl")
		code, out := p.run(append([]string{"audit", "export", "--database-url", p.url, "--format", "jsonl", "--out", file}, filter...)...)
		require.Equal(t, done, code, out)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, name == "none", len(text) == 0)
		for line := range strings.Lines(string(text)) {
			require.True(t, strings.HasSuffix(line, `","filtered":true}`+"\n"), line)
		}
		for _, anchors := range [][]string{nil, {"--anchors", p.file("checkpoints.txt")}} {
			code, out = p.verify(append([]string{file}, anchors...)...)
			require.Equal(t, usage, code, out)
			require.Contains(t, out, "cannot be proven")
			require.Contains(t, out, "export a bundle with the same filter")
			if python, err := exec.LookPath("python3"); err == nil {
				ran, err := exec.CommandContext(t.Context(), python, append([]string{"../../docs/verify.py", "--key", p.file("log.pub.pem"), file}, anchors...)...).CombinedOutput()
				exited, ok := errors.AsType[*exec.ExitError](err)
				require.True(t, ok, string(ran))
				require.Equal(t, usage, exited.ExitCode(), string(ran))
				require.Contains(t, string(ran), "cannot be proven")
			}
		}
	}
}

// TestACSVHasNoFormulas: what an initiator or the core named cannot become a formula in an auditor's spreadsheet.
func TestACSVHasNoFormulas(t *testing.T) {
	p := openProven(t, 3)
	code, out := p.run("audit", "export", "--database-url", p.url, "--format", "csv", "--out", p.file("log.csv"))
	require.Equal(t, done, code, out)
	file, err := os.Open(p.file("log.csv"))
	require.NoError(t, err)
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 4)
	for _, row := range rows {
		for _, cell := range row {
			require.NotContains(t, "=+-@\t\r", (cell + " ")[:1])
		}
	}
	require.Equal(t, "'=cmd|calc", rows[1][5])
}

func TestAProofVerifiesAndIsRecorded(t *testing.T) {
	p := openProven(t, 300)
	code, out := p.run("audit", "proof", "77", "--database-url", p.url)
	require.Equal(t, done, code, out)
	require.NoError(t, os.WriteFile(p.file("proof.txt"), []byte(out), 0o600))
	code, told := p.verify(p.file("proof.txt"))
	require.Equal(t, done, code, told)
	require.Contains(t, told, "ok 1 ")
	require.NoError(t, os.WriteFile(p.file("proof.txt"), []byte(strings.Replace(out, "index 77", "index 78", 1)), 0o600))
	code, told = p.verify(p.file("proof.txt"))
	require.Equal(t, failed, code)
	require.Contains(t, told, "BAD seq=78 ")
	code, _ = p.run("audit", "proof", "300", "--database-url", p.url)
	require.Equal(t, failed, code)
}

// TestWhatCannotBeRecordedIsNotHandedOver: an export by a user who may only read leaves no file (D-3).
func TestWhatCannotBeRecordedIsNotHandedOver(t *testing.T) {
	p := openProven(t, 3)
	role := "reader_" + strings.ReplaceAll(store.NewID().String(), "-", "")
	cfg, err := pgx.ParseConfig(p.url)
	require.NoError(t, err)
	p.exec("CREATE ROLE " + role + " LOGIN PASSWORD 'reader'; GRANT USAGE ON SCHEMA arauto TO " + role + "; GRANT SELECT ON ALL TABLES IN SCHEMA arauto TO " + role)
	defer p.exec("DROP OWNED BY " + role + "; DROP ROLE " + role)
	url := fmt.Sprintf("postgres://%s:reader@%s/%s", role, net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))), cfg.Database)
	code, out := p.run("audit", "export", "--database-url", url, "--out", p.file("log.zip"))
	require.Equal(t, failed, code, out)
	require.Contains(t, out, "may not add to the history")
	require.NoFileExists(t, p.file("log.zip"))
	code, out = p.verify("--database-url", url)
	require.Equal(t, done, code, "verifying needs no more than reading: %s", out)
}

// TestTheAuditorsRoleSufficesForEveryReport: a member of arauto_auditor may export, prove and report, and each is recorded in
// the member's own name.
func TestTheAuditorsRoleSufficesForEveryReport(t *testing.T) {
	p := openProven(t, 3)
	role := "auditor_" + strings.ReplaceAll(store.NewID().String(), "-", "")
	cfg, err := pgx.ParseConfig(p.url)
	require.NoError(t, err)
	p.exec("CREATE ROLE " + role + " LOGIN PASSWORD 'auditor' IN ROLE arauto_auditor")
	defer p.exec("DROP ROLE " + role)
	url := fmt.Sprintf("postgres://%s:auditor@%s/%s", role, net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))), cfg.Database)
	today := time.Now().UTC().Format(time.DateOnly)
	for _, args := range [][]string{
		{"export", "--out", p.file("log.zip")},
		{"dossier", "p-1"},
		{"proof", "1"},
		{"breaches", "--from", today, "--to", today},
		{"report", "--day", today, "--out", p.file("calls.jsonl"), "--organisation", "11111111-2222-4333-8444-555555555555"},
	} {
		code, out := p.run(append(append([]string{"audit"}, args...), "--database-url", url)...)
		require.Equal(t, done, code, "%v: %s", args, out)
	}
	require.FileExists(t, p.file("log.zip"))
	_, out := p.run("audit", "reconcile", "--lang", "en", "--database-url", url)
	require.Contains(t, out, "entries looked at", "whatever it finds, it may read what it compares")
	auditor, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer auditor.Close(t.Context())
	for _, content := range []string{"line", "problems", "closed_why"} {
		_, err = auditor.Exec(t.Context(), "SELECT "+content+" FROM arauto.quarantine")
		require.ErrorContains(t, err, "permission denied", content)
	}
	var recorded int
	require.NoError(t, p.owner.QueryRow(t.Context(), "SELECT count(*) FROM arauto.entry WHERE kind = 'admin' AND facts->>'actor' = $1", role).Scan(&recorded))
	require.Positive(t, recorded)
}

// TestADossierTellsAboutOneResourceAndEscapesWhatOthersNamed: what an initiator or the core wrote stays text.
func TestADossierTellsAboutOneResourceAndEscapesWhatOthersNamed(t *testing.T) {
	p := openProven(t, 30)
	notification := store.NewID().String()
	p.exec(fmt.Sprintf(`INSERT INTO arauto.entry (id, kind, client_id, resource_kind, resource_id, notification_id, number, outcome, facts)
VALUES (gen_random_uuid(), 'decision', '<script>', 2, 'p-3', '%[1]s', NULL, 'applied', '{}'),
(gen_random_uuid(), 'result', '<script>', 2, 'p-3', '%[1]s', 2, 'refused', '{"echo":"<img src=x>","httpStatus":503,"nested":{"a":1},"endedAt":"2026-11-21T12:00:00.123456-03:00"}')`, notification))
	p.seal()
	for _, id := range []string{"p-3", notification} {
		code, out := p.run("audit", "dossier", id, "--database-url", p.url)
		require.Equal(t, done, code, out)
		require.Equal(t, 5, strings.Count(out, `<tr><td class="n">`), "three changes, the decision to tell, and one result")
		for _, words := range []string{"tentativa encerrada 2", "recusada", "&lt;img src=x&gt;", "&lt;script&gt;", "2026-11-21 15:00:00,123", "p-3"} {
			require.Contains(t, out, words)
		}
		require.NotContains(t, out, "<script>")
		require.NotContains(t, out, "<img")
	}
	code, out := p.run("audit", "dossier", notification, "--database-url", p.url, "--lang", "en", "--format", "text", "--out", p.file("dossier.txt"))
	require.Equal(t, done, code, out)
	text, err := os.ReadFile(p.file("dossier.txt"))
	require.NoError(t, err)
	require.Contains(t, string(text), "attempt ended 2: refused")
	code, out = p.run("audit", "dossier", "p-99", "--database-url", p.url)
	require.Equal(t, failed, code)
	require.Contains(t, out, "nothing about")
	p.exec("SET session_replication_role = replica; UPDATE arauto.entry SET outcome = 'delivered' WHERE notification_id IS NOT NULL")
	code, out = p.run("audit", "dossier", "p-3", "--database-url", p.url)
	require.Equal(t, failed, code, "what was tampered with is not presented")
	require.Contains(t, out, "BAD seq=30")
}
