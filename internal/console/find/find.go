// Package find is the console's answer to the one box for every id: one hit opens what it names, several are listed.
package find

import (
	"cmp"
	"embed"
	"net/http"
	"net/url"
	"strings"

	"github.com/arauto/arauto/internal/console/page"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of this page. Every page has the box that leads here, so the navigation has no entry for it.
func Section() page.Section {
	return page.Section{
		Name: "find", Path: "/find", Roles: []string{page.Operator, page.Auditor}, Files: files,
		Routes: []page.PageRoute{{Method: http.MethodGet, Path: "/find", Handle: show}},
	}
}

// foundHit is one thing that the id names, and the page that shows it.
type foundHit struct {
	Type, ID                         string
	Kind, ResourceID, ClientID, Name *string

	Path, Opens string
}

// lead finds the page of a hit: of the resource where there is one, else of the initiator.
func (h *foundHit) lead() {
	switch {
	case h.Kind != nil && h.ResourceID != nil:
		h.Path, h.Opens = page.Path("/resources/%s/%s", *h.Kind, *h.ResourceID), *h.ResourceID
		if h.Type == "notification" { // the page draws this one
			h.Path += "?" + url.Values{"notification": {h.ID}}.Encode()
		}
	case h.ClientID != nil:
		h.Path = page.Path("/initiators/%s", *h.ClientID)
		h.Opens = *h.ClientID
		if h.Name != nil {
			h.Opens = cmp.Or(*h.Name, h.Opens)
		}
	}
}

type findView struct {
	Query string
	Hits  []foundHit
	More  bool
}

func show(v *page.Visit) error {
	view := findView{Query: strings.TrimSpace(v.Query().Get("q"))}
	if view.Query != "" {
		if err := v.API.Get("/internal/v1/find", url.Values{"q": {view.Query}}, &view); err != nil {
			return err
		}
	}
	pages := map[string]bool{}
	for i := range view.Hits {
		view.Hits[i].lead()
		pages[view.Hits[i].Path] = true
	}
	if len(pages) == 1 && view.Hits[0].Path != "" && !view.More {
		return v.Redirect(view.Hits[0].Path)
	}
	return v.Show("hits", page.View{Title: v.Text("title"), Data: view})
}
