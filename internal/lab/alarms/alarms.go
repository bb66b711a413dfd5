// Package alarms tests alarm rules with Prometheus' own evaluator, promtool, on metrics that the product really showed: what
// /metrics answered before a condition and after it. It proves that an alarm is silent before and rings afterwards, the first
// time the condition arises.
//
// It does not test how Prometheus scrapes, and its time is virtual: a condition that must last for a minute is held for as
// long as it takes.
package alarms

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// Require makes a test fail rather than be skipped when there is no promtool.
const Require = "ARAUTO_REQUIRE_PROMTOOL"

// Rule is one alarm of the rules file.
type Rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// Read reads the rules of a file, in its order.
func Read(t testing.TB, file string) []Rule {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	var rules struct {
		Groups []struct {
			Rules []Rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	require.NoError(t, yaml.Unmarshal(content, &rules))
	var all []Rule
	for _, g := range rules.Groups {
		all = append(all, g.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

// Scrape is what /metrics answered, and when.
type Scrape struct {
	Text string
	At   time.Time
}

// Gather is what /metrics would answer of a registry.
func Gather(t testing.TB, r *prometheus.Registry) Scrape {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	return Scrape{Text: w.Body.String(), At: time.Now()}
}

// Bench evaluates the rules of one file.
type Bench struct {
	promtool string
	file     string
	rules    map[string]Rule
	alone    map[string][]byte // a rules file for each alarm, which has the alarm's group and of its rules this one
}

// New finds promtool and checks the rules of a file with it. Without promtool the test is skipped.
func New(t testing.TB, file string) *Bench {
	t.Helper()
	file, err := filepath.Abs(file)
	require.NoError(t, err)
	b := &Bench{file: file, rules: map[string]Rule{}, alone: apart(t, file), promtool: find(t)}
	for _, r := range Read(t, file) {
		b.rules[r.Alert] = r
	}
	out, err := exec.CommandContext(t.Context(), b.promtool, "check", "rules", file).CombinedOutput() //nolint:gosec // found by find
	require.NoError(t, err, "%s", out)
	return b
}

// apart makes a rules file for each alarm. promtool evaluates all rules that it is given at each scrape, and a test asks for one.
func apart(t testing.TB, file string) map[string][]byte {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	var rules struct {
		Groups []map[string]yaml.Node `yaml:"groups"`
	}
	require.NoError(t, yaml.Unmarshal(content, &rules))
	alone := map[string][]byte{}
	for _, group := range rules.Groups {
		all := group["rules"]
		for _, rule := range all.Content {
			var named Rule
			require.NoError(t, rule.Decode(&named))
			one := maps.Clone(group)
			one["rules"] = yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{rule}}
			alone[named.Alert], err = yaml.Marshal(map[string]any{"groups": []any{one}})
			require.NoError(t, err)
		}
	}
	return alone
}

func find(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil && os.Getenv(Require) == "" {
		t.Skip("promtool is not installed; Debian has it in the package prometheus")
	}
	require.NoError(t, err, Require+" asks for promtool")
	return path
}

const (
	every = 15 * time.Second // a scrape
	quiet = 30 * time.Minute // of the state before
	after = 4 * time.Minute  // until the alarm must ring
)

// Rings requires that an alarm is silent in the state before and rings, with the given labels beside the rule's own, within
// five minutes after the state changed to the one afterwards. before.Text may be empty: the process had not been scraped
// until the condition arose.
func (b *Bench) Rings(t testing.TB, alert string, labels map[string]string, before, afterwards Scrape) {
	t.Helper()
	rule, known := b.rules[alert]
	require.True(t, known, "%s has no alarm %s", b.file, alert)
	all := maps.Clone(rule.Labels)
	maps.Copy(all, labels)
	names := map[string]bool{}
	for _, name := range metric.FindAllString(rule.Expr, -1) {
		names[name] = true
	}
	old, now := series(before, quiet, names), series(afterwards, quiet+every, names)
	var input []map[string]string
	for _, name := range slices.Sorted(maps.Keys(now)) {
		value := "_x" + strconv.Itoa(int(quiet/every)+1)
		if past, there := old[name]; there {
			value = past + "+0x" + strconv.Itoa(int(quiet/every))
		}
		input = append(input, map[string]string{"series": name, "values": value + " " + now[name] + "+0x" + strconv.Itoa(int(after/every))})
	}
	said := map[string]string{}
	for name, text := range rule.Annotations {
		for label, value := range labels {
			text = strings.ReplaceAll(text, "{{ $labels."+label+" }}", value)
		}
		said[name] = text
	}
	silent := map[string]any{"eval_time": quiet.String(), "alertname": alert, "exp_alerts": []any{}}
	rings := map[string]any{"eval_time": (quiet + after).String(), "alertname": alert, "exp_alerts": []any{
		map[string]any{"exp_labels": all, "exp_annotations": said},
	}}
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules.yaml")
	require.NoError(t, os.WriteFile(rules, b.alone[alert], 0o600))
	text, err := yaml.Marshal(map[string]any{
		"rule_files": []string{rules}, "evaluation_interval": every.String(),
		"tests": []any{map[string]any{"interval": every.String(), "input_series": input, "alert_rule_test": []any{silent, rings}}},
	})
	require.NoError(t, err)
	file := filepath.Join(dir, alert+".yaml")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	out, err := exec.CommandContext(t.Context(), b.promtool, "test", "rules", file).CombinedOutput() //nolint:gosec // found by find
	require.NoError(t, err, "%s\n%s", out, text)
}

var metric = regexp.MustCompile(`\b(arauto|process)_[a-z_]+`)

// clocks are metrics that are instants. Their values are moved with the scrape into the virtual time of the test.
var clocks = regexp.MustCompile(`_(time|not_after|valid_until)_seconds(\{|$)`)

// series are the lines of a scrape whose metrics are asked for: the value of each series, by its name and labels. at is the
// virtual time of the scrape.
func series(s Scrape, at time.Duration, names map[string]bool) map[string]string {
	out := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(s.Text))
	for lines.Scan() {
		name, value, ok := cutLast(lines.Text())
		if !ok || !names[metric.FindString(name)] {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil && v > 0 && clocks.MatchString(name) {
			value = strconv.FormatFloat(v-float64(s.At.UnixMilli())/1000+at.Seconds(), 'f', 3, 64)
		}
		bare, labels, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
		if labels != "" {
			labels += ","
		}
		out[fmt.Sprintf(`%s{%sinstance="a",job="arauto"}`, bare, labels)] = value
	}
	return out
}

func cutLast(line string) (name, value string, ok bool) {
	if strings.HasPrefix(line, "#") {
		return "", "", false
	}
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return "", "", false
	}
	return line[:i], line[i+1:], true
}

// Rule returns the rule of an alarm, the zero Rule when there is none.
func (b *Bench) Rule(alert string) Rule { return b.rules[alert] }

// Value returns what a series, named as /metrics writes it, shows.
func (s Scrape) Value(series string) (float64, bool) {
	for line := range strings.Lines(s.Text) {
		if name, value, ok := cutLast(strings.TrimSuffix(line, "\n")); ok && name == series {
			v, err := strconv.ParseFloat(value, 64)
			return v, err == nil
		}
	}
	return 0, false
}
