package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/jws"
)

// Sessions keeps who is signed in; *store.Store does. An error whose NotFound() bool answers true means that there is no such
// session or link, or that it has ended.
type Sessions interface {
	// OpenSession begins a session. renewal is kept as it is; nil: nothing renews it.
	OpenSession(ctx context.Context, token string, p history.Person, renewal []byte) error
	// Session finds the person of a session; acts tells that the person does something, which prolongs it. due tells that the provider is to be
	// asked again about the person, as it is once a minute.
	Session(ctx context.Context, token string, acts bool) (who history.Person, due bool, err error)
	// EndSession ends a session and returns what renewed it; nil: nothing did.
	EndSession(ctx context.Context, token string) ([]byte, error)
	// TakeRenewal returns what renews a session that is due to one caller, of all replicas; nil to the others.
	TakeRenewal(ctx context.Context, token string) ([]byte, error)
	// RenewSession keeps new roles, and what renews the session next. kept is false when the session has ended.
	RenewSession(ctx context.Context, token string, roles []string, renewal []byte) (kept bool, err error)
	TakeLink(ctx context.Context, secret string) error
}

// Records keeps in the history who signed in, who was refused and who signed out; *auditlog.Log does.
type Records interface {
	RecordReading(ctx context.Context, r history.LogReading) error
	// CursorKey is a secret of the deployment, the same in every replica.
	CursorKey(ctx context.Context) ([]byte, error)
}

// Config says what the console works with. Internal, Sessions and Records are required.
type Config struct {
	Internal page.Endpoint // the internal API
	Sessions Sessions
	Records  Records

	// Answers tells by its error that our database answers nothing: then nobody is signed in or out, and no page begins that needs a
	// session. nil: it is not asked.
	Answers func(context.Context) error

	BaseURL string    // as browsers see it, without a path; "": not known, there is no provider
	Secure  bool      // browsers come by TLS, here or at a proxy before us
	OpenID  *Provider // nil: people sign in by link
	Links   bool      // one-time links open sessions (profile development)

	Observer api.Observer // nil allowed
	Log      *slog.Logger // nil: discarded
}

// Console is the pages' http.Handler.
type Console struct {
	cfg      Config
	face     *api.Face
	handler  http.Handler
	shared   *page.Sheet // without a section
	sheets   map[string]*page.Sheet
	sections []page.Section
	readable map[string][]string // the roles of each page that a GET opens, by the template of its path
	acts     map[string]bool     // the templates of paths that only take posts
	foreign  *http.CrossOriginProtection
	refused  refusedSignIns
	revoking sync.WaitGroup // of what renewed sessions that have ended
}

// everybody admits those who have not signed in.
const everybody = "everybody"

// policy lets a page load this binary's own files, and run and show nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// New makes the console. The error is a defect of a page's templates or words.
func New(c Config) (*Console, error) {
	k := &Console{cfg: c, face: api.NewFace("console", c.Log, c.Observer), sheets: map[string]*page.Sheet{}, sections: sections(), readable: map[string][]string{}, acts: map[string]bool{}, foreign: http.NewCrossOriginProtection()}
	if c.BaseURL != "" {
		if err := k.foreign.AddTrustedOrigin(c.BaseURL); err != nil {
			return nil, err
		}
	}
	var err error
	if k.shared, err = page.NewSheet(nil); err != nil {
		return nil, err
	}
	for _, s := range k.sections {
		if k.sheets[s.Name], err = page.NewSheet(s.Files); err != nil {
			return nil, fmt.Errorf("console: %s: %w", s.Name, err)
		}
	}
	k.refused.by = map[string]int64{}
	k.face.Admit, k.face.Refuse = k.admit, k.refuse
	routes := k.routes()
	for _, r := range routes {
		if r.Method == http.MethodGet {
			k.readable[r.Path] = r.Roles
		}
	}
	for _, r := range routes {
		if k.readable[r.Path] == nil && !k.acts[r.Path] {
			k.acts[r.Path] = true
			routes = append(routes, api.Route{Method: http.MethodGet, Path: r.Path, Roles: []string{everybody}, Handle: k.getAct})
		}
	}
	k.handler = k.face.Router(routes)
	return k, nil
}

// routes are the pages of every section, and what people need before they have a session.
func (k *Console) routes() []api.Route {
	open := func(method, path string, handle func(*api.Exchange) error) api.Route {
		return api.Route{Method: method, Path: path, Roles: []string{everybody}, Handle: handle}
	}
	asking := func(method, path string, handle func(*api.Exchange) error) api.Route {
		return open(method, path, api.Answered(k.cfg.Answers, handle))
	}
	all := []api.Route{
		open(http.MethodGet, "/assets/{name}", getAsset),
		open(http.MethodGet, "/sign-in", k.getSignIn),
		asking(http.MethodGet, "/sign-in/start", k.getStart),
		asking(http.MethodGet, "/sign-in/callback", k.getCallback),
		open(http.MethodGet, "/sign-in/link/{secret}", k.getLink),
		asking(http.MethodPost, "/sign-in/link/{secret}", k.postLink),
		open(http.MethodPost, "/sign-out", k.postSignOut),
	}
	for i := range k.sections {
		s := &k.sections[i]
		for _, r := range s.Routes {
			roles := r.Roles
			if roles == nil {
				roles = s.Roles
			}
			all = append(all, api.Route{Method: r.Method, Path: r.Path, Roles: roles, Handle: func(x *api.Exchange) error { return r.Handle(k.visit(x, s)) }})
		}
	}
	return all
}

// here is the path, escaped, of the page that an answer belongs to. Links of an answer to a form lead there.
func (k *Console) here(x *api.Exchange) string {
	path := x.R.URL.EscapedPath()
	if x.Route == "" { // no page: the path stays, and is not found in either language
		return path
	}
	path, _ = k.pageAt(path)
	return path
}

// pageAt is the path, escaped, of a page: the path itself if a GET opens it, else the nearest above it that a GET opens, as /quarantine is to
// /quarantine/bulk. It is "/", and none found, where there is none.
func (k *Console) pageAt(path string) (at string, found bool) {
	for !k.opens(path) {
		i := strings.LastIndexByte(path, '/')
		if i <= 0 {
			return "/", false
		}
		path = path[:i]
	}
	return path, true
}

// getAct leads from the address of an answered form, which a browser keeps and a person may open again, to the page of the form.
func (k *Console) getAct(x *api.Exchange) error {
	path, _ := k.pageAt(x.R.URL.EscapedPath())
	if x.R.URL.RawQuery != "" {
		path += "?" + x.R.URL.RawQuery
	}
	http.Redirect(x.W, x.R, path, http.StatusSeeOther)
	return nil
}

// opens tells whether a GET opens a path. What takes posts alone under its own name, as /quarantine/bulk does, is no page of that id.
func (k *Console) opens(path string) bool {
	if k.acts[path] {
		return false
	}
	segments := strings.Split(path, "/")
	for template := range k.readable {
		if slices.EqualFunc(strings.Split(template, "/"), segments, func(t, s string) bool { return t == s || strings.HasPrefix(t, "{") && s != "" }) {
			return true
		}
	}
	return false
}

// first is the first page of the navigation that somebody with these roles may open; "/" where there is none.
func (k *Console) first(roles []string) string {
	for _, s := range k.sections {
		if s.Group != "" && slices.ContainsFunc(s.Roles, func(role string) bool { return slices.Contains(roles, role) }) {
			return s.Path
		}
	}
	return "/"
}

// ServeHTTP answers one request.
func (k *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()")
	if k.cfg.Secure {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	k.handler.ServeHTTP(w, r)
}

// personKey is the key under which the context of a request carries the person.
type personKey struct{}

// admit lets those in who have a session with one of the roles, and refuses what another web page sends.
func (k *Console) admit(x *api.Exchange, roles []string) error {
	if k.foreign.Check(x.R) != nil || k.unsaid(x.R) {
		return errForeign
	}
	if slices.Contains(roles, everybody) {
		return k.language(x)
	}
	who, err := k.person(x)
	if err != nil {
		return err
	}
	x.Who = jws.Principal{Subject: who.Subject, Roles: who.Roles}
	if !slices.ContainsFunc(roles, x.Who.Has) {
		if first := k.first(who.Roles); x.Route == "/" && first != "/" { // the console's own address leads everybody somewhere
			http.Redirect(x.W, x.R, first, http.StatusSeeOther)
			return errSentOn
		}
		return &page.APIRefusal{Status: http.StatusForbidden, Code: "forbidden"}
	}
	x.R = x.R.WithContext(context.WithValue(x.R.Context(), personKey{}, who))
	return k.language(x)
}

// unsaid tells whether a request acts for a session and does not say which page it comes from. Browsers say so with every post.
func (k *Console) unsaid(r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Header.Get("Sec-Fetch-Site") != "" || r.Header.Get("Origin") != "" {
		return false
	}
	_, err := r.Cookie(k.cookie())
	return err == nil
}

// visit begins a page of a section for the person whom admit let in.
func (k *Console) visit(x *api.Exchange, s *page.Section) *page.Visit {
	who, _ := x.R.Context().Value(personKey{}).(history.Person)
	lang := langOf(x.R)
	var menu []page.MenuLink
	for _, of := range k.sections {
		if of.Group != "" && slices.ContainsFunc(of.Roles, x.Who.Has) {
			menu = append(menu, page.MenuLink{Group: of.Group, Path: of.Path, Text: k.sheets[of.Name].Text(lang, "nav"), Here: of.Name == s.Name})
		}
	}
	v := page.NewVisit(x, who, page.NewAPI(k.cfg.Internal, x.R, who, lang), k.sheets[s.Name], menu)
	v.Secure, v.Here, v.Home = k.cfg.Secure, k.here(x), k.first(who.Roles)
	v.Opens = func(path string) bool { return slices.ContainsFunc(k.readable[path], x.Who.Has) }
	return v
}

var (
	errNoSession = errors.New("not signed in")
	errForeign   = errors.New("the request came from another web page")
	errSentOn    = errors.New("the browser is sent on")
)

// refuse answers with a page that says what is wrong and what to do. Who has no session is sent to sign in.
func (k *Console) refuse(x *api.Exchange, err error) {
	if errors.Is(err, errSentOn) {
		return
	}
	if x.W.Status != 0 {
		x.Log.Error("answer ended half-way", "route", x.Route, "error", err)
		x.Cut()
		return
	}
	if k.language(x) != nil { // a page that says what is wrong is in the language that is asked for, too
		return
	}
	var refused *page.APIRefusal
	var ours *api.APIError
	lang := langOf(x.R)
	switch {
	case errors.Is(err, errNoSession):
		k.sendToSignIn(x)
		return
	case errors.Is(err, errForeign):
		k.show(x, http.StatusForbidden, page.Bare{Title: k.shared.Text(lang, "error.403.origin.title"), Lines: []string{k.shared.Text(lang, "error.403.origin")}})
		return
	case errors.As(err, &refused):
	case errors.As(err, &ours):
		refused = &page.APIRefusal{Status: ours.Status, Code: ours.Code}
		if ours.Allow != "" {
			x.W.Header().Set("Allow", ours.Allow)
		}
	case failure.Transient(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		x.Log.Warn("page refused: temporarily unavailable", "route", x.Route, "error", err)
		refused = &page.APIRefusal{Status: http.StatusServiceUnavailable}
	default:
		x.Log.Error("page failed", "route", x.Route, "error", err)
		refused = &page.APIRefusal{Status: http.StatusInternalServerError}
	}
	k.showRefused(x, refused)
}

// showRefused says what a status means, with the problems that the API named. Under an act it leads back to the page of the act.
func (k *Console) showRefused(x *api.Exchange, r *page.APIRefusal) {
	lang := langOf(x.R)
	key := fmt.Sprintf("error.%d", r.Status)
	switch {
	case k.shared.Has(key):
	case r.Status < http.StatusInternalServerError:
		key = "error.4xx"
	default:
		key = "error.500"
	}
	line := key + ".line"
	if k.shared.Has(key + "." + r.Code) {
		line = key + "." + r.Code
	}
	if x.Route == "" && line == "error.404.line" {
		line = "error.404.page"
	}
	if len(r.Problems) == 0 && (line == "error.400.line" || line == "error.422.line") { // they point at problems
		line = "error.4xx.line"
	}
	b := page.Bare{Title: k.shared.Text(lang, key), Link: &page.Link{Path: k.first(x.Who.Roles), Text: k.shared.Text(lang, "home")}}
	if x.R.Method == http.MethodPost && r.Status != http.StatusForbidden {
		to := url.URL{RawQuery: x.R.URL.RawQuery}
		b.Link = &page.Link{Path: k.here(x) + to.String(), Text: k.shared.Text(lang, "back")}
	}
	if x.R.Method == http.MethodGet && r.Status == http.StatusBadRequest && x.R.URL.RawQuery != "" && k.opens(k.here(x)) { // a filter is wrong, and not the page
		b.Link = &page.Link{Path: k.here(x), Text: k.shared.Text(lang, "unfiltered")}
	}
	if line == "error.500.line" {
		b.Lines = []string{k.shared.Text(lang, line, x.W.Header().Get("x-request-id"))}
	} else {
		b.Lines = []string{k.shared.Text(lang, line)}
	}
	for _, p := range r.Problems {
		if r.Status == http.StatusUnprocessableEntity { // it is about a document, and not about a form
			p.Detail = strings.TrimSpace(p.Pointer + " " + p.Detail)
		} else {
			p.Detail = k.shared.Said(lang, p)
		}
		b.Problems = append(b.Problems, p.Detail)
	}
	if r.Status == http.StatusConflict && r.Text != "" {
		b.Problems = append(b.Problems, r.Text)
	}
	k.show(x, r.Status, b)
}

func (k *Console) show(x *api.Exchange, status int, b page.Bare) {
	b.Here = k.here(x)
	if err := k.shared.ShowBare(x, langOf(x.R), status, b); err != nil {
		x.Log.Error("page failed", "route", x.Route, "error", err)
		http.Error(x.W, "", http.StatusInternalServerError)
	}
}

// languageCookie remembers the language for a year.
const languageCookie = "arauto-lang"

// language switches the language where the query asks for it, and sends the browser to the same page without that parameter.
func (k *Console) language(x *api.Exchange) error {
	q := x.R.URL.Query()
	lang := page.Lang(q.Get("lang"))
	if x.R.Method != http.MethodGet || !slices.Contains(page.Langs(), lang) {
		return nil
	}
	http.SetCookie(x.W, &http.Cookie{ //nolint:gosec // Secure wherever browsers come by TLS
		Name: languageCookie, Value: string(lang), Path: "/", MaxAge: 365 * 24 * 3600, Secure: k.cfg.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	q.Del("lang")
	there := url.URL{Path: x.R.URL.Path, RawPath: x.R.URL.RawPath, RawQuery: q.Encode()}
	http.Redirect(x.W, x.R, ownPath(there.String()), http.StatusSeeOther)
	return errSentOn
}

// langOf is the language of a browser: the remembered one, else Portuguese.
func langOf(r *http.Request) page.Lang {
	if c, err := r.Cookie(languageCookie); err == nil && page.Lang(c.Value) == page.English {
		return page.English
	}
	return page.Portuguese
}

// ownPath is a path of the console; "/" where it could lead elsewhere. Browsers read a backslash as a slash and pass over tabs and
// line feeds, so that "/<tab>/host" names another host to them.
func ownPath(path string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsRune(path, '\\') || strings.ContainsFunc(path, unicode.IsControl) {
		return "/"
	}
	return path
}

// getAsset answers with a file of this binary. Its address changes with its content, so that browsers may keep it.
func getAsset(x *api.Exchange) error {
	a, there := page.AssetNamed(x.Segment("name"))
	if !there {
		return &page.APIRefusal{Status: http.StatusNotFound}
	}
	h := x.W.Header()
	h.Set("Content-Type", a.Type)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	x.W.WriteHeader(http.StatusOK)
	_, _ = x.W.Write(a.Content) // a reader who is gone is no concern of ours
	return nil
}
