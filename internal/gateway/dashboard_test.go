package gateway

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/alarms"
	"github.com/arauto/arauto/internal/logging"
	"github.com/arauto/arauto/internal/metrics"
	"github.com/arauto/arauto/internal/watch/sources"
)

// exported are the names of all metrics that a gateway registers, also of those that have no series yet.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	m := metrics.New("test")
	m.Follow(&sources.Set{})
	metrics.NewSealObserver(m.Registry, time.Now())
	metrics.NewReconcileObserver(m.Registry, time.Now())
	metrics.NewEventObserver(m.Registry, nil)
	m.CountLost(&logging.LogWriter{})
	all := make(chan *prometheus.Desc)
	go func() { m.Registry.Describe(all); close(all) }()
	names := map[string]bool{}
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	for d := range all {
		names[name.FindStringSubmatch(d.String())[1]] = true
	}
	return names
}

// TestTheDashboardShowsMetricsThatExistAndLinksToPagesThatExist reads the file as Grafana does.
func TestTheDashboardShowsMetricsThatExistAndLinksToPagesThatExist(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations/deploy/arauto.dashboard.json")
	require.NoError(t, err)
	var d struct {
		Templating struct {
			List []struct{ Name, Type, Query any }
		}
		Panels []struct {
			ID         int
			Type       string
			Title      string
			Datasource struct{ UID string }
			Targets    []struct{ Expr string }
			Links      []struct{ URL string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &d))
	require.Equal(t, "datasource", d.Templating.List[0].Type, "the data source is chosen at the top")
	known, shown, ids := exported(t), map[string]bool{}, map[int]bool{}
	metric := regexp.MustCompile(`\b(?:arauto|process|go)_[a-z0-9_]+`)
	for _, p := range d.Panels {
		require.False(t, ids[p.ID], "%s has an id of its own", p.Title)
		ids[p.ID] = true
		if p.Type == "row" {
			continue
		}
		require.Equal(t, "${datasource}", p.Datasource.UID, p.Title)
		require.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			found := metric.FindAllString(target.Expr, -1)
			require.NotEmpty(t, found, target.Expr)
			for _, name := range found {
				base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"), "_sum")
				require.True(t, known[name] || known[base], "%s: no metric %s is exported", p.Title, name)
				shown[base] = true
			}
		}
		for _, link := range p.Links {
			if page, is := strings.CutPrefix(link.URL, "https://github.com/arauto/arauto/blob/main/"); is {
				require.FileExists(t, filepath.Join("../..", page), p.Title)
			} else {
				require.True(t, strings.HasPrefix(link.URL, "${console}/"), link.URL)
			}
		}
	}
	require.Greater(t, len(shown), 30, "%v", slices.Sorted(maps.Keys(shown)))
}

// TestEveryAlarmLinksToItsRunbookAndToThePageOfTheConsole holds the annotations of the rules against the pages.
func TestEveryAlarmLinksToItsRunbookAndToThePageOfTheConsole(t *testing.T) {
	for _, r := range alarms.Read(t, rulesFile) {
		require.Equal(t, "https://github.com/arauto/arauto/blob/main/"+r.Annotations["page"], r.Annotations["runbook_url"], r.Alert)
		require.True(t, strings.HasPrefix(r.Annotations["console_path"], "/"), r.Alert)
	}
}
