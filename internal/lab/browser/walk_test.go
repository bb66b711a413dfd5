package browser

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// stop is one page of the walk.
type stop struct {
	path   func(h *house) string
	pt, en string // what each language says there
}

// at is a path that no story changes.
func at(path string) func(*house) string { return func(*house) string { return path } }

// stops lists every page. Each is opened in both languages, narrow, dark, printed and without JavaScript.
var stops = []stop{
	{at("/"), "No prazo de 1,5 s", "Within 1.5 s"},
	{at("/notifications"), "Notificações", "Notifications"},
	{func(h *house) string { return "/resources/pix-payment/" + h.retried }, "No relógio da regra", "On the rule's clock"},
	{func(h *house) string { return "/resources/pix-payment/" + h.silent }, "a regra não manda avisar este passo", "the rule does not demand to announce this step"},
	{func(h *house) string { return h.entry() }, "conferido: está no histórico selado", "verified: it is in the sealed log"},
	{at("/find?q=nothing-like-this"), "Nada com este identificador", "Nothing with this identifier"},
	{at("/notifications?state=exhausted"), "Nenhuma notificação com estes filtros", "No notification with these filters"},
}

// firstLoad is how much a page and what it needs may weigh over the wire (console, "Speed").
const firstLoad = 150 << 10

func TestTheConsole(t *testing.T) {
	browser := start(t)
	h := open(t)
	h.moreStories()
	h.browser = browser
	for _, part := range []struct {
		name string
		run  func(*testing.T, *house)
	}{
		{"every page", walk},
		{"the acts of initiators and of the log", facesActs},
		{"acts, four eyes, exports and holds", actsOfPeople},
		{"questions, each in three clicks", clicks},
		{"one resource", oneResource},
		{"the one box", finds},
		{"sign-in by the provider", signInByProvider},
		{"sessions", sessions},
		{"what another page sends", foreignPosts},
	} {
		t.Run(part.name, func(t *testing.T) {
			inside := *h
			inside.t = t
			part.run(t, &inside)
		})
	}
}

func walk(t *testing.T, h *house) {
	stops := slices.Concat(facesStops, actsStops, stops)
	w := newWindow(t, h.browser)
	w.enter(h, "olga", "operator", "auditor", "registrar")
	w.picture(t, "console.png")
	for _, s := range stops {
		path := s.path(h)
		w.wide()
		w.media("", "light")
		for _, lang := range []struct{ code, text string }{{"en", s.en}, {"pt", s.pt}} {
			separator := "?"
			if strings.Contains(path, "?") {
				separator = "&"
			}
			require.EqualValues(t, 200, w.visit(h.byLink+path+separator+"lang="+lang.code), path)
			require.Equal(t, path, w.at(), "the language is remembered and leaves the address")
			require.Contains(t, w.text(), lang.text, path)
			bytes, sites := w.loaded()
			require.LessOrEqual(t, bytes, float64(firstLoad), "%s: bytes over the wire", path)
			for _, site := range sites {
				own := strings.HasPrefix(site, h.byLink) || strings.HasPrefix(site, "data:") // the browser draws its own signs
				require.True(t, own, "%s asks another site: %s", path, site)
			}
		}
		w.accessible(path)
		w.media("", "dark")
		w.accessible(path+" dark", "color-contrast")
		w.narrow()
		require.Empty(t, w.overflow(), "%s at 360 px", path)
		w.wide()
		w.media("print", "light")
		require.False(t, script[bool](w, `getComputedStyle(document.querySelector(".side")).display !== "none"`), "%s prints its navigation", path)
		require.NotEmpty(t, w.printed())
		w.media("", "light")
		w.scripts(false)
		require.EqualValues(t, 200, w.visit(h.byLink+path))
		require.Contains(t, w.text(), s.pt, "%s without JavaScript", path)
		w.scripts(true)
		require.Empty(t, w.complaints(), path)
	}
	require.Positive(t, h.entries("read", "olga"), "what is read in the console is recorded as by the API")
	require.Equal(t, "operator", h.reading("olga")["role"])
}
