package browser

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/store"
)

// mostClicks is how many clicks an answer may take from the first page.
const mostClicks = 3

// question is asked by somebody who has never seen a terminal. Each step is one click; text that is typed is none.
type question struct {
	asked  string
	who    string
	answer func(*clicker)
}

// questions are the six that compliance asks, and the one of an operator at three in the morning.
var questions = []question{
	{"prove payment X from its end-to-end id", "auditor", func(c *clicker) {
		id := c.h.endToEnd(c.h.retried)
		c.known(id)
		c.types("#q", id)
		c.click("form[role=search] button")
		require.Equal(c.t, "/resources/pix-payment/"+c.h.retried, c.at())
		c.reads("notificada na 2ª tentativa", "recusada 503")
		c.proves(`main a[href$="dossier?format=pdf"]`)
	}},
	{"how many were late this month, by initiator, and why?", "auditor", func(c *clicker) {
		c.click(`nav a[href="/late"]`)
		c.reads("Por iniciadora", "Quem pode agir", certs.DefaultAlfa.Name, "o core")
	}},
	{"who read the log?", "auditor", func(c *clicker) {
		c.click(`nav a[href="/access"]`)
		c.reads("Quem leu ou fez o quê", "fabia")
	}},
	{"everything of client Y, complete", "auditor", func(c *clicker) {
		c.click(`nav a[href="/exports"]`)
		c.types(`form[action="/exports"] input[name=clientId]`, certs.DefaultAlfa.Name)
		c.click(`form[action="/exports"] button[type=submit]`)
		c.until("pronta")
		c.fetches(`main a[href$="/file"]`)
	}},
	{"the regulator's figures of this month", "auditor", func(c *clicker) {
		c.click(`nav a[href="/late"]`)
		c.downloads(`form[action="/late/month"]`, "format=csv", "text/csv")
	}},
	{"was the database tampered with?", "auditor", func(c *clicker) {
		c.click(`nav a[href="/log"]`)
		c.click(`form[action="/log/verifications"] button`)
		c.until("sem divergência")
	}},
	{"initiator Z says that nothing came since midnight", "operator", func(c *clicker) {
		c.click(`nav a[href="/initiators"]`)
		c.click(fmt.Sprintf(`main a[href="/initiators/%s"]`, certs.DefaultBeta.Name))
		c.reads("Nenhuma entrega tem sucesso", "Causa:")
	}},
}

// clicks asks every question, each from the first page.
func clicks(t *testing.T, h *house) {
	h.sealed()
	for _, q := range questions {
		t.Run(q.asked, func(t *testing.T) {
			w := newWindow(t, h.browser)
			w.enter(h, "clara", q.who)
			require.EqualValues(t, 200, w.visit(h.byLink+"/"))
			c := &clicker{window: w, h: h}
			q.answer(c)
			require.LessOrEqual(t, c.clicks, mostClicks)
			t.Logf("%d clicks", c.clicks)
		})
	}
}

// clicker is a person at a window whose clicks are counted.
type clicker struct {
	*window
	h      *house
	clicks int
}

// types fills a field in.
func (c *clicker) types(selector, text string) {
	c.t.Helper()
	c.do(chromedp.SetValue(chromedp.CSS(selector), text))
}

// click presses what a selector names and waits for the page that follows.
func (c *clicker) click(selector string) {
	c.t.Helper()
	c.clicks++
	require.EqualValues(c.t, 200, c.press(selector), selector)
}

// downloads presses the button of a form whose answer is a file: one click.
func (c *clicker) downloads(form, more, media string) {
	c.t.Helper()
	c.clicks++
	got := ask(c.window, chromedp.Evaluate[string](fmt.Sprintf(`(() => { const f = document.querySelector(%q);
		return fetch(f.action + "?" + new URLSearchParams(new FormData(f)) + "&" + %q).then(r => r.status + " " + r.headers.get("content-type")) })()`, form, more),
		chromedp.EvalAwaitPromise))
	require.Contains(c.t, got, "200 "+media)
}

// fetches presses a link whose answer is a file: one click.
func (c *clicker) fetches(link string) {
	c.t.Helper()
	c.clicks++
	got := ask(c.window, chromedp.Evaluate[string](fmt.Sprintf(`fetch(document.querySelector(%q).href).then(r => r.status + " " + r.headers.get("content-disposition"))`, link),
		chromedp.EvalAwaitPromise))
	require.Contains(c.t, got, "200 attachment")
}

// endToEnd is the end-to-end id that the document of a payment has.
func (h *house) endToEnd(payment string) string {
	h.t.Helper()
	var column []byte
	require.NoError(h.t, h.db.QueryRow(h.t.Context(), "SELECT document FROM arauto.resource WHERE id = $1", payment).Scan(&column))
	document, err := store.Unpack(column)
	require.NoError(h.t, err)
	var data struct{ EndToEndID string }
	require.NoError(h.t, json.Unmarshal(document, &data))
	require.NotEmpty(h.t, data.EndToEndID)
	return data.EndToEndID
}

// known waits until the one box finds an id, and returns to the first page.
func (c *clicker) known(id string) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		c.visit(c.h.byLink + "/find?q=" + id)
		return strings.HasPrefix(c.at(), "/resources/")
	}, time.Minute, 100*time.Millisecond, "what is sealed and folded is found")
	require.EqualValues(c.t, 200, c.visit(c.h.byLink+"/"))
}

// proves presses a link to a file of evidence, one click, and verifies the file with the log's key alone, as arauto audit verify does.
func (c *clicker) proves(link string) {
	c.t.Helper()
	c.clicks++
	file := c.download(c.t, link)
	require.True(c.t, strings.HasPrefix(file, "%PDF-"))
	block, _ := pem.Decode([]byte(ask(c.window, chromedp.Evaluate[string](`fetch("/log/key").then(r => r.text())`, chromedp.EvalAwaitPromise))))
	require.NotNil(c.t, block)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(c.t, err)
	found, err := evidence.VerifyFile(strings.NewReader(file), int64(len(file)), key.(ed25519.PublicKey), nil, audit.WholeMost)
	require.NoError(c.t, err)
	require.GreaterOrEqual(c.t, found.Entries, int64(4), "change with decision and attempt, its result, the second attempt with its result")
}

// reads checks what the page says.
func (c *clicker) reads(texts ...string) {
	c.t.Helper()
	page := c.text()
	for _, text := range texts {
		require.Contains(c.t, page, text)
	}
}

// until waits until the page, which refreshes itself, says something.
func (c *clicker) until(text string) {
	c.t.Helper()
	ask(c.window, chromedp.Evaluate[bool](fmt.Sprintf(`new Promise(done => { const look = () => document.body.innerText.includes(%q) ? done(true) : setTimeout(look, 100); look(); })`, text),
		chromedp.EvalAwaitPromise))
}
