package browser

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// oneResource follows a payment that was delivered at the second attempt: the story, a dossier, the proof of a line, a resend.
func oneResource(t *testing.T, h *house) {
	w := newWindow(t, h.browser)
	w.enter(h, "elis", "operator", "auditor")
	path := "/resources/pix-payment/" + h.retried
	require.Eventually(t, func() bool {
		w.visit(h.byLink + path)
		return script[bool](w, `document.querySelectorAll(".story a[href^='/entries/']").length >= 3 && document.body.innerText.includes("2ª tentativa")`)
	}, time.Minute, 100*time.Millisecond, "the second attempt is sealed")
	text := w.text()
	require.Contains(t, text, "notificada na 2ª tentativa")
	require.Contains(t, text, "recusada 503")
	require.Regexp(t, `10,\d+ s depois da falha`, text, "within a second")
	require.Contains(t, text, "Deve ser notificada")
	w.picture(t, "console-resource.png")

	require.EqualValues(t, 200, w.press(`.story a[href^="/entries/"]`))
	require.Contains(t, w.text(), "conferido: está no histórico selado")
	proof := w.download(t, `a[href$="/proof"]`)
	require.Contains(t, proof, "arauto", "the file that arauto audit verify checks")

	w.visit(h.byLink + path)
	require.Contains(t, w.download(t, `a[href$="dossier?format=text"]`), h.retried)
	require.Equal(t, 1, h.entries("dossier", "elis"))

	w.scripts(false)
	w.visit(h.byLink + "/resources/pix-payment/" + h.cancelled)
	require.Contains(t, w.text(), "notificação cancelada")
	w.do(chromedp.Click(chromedp.CSS("details.act summary")), chromedp.SendKeys(chromedp.CSS("input[name=reason]"), "a iniciadora pediu"))
	require.EqualValues(t, 200, w.press("details.act button"))
	require.Contains(t, w.text(), "O reenvio foi pedido e está no histórico")
	w.scripts(true)
	var n int
	require.NoError(t, h.db.QueryRow(t.Context(), "SELECT count(*) FROM arauto.entry WHERE kind = 'resend' AND resource_id = $1 AND facts->>'actor' = 'elis'", h.cancelled).Scan(&n))
	require.Equal(t, 1, n, "the act is an entry, with the person")

	operator := newWindow(t, h.browser)
	operator.enter(h, "fabio", "operator")
	operator.visit(h.byLink + path)
	require.False(t, script[bool](operator, `document.body.innerHTML.includes("/entries/") || document.body.innerHTML.includes("/dossier")`), "proofs are for auditors")
	require.EqualValues(t, 403, operator.visit(h.byLink+path+"/dossier"))
	require.EqualValues(t, 404, operator.visit(h.byLink+"/resources/pix-payment/00000000-0000-4000-8000-000000000000"))
	require.EqualValues(t, 404, operator.visit(h.byLink+"/resources/pix-payment/a%2Fb"))
}

// download clicks a link to a file and returns the file.
func (w *window) download(t *testing.T, selector string) string {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	_, err := chromedp.CallBrowser(ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
		Behavior: browser.SetDownloadBehaviorBehaviorAllow, DownloadPath: dir, BrowserContextID: chromedp.FromContext(w.ctx).BrowserContextID,
	})
	require.NoError(t, err)
	w.do(chromedp.Click(chromedp.CSS(selector)))
	var content []byte
	require.Eventually(t, func() bool {
		found, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, name := range found {
			if filepath.Ext(name) != ".crdownload" {
				content, err = os.ReadFile(name)
				return err == nil && len(content) > 0
			}
		}
		return false
	}, 30*time.Second, 20*time.Millisecond, selector)
	return string(content)
}

// pictureMost is how large a picture of the documentation may be.
const pictureMost = 150 << 10

// picture writes a picture of the page for the documentation, where ARAUTO_SCREENSHOTS=1 asks for it.
func (w *window) picture(t *testing.T, name string) {
	t.Helper()
	if os.Getenv("ARAUTO_SCREENSHOTS") != "1" {
		return
	}
	w.do(chromedp.EmulateViewport(1320, 760)) // the file of a window of 900 is too large
	defer w.wide()
	png := ask(w, chromedp.CaptureScreenshot())
	require.LessOrEqual(t, len(png), pictureMost, name)
	require.NoError(t, os.WriteFile(filepath.Join("..", "..", "..", "docs", "images", name), png, 0o644))
}

// finds asks the one box of every page: one hit opens, and what nobody knows is said to be unknown.
func finds(t *testing.T, h *house) {
	w := newWindow(t, h.browser)
	w.enter(h, "gina", "operator")
	w.do(chromedp.SetValue(chromedp.CSS("#q"), h.delivered))
	require.EqualValues(t, 200, w.press("form[role=search] button"))
	require.Equal(t, "/resources/pix-payment/"+h.delivered, w.at(), "one hit opens")
	var interaction string
	require.NoError(t, h.db.QueryRow(t.Context(), "SELECT interaction_id::text FROM arauto.entry WHERE resource_id = $1 AND interaction_id IS NOT NULL LIMIT 1", h.delivered).Scan(&interaction))
	require.EqualValues(t, 200, w.visit(h.byLink+"/find?q="+interaction))
	require.Equal(t, "/resources/pix-payment/"+h.delivered, w.at(), "an attempt's id opens its resource")
	require.EqualValues(t, 200, w.visit(h.byLink+"/find?q=alfa"))
	require.Equal(t, "/initiators/alfa", w.at())
	require.Positive(t, h.entries("find", "gina"), "what is looked for is recorded")
}
