package browser

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/docs/verifier"
	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/lab/verifiers"
	"github.com/arauto/arauto/internal/timing"
)

// TestAPersonVerifiesFilesOnThePage: opened as a file, by drag and drop, in both languages; nothing is asked of any network.
func TestAPersonVerifiesFilesOnThePage(t *testing.T) {
	text, err := os.ReadFile("../../audit/testdata/vectors.json")
	require.NoError(t, err)
	var vectors struct{ PublicKeyHex, ProofOfEntry1, Checkpoint string }
	require.NoError(t, json.Unmarshal(text, &vectors))
	public, err := hex.DecodeString(vectors.PublicKeyHex)
	require.NoError(t, err)
	key, err := audit.MarshalPublic(public)
	require.NoError(t, err)
	page := filepath.Join(t.TempDir(), "verify.html")
	require.NoError(t, os.WriteFile(page, verifier.Page, 0o600))

	w := newWindow(t, verifiers.Start(t))
	w.visit("file://" + page)
	require.Contains(t, w.text(), "it uses no network", "this browser speaks English")
	w.clickOn("lang")
	require.Contains(t, w.text(), "ela não usa rede")
	drop := func(name, content string) {
		script[bool](w, fmt.Sprintf(`(() => { const d = new DataTransfer(); d.items.add(new File([%q], %q));
			document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: d, bubbles: true, cancelable: true})); return true })()`, content, name))
	}
	until := func(text string) {
		ask(w, chromedp.Evaluate[bool](fmt.Sprintf(`new Promise(done => { const look = () => document.body.innerText.includes(%q) ? done(true) : setTimeout(look, 20); look(); })`, text), chromedp.EvalAwaitPromise))
	}
	drop("proof.txt", vectors.ProofOfEntry1)
	until("Falta a chave pública")
	drop("log.pub.pem", string(key))
	until("Registros conferidos: 1, como foram selados. O log tem 5.")
	drop("again.pub.pem", string(key)) // the same key in another file
	until("Registros conferidos: 1, como foram selados. O log tem 5.")
	drop("other.txt", strings.Replace(vectors.ProofOfEntry1, "index 1", "index 2", 1))
	until("Há uma falha; a primeira está na posição 2.")
	drop("lines.jsonl", `{"v":1,"seq":0}`)
	until("registros sozinhos não provam nada")
	var report bytes.Buffer
	require.NoError(t, evidence.NewBreachWriter(&report, "pdf", evidence.PaperFrom{Lang: "pt"}).End(&timing.ClockReport{Total: &timing.TimingSummary{}}))
	paper := filepath.Join(t.TempDir(), "report.pdf")
	require.NoError(t, os.WriteFile(paper, report.Bytes(), 0o600))
	w.do(chromedp.SetUploadFiles(chromedp.CSS("#files"), []string{paper}))
	until("não foi julgado: este PDF é um relatório, que nada prova")
	require.Contains(t, w.text(), "report.pdf: relatório em PDF")
	require.NotContains(t, w.text(), "dossiê em PDF")
	large := filepath.Join(t.TempDir(), "large.zip") // zeros that take no room
	require.NoError(t, os.WriteFile(large, []byte("PK"), 0o600))
	require.NoError(t, os.Truncate(large, 5<<30))
	w.do(chromedp.SetUploadFiles(chromedp.CSS("#files"), []string{large}))
	until("o arquivo é grande demais para o navegador: confira-o com arauto audit verify ou verify.py")
	w.clickOn("lang")
	until("Entries verified: 1, as they were sealed. The log has 5.")
	require.Contains(t, w.text(), "records alone prove nothing")
	require.Contains(t, w.text(), "the file is too large for the browser: verify it with arauto audit verify or verify.py")
	w.accessible("the verifier")
	w.media("", "dark")
	w.accessible("the verifier, dark", "color-contrast")
	w.narrow()
	require.Empty(t, w.overflow())
	w.clickOn("forget")
	until("nothing yet")
	foreign, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	forged, err := audit.MarshalPublic(foreign)
	require.NoError(t, err)
	drop("log.pub.pem", string(key))
	drop("proof.txt", vectors.ProofOfEntry1)
	until("Entries verified: 1, as they were sealed.")
	drop("evidence.pub.pem", string(forged)) // that of the person who hands over the evidence
	until("There are different public keys")
	require.NotContains(t, w.text(), "Entries verified")
	w.clickOn("forget")
	until("nothing yet")
	_, sites := w.loaded()
	for _, site := range sites {
		require.Truef(t, strings.HasPrefix(site, "file://"), "it asks %s", site)
	}
	require.Empty(t, w.complaints(), "nothing breaks its own policy")
	blocked := ask(w, chromedp.Evaluate[bool](`fetch("https://example.com/").then(() => false, () => true)`, chromedp.EvalAwaitPromise))
	require.True(t, blocked, "its policy lets it ask nobody")
}

// clickOn clicks a button whose page stays.
func (w *window) clickOn(id string) {
	w.t.Helper()
	script[bool](w, fmt.Sprintf(`document.getElementById(%q).click(); true`, id))
}
