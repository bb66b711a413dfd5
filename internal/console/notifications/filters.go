package notifications

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/arauto/arauto/internal/console/page"
)

// savedFilter is a filter with a name. Filters are kept in a cookie of the browser: they are a convenience of one person at one desk,
// and no fact of the history. An address carries a filter from person to person.
type savedFilter struct {
	Name  string `json:"n"`
	Query string `json:"q"`
}

// Bounds of what is kept, so that it fits a cookie.
const (
	filtersCookie = "arauto-filters"
	mostFilters   = 8
	longestName   = 40  // bytes
	longestQuery  = 240 // bytes
)

// Path is the list with the filter.
func (f savedFilter) Path() string { return "/notifications?" + f.Query }

// savedOf are the filters that the browser keeps. What is not as we write it is left out.
func savedOf(v *page.Visit) []savedFilter {
	c, err := v.X.R.Cookie(filtersCookie)
	if err != nil {
		return nil
	}
	text, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil {
		return nil
	}
	var all []savedFilter
	if json.Unmarshal(text, &all) != nil {
		return nil
	}
	var out []savedFilter
	for _, f := range all[:min(len(all), mostFilters)] {
		if q, err := url.ParseQuery(f.Query); err == nil && f.Name != "" {
			out = append(out, savedFilter{f.Name, askedOf(q).query().Encode()})
		}
	}
	return out
}

// keep sets the cookie for a year.
func keep(v *page.Visit, all []savedFilter) error {
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	http.SetCookie(v.X.W, &http.Cookie{ //nolint:gosec // Secure where browsers come by TLS
		Name: filtersCookie, Value: base64.RawURLEncoding.EncodeToString(text), Path: "/notifications", MaxAge: 365 * 24 * 3600,
		Secure: v.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	return nil
}

// saveFilter keeps the filters of the list under a name; one of that name is replaced.
func saveFilter(v *page.Visit) error {
	q, err := url.ParseQuery(v.Form("query"))
	if err != nil {
		return &page.APIRefusal{Status: http.StatusBadRequest}
	}
	f := savedFilter{strings.ToValidUTF8(v.Form("name"), ""), askedOf(q).query().Encode()}
	all := slices.DeleteFunc(savedOf(v), func(o savedFilter) bool { return o.Name == f.Name })
	wrong := ""
	switch {
	case f.Name == "" || len(f.Name) > longestName:
		wrong = "filters.name.wrong"
	case len(f.Query) > longestQuery:
		wrong = "filters.long"
	case len(all) >= mostFilters:
		wrong = "filters.most"
	}
	if wrong != "" {
		return &page.APIRefusal{Status: http.StatusBadRequest, Problems: []page.Wrong{{Detail: v.Text(wrong)}}}
	}
	all = append(all, f)
	slices.SortFunc(all, func(a, b savedFilter) int { return strings.Compare(a.Name, b.Name) })
	if err := keep(v, all); err != nil {
		return err
	}
	return v.Done(f.Path(), "saved")
}

// deleteFilter forgets the filter of a name.
func deleteFilter(v *page.Visit) error {
	name := v.Form("name")
	if err := keep(v, slices.DeleteFunc(savedOf(v), func(o savedFilter) bool { return o.Name == name })); err != nil {
		return err
	}
	return v.Done("/notifications", "forgotten")
}
