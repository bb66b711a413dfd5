package page

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"strings"
	"time"
)

//go:embed words.json *.html
var frame embed.FS

//go:embed assets
var assets embed.FS

// Sheet is a section's templates and words with those that all sections share, ready to be shown in either language.
type Sheet struct {
	own, common bilingual
	byLang      map[Lang]*template.Template
}

// NewSheet reads the templates and words of a section; nil: the shared ones alone.
func NewSheet(files fs.FS) (*Sheet, error) {
	s := &Sheet{own: bilingual{}, byLang: map[Lang]*template.Template{}}
	var err error
	if s.common, err = readWords(frame); err != nil {
		return nil, fmt.Errorf("the common words: %w", err)
	}
	if files != nil {
		if s.own, err = readWords(files); err != nil {
			return nil, err
		}
	}
	for _, l := range Langs() {
		t := template.New("").Funcs(s.functions(l))
		if t, err = t.ParseFS(frame, "*.html"); err != nil {
			return nil, err
		}
		if files != nil {
			if t, err = t.ParseFS(files, "*.html"); err != nil {
				return nil, err
			}
		}
		s.byLang[l] = t
	}
	return s, nil
}

// functions are what templates may call. Those of forms and times are listed in form.go.
func (s *Sheet) functions(l Lang) template.FuncMap {
	all := template.FuncMap{
		"t":    func(key string, args ...any) string { return s.Text(l, key, args...) },
		"tn":   func(key string, n any, more ...any) string { return s.Counted(l, key, n, more...) },
		"word": func(group string, key any) string { return s.word(l, group, key) },
		"lang": func() string { return l.Tag() },
		"path": func(format string, parts ...any) string {
			texts := make([]string, len(parts))
			for i, p := range parts {
				texts[i] = plainText(p)
			}
			return Path(format, texts...)
		},
		"said":  func(w Wrong) string { return s.Said(l, w) },
		"asset": AssetPath,
		"dict":  dict,
	}
	maps.Copy(all, formsOf(l))
	return all
}

// word is the text of a value that the API names, such as an outcome: the word group.value, or the value itself.
func (s *Sheet) word(l Lang, group string, key any) string {
	text := plainText(key)
	if text == "" {
		return dash
	}
	if key := group + "." + text; s.Has(key) {
		return s.Text(l, key)
	}
	return text
}

// dict makes a map of names and values, for a template that is called with several.
func dict(pairs ...any) (map[string]any, error) {
	out := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: argument %d is no name", i)
		}
		out[name] = pairs[i+1]
	}
	return out, nil
}

// shown is what the layout is executed with.
type shown struct {
	View

	Visit   *Visit
	Top     template.HTML // above what is refreshed
	Body    template.HTML
	Groups  []group
	Home    string // path of the first page that the person may open
	Search  string
	Done    string
	Other   Lang   // the other language
	Switch  string // this page in the other language
	Live    bool   // the page refreshes itself
	LiveURL string // this page with the refreshing switched over
	Now     time.Time
	Shown   time.Time // when what the page shows was so
}

type group struct {
	Name    Group
	Entries []MenuLink
}

// page executes a template and puts the result into the layout.
func (s *Sheet) page(v *Visit, name string, view View) ([]byte, error) {
	t := s.byLang[v.Lang]
	var top, body, all bytes.Buffer
	inside := map[string]any{"Data": view.Data, "Visit": v, "AsOf": view.AsOf, "Every": int(view.Every.Seconds())}
	if view.Above != "" {
		if err := t.ExecuteTemplate(&top, view.Above, inside); err != nil {
			return nil, err
		}
	}
	if err := t.ExecuteTemplate(&body, name, inside); err != nil {
		return nil, err
	}
	q := v.Query()
	out := shown{View: view, Visit: v, Home: cmp.Or(v.Home, "/"), Search: q.Get("q"), Now: time.Now()}
	if out.Shown = out.Now; view.AsOf.At != nil {
		out.Shown = *view.AsOf.At
	}
	out.Top, out.Body = template.HTML(top.String()), template.HTML(body.String()) //nolint:gosec // html/template has escaped them
	out.Done = v.done()
	out.Other = English
	if v.Lang == English {
		out.Other = Portuguese
	}
	out.Switch = v.with("lang", string(out.Other))
	out.Live = view.Every > 0 && q.Get("live") != "off"
	out.LiveURL = v.with("live", map[bool]string{true: "off", false: ""}[out.Live])
	for _, e := range v.menu {
		if n := len(out.Groups); n == 0 || out.Groups[n-1].Name != e.Group {
			out.Groups = append(out.Groups, group{Name: e.Group})
		}
		last := &out.Groups[len(out.Groups)-1]
		last.Entries = append(last.Entries, e)
	}
	if err := t.ExecuteTemplate(&all, "layout", out); err != nil {
		return nil, err
	}
	return all.Bytes(), nil
}

// with is the address of the page that the answer belongs to, with one parameter of the query changed; "" removes it.
func (v *Visit) with(name, value string) string {
	u := *v.X.R.URL
	if path, err := url.PathUnescape(v.Here); err == nil && v.Here != "" {
		u.Path, u.RawPath = path, v.Here
	}
	q := u.Query()
	q.Del(name)
	if value != "" {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	if strings.HasPrefix(u.Path, "//") { // no page has such a path; in a link it would name another host
		u.Path, u.RawPath = "/", ""
	}
	return (&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}).String()
}

// Asset is a file that pages load.
type Asset struct {
	Content []byte
	Type    string
	tag     string
}

// published are the files that pages load, by name.
var published = loadAssets()

func loadAssets() map[string]Asset {
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	out := map[string]Asset{}
	entries, _ := assets.ReadDir("assets") // embedded: it is there
	for _, e := range entries {
		kind := kinds[path.Ext(e.Name())]
		if kind == "" {
			continue // a licence
		}
		content, _ := assets.ReadFile("assets/" + e.Name())
		sum := sha256.Sum256(content)
		out[e.Name()] = Asset{content, kind, hex.EncodeToString(sum[:8])}
	}
	return out
}

// AssetNamed finds a file that pages load.
func AssetNamed(name string) (Asset, bool) {
	a, there := published[name]
	return a, there
}

// AssetPath is the address of a file, which changes with its content, so that browsers may keep it.
func AssetPath(name string) string { return "/assets/" + name + "?v=" + published[name].tag }
