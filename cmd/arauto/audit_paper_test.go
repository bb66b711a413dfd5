package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// requirePoppler makes the tests with pdftotext and pdfdetach fail rather than be skipped where poppler is not installed.
const requirePoppler = "ARAUTO_REQUIRE_POPPLER"

// poppler runs a program of a reader of PDF that is not ours.
func poppler(t *testing.T, program string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil && os.Getenv(requirePoppler) == "" {
		t.Skip(program + " is not installed; Debian has it in the package poppler-utils")
	}
	require.NoError(t, err, requirePoppler+" asks for "+program)
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// unspaced is a text without its spaces and line ends: where lines end is the layout's.
func unspaced(s string) string { return strings.Join(strings.Fields(s), "") }

// decimalPoint is a number with a decimal point: digits, a point and digits. Instants of files are written with a Z.
var decimalPoint = regexp.MustCompile(`[0-9]+\.[0-9]+(?:[^0-9Z.]|$)`)

// requireCommas fails where a text for people in Portuguese has a decimal point.
func requireCommas(t *testing.T, text string) {
	t.Helper()
	require.Empty(t, decimalPoint.FindAllString(text, -1), text)
	require.Regexp(t, `[0-9],[0-9]`, text)
}

// TestADossierOnPaperIsReadByOthersAndVerified: pages and attachments are read by poppler, the attached bundle by our verifier,
// and the file as a whole.
func TestADossierOnPaperIsReadByOthersAndVerified(t *testing.T) {
	p := openProven(t, 0)
	came := time.Now().Add(-time.Hour).Truncate(time.Second)
	p.exec(`INSERT INTO arauto.initiator (client_id, organisation_id, software_id, name, webhook_uris, push, push_epoch) VALUES ('itp', 'org-1', 's', 'Iniciadora Açaí S.A.', '[]', false, 1)`)
	late := p.tries(came, true, 3)
	p.seal()
	key := p.file("log.pub.pem")
	for lang, want := range map[string][]string{
		"pt": {"O que este documento prova", "O que ele não prova", "Como conferir sem nós", "Detentora", "Banco Azul S.A.", "Iniciadora Açaí S.A.", "org-1", "causa: paralisação", "Brasília", "atrasada"},
		"en": {"What this document proves", "What it does not prove", "How to check it without us", "Account holder", "Banco Azul S.A.", "Iniciadora Açaí S.A.", "cause: standstill", "late"},
	} {
		file := p.file("dossier-" + lang + ".pdf")
		args := []string{"audit", "dossier", "p-3", "--database-url", p.url, "--format", "pdf", "--lang", lang, "--out", file}
		p.environ = []string{"ARAUTO_HOLDER_LEGAL_NAME=Banco Azul S.A.", "ARAUTO_ORGANISATION_ID=org-0"}
		code, out := p.run(args...)
		require.Equal(t, done, code, out)
		first, err := os.ReadFile(file)
		require.NoError(t, err)
		code, out = p.run(args...)
		require.Equal(t, done, code, out)
		again, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, first, again, "the same log gives the same bytes")

		pages := poppler(t, "pdftotext", file, "-")
		text := unspaced(pages)
		for _, words := range append(want, came.UTC().Format("2006-01-02 15:04:"), "1 / ") {
			require.Contains(t, text, unspaced(words))
		}
		if lang == "pt" {
			requireCommas(t, pages)
		}
		dir := t.TempDir()
		poppler(t, "pdfdetach", "-saveall", "-o", dir, file)
		for _, name := range []string{"dossier.json", "bundle.zip", "checkpoint.txt", "log.pub.pem", "sha256sums.txt"} {
			require.FileExists(t, filepath.Join(dir, name))
		}
		var d struct {
			Notifications []struct {
				NotificationID string `json:"notificationId"`
			} `json:"notifications"`
			Initiators []struct {
				LegalName string `json:"legalName"`
			} `json:"initiators"`
		}
		content, err := os.ReadFile(filepath.Join(dir, "dossier.json"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(content, &d))
		require.Equal(t, late.String(), d.Notifications[0].NotificationID)
		require.Equal(t, "Iniciadora Açaí S.A.", d.Initiators[0].LegalName)

		code, out = p.run("audit", "verify", "--key", key, filepath.Join(dir, "bundle.zip"))
		require.Equal(t, done, code, out)
		code, out = p.run("audit", "verify", "--key", key, file)
		require.Equal(t, done, code, out)
		require.Contains(t, out, "genuine 3 of ")
	}
}

// TestAChangedByteInAPaperIsBad: in any attachment, also where the sums were made to agree.
func TestAChangedByteInAPaperIsBad(t *testing.T) {
	p := openProven(t, 0)
	p.tries(time.Now().Add(-time.Hour).Truncate(time.Second), true, .02)
	p.seal()
	file, key := p.file("dossier.pdf"), p.file("log.pub.pem")
	code, out := p.run("audit", "dossier", "p-3", "--database-url", p.url, "--format", "pdf", "--out", file)
	require.Equal(t, done, code, out)
	pdf, err := os.ReadFile(file)
	require.NoError(t, err)
	streams := 0
	for at := 0; ; streams++ {
		i := bytes.Index(pdf[at:], []byte("/Type /EmbeddedFile "))
		if i < 0 {
			break
		}
		at += i
		at += bytes.Index(pdf[at:], []byte("stream\n")) + len("stream\n")
		end := at + bytes.Index(pdf[at:], []byte("\nendstream"))
		damaged := bytes.Clone(pdf)
		damaged[(at+end)/2] ^= 1
		require.NoError(t, os.WriteFile(file, damaged, 0o600))
		code, out := p.run("audit", "verify", "--key", key, file)
		require.Equal(t, failed, code, out)
		require.Contains(t, out, "BAD seq=0 ", "attachment %d", streams)
		at = end
	}
	require.Equal(t, 5, streams)
	require.NoError(t, os.WriteFile(file, append(pdf, pdf...), 0o600))
	code, out = p.run("audit", "verify", "--key", key, file)
	require.Equal(t, failed, code, out)
	require.Contains(t, out, "the PDF is not as Arauto wrote it")
}

// TestTheReportOfAPeriodOnPaperHasTheFiguresOfTheOtherForms: totals, list and attachments are read by poppler.
func TestTheReportOfAPeriodOnPaperHasTheFiguresOfTheOtherForms(t *testing.T) {
	p := openProven(t, 0)
	came := time.Now().Add(-time.Hour).Truncate(time.Second)
	p.tries(came, true, 3)
	p.tries(came.Add(time.Second), false, .02, 10.08, 75)
	p.seal()
	period := []string{"audit", "breaches", "--database-url", p.url, "--from", came.Add(-time.Hour).Format(time.RFC3339), "--to", came.Add(time.Hour).Format(time.RFC3339)}
	file := p.file("report.pdf")
	code, out := p.run(append(period, "--format", "pdf", "--out", file)...)
	require.Equal(t, done, code, out)
	pages := poppler(t, "pdftotext", file, "-")
	text := unspaced(pages)
	for _, words := range []string{
		"Relatório de prazos das notificações", "1 (50,000 %)", "1 paralisação", "terceira tentativa: atrasada, 64,891 s após a falha", "1 desistida, tentativas esgotadas", "1 entregue",
		"(nome não informado)", "sozinho, nada prova a terceiros",
	} {
		require.Contains(t, text, unspaced(words))
	}
	requireCommas(t, pages)
	dir := t.TempDir()
	poppler(t, "pdfdetach", "-saveall", "-o", dir, file)
	attached, err := os.ReadFile(filepath.Join(dir, "breaches.csv"))
	require.NoError(t, err)
	code, table := p.run(append(period, "--format", "csv")...)
	require.Equal(t, done, code)
	require.True(t, strings.HasPrefix(table, string(attached)), "the table is the one of --format csv")
	code, out = p.run("audit", "verify", "--key", p.file("log.pub.pem"), file)
	require.Equal(t, usage, code, "a report is not judged: it was called altered")
	require.Contains(t, out, "FILE: not judged: this PDF is a report, which proves nothing; export its period as a bundle")
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3: docs/verify.py is not compared")
	}
	var size int
	require.NoError(t, p.owner.QueryRow(t.Context(), "SELECT max(size) FROM arauto.log_checkpoint").Scan(&size))
	anchors := p.anchor("anchors.txt", size)
	for _, more := range [][]string{nil, {"--anchors", anchors}} {
		cmd := exec.CommandContext(t.Context(), python, append([]string{"../../docs/verify.py", "--key", p.file("log.pub.pem"), file}, more...)...)
		text, _ := cmd.CombinedOutput()
		require.Equal(t, usage, cmd.ProcessState.ExitCode(), string(text))
		require.Contains(t, string(text), "not judged: this PDF is a report, which proves nothing; export its period as a bundle")
	}
}
