package browser

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

//go:embed testdata/axe.min.js
var axe string

// window is one window of the browser, with cookies of its own.
type window struct {
	t   *testing.T
	ctx context.Context

	mu    sync.Mutex
	wrong []string // what the browser itself complained about: broken policies, scripts, files
	bytes float64  // over the wire since the last visit began
	sites []string // asked for
}

// window opens one.
func newWindow(t *testing.T, browser context.Context) *window {
	t.Helper()
	ctx, end := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(end)
	w := &window{t: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, w.hear))
	w.do(command(log.Enable, cdp.Empty{}), command(network.Enable, network.EnableParams{}), command(runtime.Enable, cdp.Empty{}))
	return w
}

// command is a step that sends a command of the browser's protocol.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// ask runs one step and returns its value.
func ask[T any](w *window, step chromedp.Action[T]) T {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	value, err := chromedp.Run(ctx, step)
	require.NoError(w.t, err)
	return value
}

// script evaluates an expression on the page.
func script[T any](w *window, expression string) T {
	w.t.Helper()
	return ask(w, chromedp.Evaluate[T](expression))
}

// hear collects what the browser complains about.
func (w *window) hear(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || strings.Contains(e.Entry.Text, "Content Security Policy") {
			w.wrong = append(w.wrong, e.Entry.Text+" "+e.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		w.wrong = append(w.wrong, e.ExceptionDetails.Text)
	case *network.EventLoadingFinished:
		w.bytes += e.EncodedDataLength
	case *network.EventRequestWillBeSent:
		w.sites = append(w.sites, e.Request.URL)
	}
}

// loaded returns the bytes over the wire and the addresses that were asked for since the last visit began.
func (w *window) loaded() (bytes float64, sites []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes, slices.Clone(w.sites)
}

// complaints returns and forgets what the browser complained about.
func (w *window) complaints() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.wrong
	w.wrong = nil
	return out
}

// do runs steps, at most half a minute.
func (w *window) do(steps ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	require.NoError(w.t, chromedp.Do(ctx, steps...))
}

// visit opens an address and returns the status of the page.
func (w *window) visit(address string) int64 {
	w.t.Helper()
	w.mu.Lock()
	w.bytes, w.sites = 0, nil
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	response, err := chromedp.RunResponse(ctx, chromedp.Navigate(address))
	require.NoError(w.t, err, address)
	return response.Status
}

// press clicks what a selector names and waits for the page that follows.
func (w *window) press(selector string) int64 {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	response, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector)))
	require.NoError(w.t, err, selector)
	return response.Status
}

// text is what a person reads on the page.
func (w *window) text() string {
	w.t.Helper()
	return oneLine(script[string](w, "document.body.innerText"))
}

// at is the path and query of the page.
func (w *window) at() string {
	w.t.Helper()
	return script[string](w, "location.pathname + location.search")
}

// accessible lets axe judge the page; rules: all of them, or those named.
func (w *window) accessible(where string, rules ...string) {
	w.t.Helper()
	only := `{type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}`
	if len(rules) > 0 {
		list, err := json.Marshal(rules)
		require.NoError(w.t, err)
		only = `{type: "rule", values: ` + string(list) + `}`
	}
	type finding struct {
		ID, Help string
		Nodes    []struct{ HTML, FailureSummary string }
	}
	if !script[bool](w, `typeof axe === "object"`) {
		script[any](w, axe+"; null")
	}
	found := ask(w, chromedp.Evaluate[[]finding](`axe.run(document, {runOnly: `+only+`, resultTypes: ["violations"]}).then(r => r.violations.map(v => ({ID: v.id, Help: v.help,
		Nodes: v.nodes.map(n => ({HTML: n.html, FailureSummary: n.failureSummary}))})))`, chromedp.EvalAwaitPromise))
	for _, f := range found {
		for _, n := range f.Nodes {
			w.t.Errorf("%s: axe %s: %s\n%.300s\n%s", where, f.ID, f.Help, n.HTML, n.FailureSummary)
		}
	}
}

// narrow makes the window as small as a telephone.
func (w *window) narrow() { w.do(chromedp.EmulateViewport(360, 740)) }

// wide makes it as large as a desk's.
func (w *window) wide() { w.do(chromedp.EmulateViewport(1320, 900)) }

// media sets the medium ("print" or "") and the colour scheme.
func (w *window) media(medium, scheme string) {
	w.do(command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: medium, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}))
}

// scripts switches JavaScript of pages on or off.
func (w *window) scripts(on bool) {
	w.do(command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on}))
}

// printed is the page as a PDF.
func (w *window) printed() []byte { return ask(w, chromedp.PrintToPDF()) }

// overflow is what is wider than the window; "" when nothing is.
func (w *window) overflow() string {
	return script[string](w, `(() => { const d = document.documentElement; if (d.scrollWidth <= d.clientWidth) return "";
		const wide = [...document.body.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > d.clientWidth + 1 && !e.closest(".scroll, .pan, nav"));
		return wide.slice(0, 3).map(e => e.outerHTML.slice(0, 160)).join("\n") || "the page" })()`)
}

// broken lists words of tables that are broken in their middle. What is an identifier may be broken anywhere.
func (w *window) broken() []string {
	w.t.Helper()
	return script[[]string](w, `(() => { const out = [], range = document.createRange();
		for (const cell of document.querySelectorAll("td, th")) {
			const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
			for (let node = walker.nextNode(); node; node = walker.nextNode()) {
				if (node.parentElement.closest(".id, code, pre, .hidden")) continue;
				for (const word of node.data.matchAll(/[\p{L}\p{N}]+/gu)) {
					range.setStart(node, word.index); range.setEnd(node, word.index + word[0].length);
					if (new Set([...range.getClientRects()].map(r => Math.round(r.top))).size > 1) out.push(word[0] + " in " + cell.innerText.slice(0, 80));
				}
			}
		}
		return out })()`)
}

// enter opens a session by link with a name and roles, and shows the first page.
func (w *window) enter(h *house, name string, roles ...string) {
	w.t.Helper()
	require.EqualValues(w.t, 200, w.visit(h.link()))
	require.EqualValues(w.t, 200, w.enterAs(name, roles...))
}

// enterAs fills in the form of a link, and returns the status of the page that follows.
func (w *window) enterAs(name string, roles ...string) int64 {
	w.t.Helper()
	w.do(chromedp.SetValue(chromedp.CSS("input[name=name]"), name))
	for _, role := range []string{"operator", "auditor", "registrar"} {
		script[bool](w, fmt.Sprintf(`document.querySelector("input[value=%s]").checked = %t`, role, slices.Contains(roles, role)))
	}
	return w.press("button[type=submit]")
}

// TestAxeIsThatOfItsRelease holds axe.min.js 4.14.1 against the SHA-256 of the file in npm's package axe-core.
func TestAxeIsThatOfItsRelease(t *testing.T) {
	require.Equal(t, "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c", fmt.Sprintf("%x", sha256.Sum256([]byte(axe))))
}
