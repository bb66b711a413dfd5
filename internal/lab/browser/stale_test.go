package browser

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// outage stands between a browser and the console, and plays what happens to the pages that refresh themselves. It makes them ask every
// second and wait a quarter of one, so that a test need not wait as long as a person does.
type outage struct {
	forward *httputil.ReverseProxy
	answer  atomic.Pointer[http.HandlerFunc] // to what a page asks by itself; nil: what the console answers
}

func newOutage(t *testing.T, console string) (*outage, string) {
	t.Helper()
	at, err := url.Parse(console)
	require.NoError(t, err)
	o := &outage{forward: httputil.NewSingleHostReverseProxy(at)}
	o.forward.ModifyResponse = func(r *http.Response) error {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		text = bytes.ReplaceAll(text, []byte(`hx-trigger="every 15s"`), []byte(`hx-trigger="every 1s"`))
		text = bytes.ReplaceAll(text, []byte(`"timeout":10000`), []byte(`"timeout":250`))
		r.Body = io.NopCloser(bytes.NewReader(text))
		r.ContentLength = int64(len(text))
		r.Header.Set("Content-Length", fmt.Sprint(len(text)))
		return nil
	}
	s := httptest.NewServer(o)
	t.Cleanup(s.Close)
	return o, s.URL
}

// ServeHTTP passes on what a person asks for.
func (o *outage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if answer := o.answer.Load(); answer != nil && r.Header.Get("HX-Request") != "" {
		(*answer)(w, r)
		return
	}
	o.forward.ServeHTTP(w, r)
}

// staleFigures: a page that cannot refresh itself says so at its top, whatever the reason, until it can.
func staleFigures(t *testing.T, h *house) {
	o, address := newOutage(t, h.byLink)
	w := newWindow(t, h.browser)
	w.enter(h, "nina", "operator", "auditor")
	until := func(condition string) {
		t.Helper()
		ask(w, chromedp.Evaluate[bool](`new Promise(done => { const look = () => `+condition+` ? done(true) : setTimeout(look, 50); look(); })`, chromedp.EvalAwaitPromise))
	}
	const told = `document.querySelector("main > #stale[role=alert] > .note.bad")`
	for name, broken := range map[string]http.HandlerFunc{
		"503": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"no connection": func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = c.Close()
			}
		},
		"no answer":      func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"another's page": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<p>a proxy's own page</p>") },
	} {
		for lang, says := range map[string][]string{
			"en": {"This page cannot refresh itself. What it shows is of", "What holds now is not known."},
			"pt": {"Esta página não consegue se atualizar. O que ela mostra é de", "Não se sabe o que vale agora."},
		} {
			require.EqualValues(t, 200, w.visit(address+"/?lang="+lang), name)
			until(`!` + told) // a first refresh may have taken too long
			asOf := script[string](w, `document.querySelector("#live .asof time").dateTime`)
			o.answer.Store(&broken)
			until(`!!` + told)
			text := oneLine(script[string](w, told+`.innerText`))
			for _, s := range says {
				require.Contains(t, text, s, name)
			}
			require.GreaterOrEqual(t, script[string](w, told+`.querySelector("time").dateTime`), asOf, "it names the time of the figures")
			require.Equal(t, script[string](w, `document.querySelector("#live .asof time").dateTime`), script[string](w, told+`.querySelector("time").dateTime`))
			require.True(t, script[bool](w, `!!document.querySelector("#live h1")`), "%s: the page keeps what it shows", name)
			w.accessible(name + " " + lang)
			o.answer.Store(nil)
			until(`!` + told)
		}
	}
	for _, wrong := range w.complaints() {
		require.NotContains(t, wrong, "Content Security Policy")
	}
}
