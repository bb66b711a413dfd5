// Package settings is the console's page of the settings in force, with their origin, and of the replicas that run.
package settings

import (
	"embed"
	"net/http"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/console/page"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of this page.
func Section() page.Section {
	return page.Section{
		Name: "settings", Group: page.System, Path: "/settings", Roles: []string{page.Operator, page.Auditor}, Files: files,
		Routes: []page.PageRoute{{Method: http.MethodGet, Path: "/settings", Handle: show}},
	}
}

type settingsView struct {
	Schema, SchemaWants int64
	Settings            []struct{ Key, Variable, Value, Origin string }
	Replicas            []struct {
		Name, Version     string
		StartedAt, SeenAt time.Time
		Alive             bool
	}
	Starts  []start
	Reloads []struct {
		At                               time.Time
		System, Setting, Source, Outcome string
		Reason                           *string
	}
}

type start struct {
	StartedAt                 time.Time
	Replica, Version, Profile string
	Loosened                  []string
	Differs                   []startDifference // nil: no start before
}

// startDifference is a setting, the version, or the hash of a file, list or key set in force, named "setting: file or address".
type startDifference struct {
	Key           string
	Before, After *string // nil: the default, or not in force
}

// Absent is the word for a side that is nil: what is no setting has no default.
func (d startDifference) Absent() string {
	if strings.Contains(d.Key, ": ") {
		return "not-in-force"
	}
	return "unset"
}

// First tells that the history knows no start before, of a replica with this name.
func (s start) First() bool { return s.Differs == nil }

func show(v *page.Visit) error {
	var view settingsView
	if err := v.API.Get("/internal/v1/settings", nil, &view); err != nil {
		return err
	}
	return v.Show("list", page.View{Title: v.Text("title"), Data: view})
}
