package browser

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/verifiers"
)

// stop is one page of the walk.
type stop struct {
	path   func(h *house) string
	pt, en string        // what each language says there
	send   func(*window) // sends the form whose answer is the page to look at; nil: it is the page of the path
}

// at is a path that no story changes.
func at(path string) func(*house) string { return func(*house) string { return path } }

// stops lists every page. Each is opened in both languages, narrow, dark, printed and without JavaScript.
var stops = []stop{
	{path: at("/"), pt: "No prazo de 1,5 s", en: "Within 1.5 s"},
	{path: at("/notifications"), pt: "Notificações", en: "Notifications"},
	{path: func(h *house) string { return "/resources/pix-payment/" + h.retried }, pt: "No relógio da regra", en: "On the rule's clock"},
	{path: func(h *house) string { return "/resources/pix-payment/" + h.silent }, pt: "a regra não manda avisar este passo", en: "the rule does not demand to announce this step"},
	{path: func(h *house) string { return "/resources/pix-payment/" + h.cancelled }, pt: "Reenviar…", en: "Resend…"},
	{path: func(h *house) string { return h.entry() }, pt: "conferido: está no histórico selado", en: "verified: it is in the sealed log"},
	{path: at("/find?q=nothing-like-this"), pt: "Nada com este identificador", en: "Nothing with this identifier"},
	{path: at("/notifications?clientId=nobody&state=exhausted"), pt: "Nenhuma notificação com estes filtros", en: "No notification with these filters"},
}

// firstLoad is how much a page and what it needs may weigh over the wire (console, "Speed").
const firstLoad = 150 << 10

func TestTheConsole(t *testing.T) {
	browser := verifiers.Start(t)
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
		{"the acts on a source", sourceActs},
		{"a registration ends", registrationEnds},
		{"questions, each in three clicks", clicks},
		{"a page that cannot refresh itself", staleFigures},
		{"one resource", oneResource},
		{"the one box", finds},
		{"the acts on notifications", operationActs},
		{"sign-in by the provider", signInByProvider},
		{"roles that the provider takes away", rolesTakenAway},
		{"sessions", sessions},
		{"what another page sends", foreignPosts},
		{"hostile texts", hostileTexts},
	} {
		t.Run(part.name, func(t *testing.T) {
			inside := *h
			inside.t = t
			part.run(t, &inside)
		})
	}
}

// walkers is how many windows walk side by side.
const walkers = 2

// walk opens every page, the pages shared out to several windows of one person.
func walk(t *testing.T, h *house) {
	stops := slices.Concat(facesStops, actsStops, operationStops, stops)
	paths := make([]string, len(stops)) // the connection of the stories is for one at a time
	for i := range stops {
		paths[i] = stops[i].path(h)
	}
	windows := make([]*window, walkers)
	for n := range windows {
		windows[n] = newWindow(t, h.browser)
		windows[n].enter(h, "olga", "operator", "auditor", "registrar")
	}
	windows[0].picture(t, "console.png")
	t.Run("side by side", func(t *testing.T) {
		for n, w := range windows {
			t.Run(strconv.Itoa(n), func(t *testing.T) {
				t.Parallel()
				w.t = t
				for i := n; i < len(stops); i += walkers {
					w.look(h.byLink, paths[i], stops[i])
				}
			})
		}
	})
	require.Positive(t, h.entries("read", "olga"), "what is read in the console is recorded as by the API")
	var as, otherwise int // whichever window was last
	require.NoError(t, h.db.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE facts->>'role' = 'operator'), count(*) FILTER (WHERE coalesce(facts->>'role', '') NOT IN ('operator', 'auditor', 'registrar'))
FROM arauto.entry WHERE kind = 'admin' AND outcome = 'read' AND facts->>'actor' = 'olga'`).Scan(&as, &otherwise))
	require.Positive(t, as, "with the role that let her in")
	require.Zero(t, otherwise, "each with one of hers")
}

// look opens one page in both languages, narrow, dark, printed and without JavaScript.
func (w *window) look(console, path string, s stop) {
	w.t.Helper()
	w.wide()
	w.media("", "light")
	for _, lang := range []struct{ code, text string }{{"en", s.en}, {"pt", s.pt}} {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		require.EqualValues(w.t, 200, w.visit(console+path+separator+"lang="+lang.code), path)
		require.Equal(w.t, path, w.at(), "the language is remembered and leaves the address")
		if s.send != nil {
			s.send(w)
		}
		require.Contains(w.t, w.text(), lang.text, path)
		bytes, sites := w.loaded()
		require.LessOrEqual(w.t, bytes, float64(firstLoad), "%s: bytes over the wire", path)
		for _, site := range sites {
			own := strings.HasPrefix(site, console) || strings.HasPrefix(site, "data:") // the browser draws its own signs
			require.True(w.t, own, "%s asks another site: %s", path, site)
		}
		require.Empty(w.t, w.broken(), "%s breaks words of tables", path)
		w.narrow()
		require.Empty(w.t, w.overflow(), "%s in %s at 360 px", path, lang.code)
		w.unfold()
		require.Empty(w.t, w.overflow(), "%s in %s at 360 px, unfolded", path, lang.code)
		w.wide()
	}
	w.accessible(path)
	w.media("", "dark")
	w.accessible(path+" dark", "color-contrast")
	w.media("print", "light")
	require.False(w.t, script[bool](w, `getComputedStyle(document.querySelector(".side")).display !== "none"`), "%s prints its navigation", path)
	require.NotEmpty(w.t, w.printed())
	w.media("", "light")
	w.scripts(false)
	require.EqualValues(w.t, 200, w.visit(console+path))
	if s.send != nil {
		s.send(w)
	}
	require.Contains(w.t, w.text(), s.pt, "%s without JavaScript", path)
	w.scripts(true)
	require.Empty(w.t, w.complaints(), path)
}
