package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/ofb"
)

// received is a notification that came, and what was made of it.
type received struct {
	Number        int64    `json:"number"`
	At            string   `json:"at"`
	Method        string   `json:"method"`
	Path          string   `json:"path"`
	Subject       string   `json:"subject"`
	Organisation  string   `json:"organisationId"`
	Source        string   `json:"source"`
	TLS           string   `json:"tls"`
	InteractionID string   `json:"interactionId"`
	Body          string   `json:"body"`
	Wrong         []string `json:"wrong"` // what is not as the webhook API has it, in English
	Answer        int      `json:"answer"`
	Dropped       bool     `json:"dropped"`
	Gone          bool     `json:"gone"` // its caller ended the connection before the answer

	ForwardProblem string `json:"forwardProblem,omitempty"` // why the local app gave no answer

	wrong violations
}

// summary is what a run has seen.
type summary struct {
	Received int64            `json:"received"`
	Wrong    int64            `json:"wrong"`   // with at least one violation
	Dropped  int64            `json:"dropped"` // without an answer
	Missed   map[string]int64 `json:"missed"`  // paths of resources of which no notification was answered with 2xx in time, and how many came
	taken    map[string]bool
}

// checkFlags judges what the flags say of answers.
func (l *listen) checkFlags() error {
	if l.delay < 0 || l.delay > time.Minute {
		return wrongUse("listen: --delay is %v; use 0 to 1m", l.delay)
	}
	if l.drop < 0 {
		return wrongUse("listen: --drop is %d; use 0 or more", l.drop)
	}
	if l.forward == "" {
		return nil
	}
	u, err := url.Parse(l.forward)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return wrongUse("listen: --forward is not the address of an app; use one such as http://localhost:3000/hook")
	}
	return nil
}

// wait delays an answer.
func (l *listen) wait(ctx context.Context) {
	if l.delay == 0 {
		return
	}
	timer := time.NewTimer(l.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// pass posts a notification to the local app as it came: the path behind the registered base, the body, and the headers of the webhook
// API. It returns the app's status and echo, or 502 and why there is none.
func (l *listen) pass(r *http.Request, body []byte) (status int, echo, problem string) {
	path := r.URL.EscapedPath()
	if at := strings.Index(path, "/open-banking/"); at >= 0 {
		path = path[at:]
	}
	ctx, cancel := context.WithTimeout(r.Context(), 14*time.Second)
	defer cancel()
	out, err := http.NewRequestWithContext(ctx, r.Method, strings.TrimRight(l.forward, "/")+path, bytes.NewReader(body)) //nolint:gosec // the developer named the app
	if err != nil {
		return http.StatusBadGateway, "", err.Error()
	}
	for _, name := range []string{"Content-Type", "X-Webhook-Interaction-Id", ofb.HeaderAuthorizationServerID, ofb.HeaderAuthorisationServerID} {
		if value := r.Header.Get(name); value != "" {
			out.Header.Set(name, value)
		}
	}
	res, err := l.client.Do(out) //nolint:gosec // likewise
	if err != nil {
		return http.StatusBadGateway, "", err.Error()
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // what an app says beside its status means nothing to the holder
	return res.StatusCode, res.Header.Get("X-Webhook-Interaction-Id"), ""
}

// show prints a notification and counts it.
func (l *listen) show(r *received) {
	r.Wrong = r.wrong.in(listenWords["en"])
	l.mu.Lock()
	l.seen.add(r)
	l.mu.Unlock()
	var out strings.Builder
	fmt.Fprintf(&out, "\n#%d %s  %s %s\n", r.Number, r.At, r.Method, r.Path)
	if r.TLS != "" {
		fmt.Fprintf(&out, "   %s   %s (%s, %s)\n", l.words["from"], r.Subject, r.Source, r.TLS)
	}
	fmt.Fprintf(&out, "   id     %q\n   %s  %q\n", r.InteractionID, l.words["body"], r.Body)
	for _, wrong := range r.wrong.in(l.words) {
		fmt.Fprintf(&out, "   %s  %s\n", l.words["wrong"], wrong)
	}
	if r.ForwardProblem != "" {
		fmt.Fprintf(&out, "   %s  --forward: "+l.words["no-answer"]+"\n", l.words["wrong"], r.ForwardProblem)
	}
	switch {
	case r.Dropped:
		fmt.Fprintf(&out, "   %s\n", l.words["dropped"])
	case r.Gone:
		fmt.Fprintf(&out, "   %s\n", l.words["gone"])
	default:
		fmt.Fprintf(&out, "   %s %d\n", l.words["answer"], r.Answer)
	}
	l.print(r, "%s", out.String())
}

// print writes a value as a line of JSON, or the text.
func (l *listen) print(value any, format string, args ...any) {
	text := fmt.Appendf(nil, format, args...)
	if l.asJSON {
		line, err := json.Marshal(value)
		if err != nil {
			return // strings and numbers always encode
		}
		text = append(line, '\n')
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.out.Write(text) // nobody is left to tell
}

func (s *summary) add(r *received) {
	if s.Missed == nil {
		s.Missed, s.taken = map[string]int64{}, map[string]bool{}
	}
	s.Received++
	if len(r.Wrong) > 0 {
		s.Wrong++
	}
	if r.Dropped {
		s.Dropped++
	}
	if !r.Dropped && !r.Gone && r.Answer/100 == 2 {
		s.taken[r.Path] = true
		delete(s.Missed, r.Path)
		return
	}
	if !s.taken[r.Path] {
		s.Missed[r.Path]++
	}
}

// conclude prints what the run has seen.
func (l *listen) conclude() {
	l.mu.Lock()
	seen := l.seen
	seen.Missed = maps.Clone(seen.Missed)
	l.mu.Unlock()
	if seen.Missed == nil {
		seen.Missed = map[string]int64{}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "\nlisten: "+l.words["summary"]+"\n", seen.Received, seen.Wrong, seen.Dropped, len(seen.Missed))
	for _, path := range slices.Sorted(maps.Keys(seen.Missed)) {
		fmt.Fprintf(&out, "   %s %s (%d)\n", l.words["missed"], path, seen.Missed[path])
	}
	l.print(map[string]summary{"summary": seen}, "%s", out.String())
}
