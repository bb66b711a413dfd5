package demo

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/watch"
)

// follow tells what the initiators receive, and what became of the rows that nobody is told of, until ctx ends. The error is that of stay.
func (d *demo) follow(ctx context.Context, initiators map[string]*standin.Initiator) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.say("gateway", "follows the source of %s; of its first load, deadlines that have passed are told and nothing else", d.Source)
	var all sync.WaitGroup
	for who, endpoint := range initiators {
		all.Go(func() {
			for n := 1; ; n++ {
				requests, err := endpoint.Wait(ctx, n, nil)
				if err != nil {
					return // the demo ends
				}
				r := requests[n-1]
				d.say(who, "received POST %s %s, interaction %s", r.Target, r.Body, r.Interaction)
			}
		})
	}
	all.Go(func() { d.tellUntold(ctx) })
	all.Go(func() { d.tellSource(ctx) })
	err := d.stay(ctx)
	cancel()
	all.Wait()
	return err
}

// tellSource looks every second for what the reader says of the source, and tells each change of it.
func (d *demo) tellSource(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var list struct {
			Sources []struct {
				Name   string
				Status *struct {
					State     watch.SourceState
					LastError string
					Stopped   []watch.Stopped
				}
			}
		}
		if err := d.core.Call(ctx, http.MethodGet, "/internal/v1/sources", nil, &list); err != nil || len(list.Sources) == 0 || list.Sources[0].Status == nil {
			continue // the replica ends, is busy, or has reported nothing yet
		}
		s := list.Sources[0]
		now := string(s.Status.State)
		if s.Status.State != watch.Running && s.Status.LastError != "" {
			now += ": " + s.Status.LastError
		}
		for _, t := range s.Status.Stopped {
			now += "; table " + t.Table + " stopped: " + strings.Join(t.Why, "; ")
		}
		if now != last {
			d.say("gateway", "source %s is %s", s.Name, now)
			last = now
		}
	}
}

// changesCounted are the counters of changes that were not announced.
var changesCounted = regexp.MustCompile(`(?m)^arauto_changes_total\{kind="([^"]*)",reason="([^"]*)",verdict="([^"]*)"\} (\d+)$`)

// tellUntold looks every second for changes that nobody is told of, and says why.
func (d *demo) tellUntold(ctx context.Context) {
	counted, cases := map[string]string{}, map[string]bool{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		text, err := d.replica.Metrics(ctx)
		if err != nil {
			continue // the replica ends, or is busy
		}
		for _, m := range changesCounted.FindAllStringSubmatch(text, -1) {
			kind, reason, verdict, n := m[1], m[2], m[3], m[4]
			series := kind + " " + reason + " " + verdict
			if n == "0" || counted[series] == n {
				continue
			}
			counted[series] = n
			switch {
			case verdict == "quarantined":
				d.tellCases(ctx, cases)
			case reason == string(ofb.UnknownClient):
				d.say("gateway", "%s: %s so far stored and announced to nobody: %s; name a client id of your rows with --client", kind, n, reason)
			case reason != "":
				d.say("gateway", "%s: %s so far stored and announced to nobody: %s", kind, n, reason)
			}
		}
	}
}

// tellCases names the cases of the quarantine that are new.
func (d *demo) tellCases(ctx context.Context, told map[string]bool) {
	var list struct {
		Quarantine []struct {
			ID         string
			ResourceID *string
			Errors     []struct{ Pointer, Code, Detail string }
		}
	}
	if err := d.core.Call(ctx, http.MethodGet, "/internal/v1/quarantine", nil, &list); err != nil {
		d.say("gateway", "the quarantine was not read: %v", err)
		return
	}
	for _, c := range list.Quarantine {
		if told[c.ID] {
			continue
		}
		told[c.ID] = true
		resource := "a row"
		if c.ResourceID != nil {
			resource = *c.ResourceID
		}
		for _, e := range c.Errors {
			d.say("gateway", "%s went to quarantine: %s %s: %s", resource, e.Pointer, e.Code, e.Detail)
		}
	}
}
