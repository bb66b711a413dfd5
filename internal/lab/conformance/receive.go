package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
)

// awaited is a notification that must come.
type awaited struct {
	resource *resource
	target   string        // path of the request, byte for byte
	event    ofb.EventType // NoEventType: the body must have none
}

// expect says that the current state of a resource must be notified.
func (p *play) expect(name string, event ofb.EventType) {
	r := p.resources[name]
	p.pending = append(p.pending, awaited{r, p.target(r), event})
}

// target is the path that the suite expects for a resource.
func (p *play) target(r *resource) string {
	return p.path + ofb.Path(r.kind, r.version, r.id)
}

// mine matches what came to this module's address since it began, however it goes on.
func (p *play) mine(r *standin.Request) bool {
	return strings.HasPrefix(r.Target, p.path) && !r.At.Before(p.began)
}

// next takes the next notification, which must be one of those pending, and judges it.
func (p *play) next(ctx context.Context, within time.Duration) (standin.Request, awaited, error) {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	came, err := p.Receiver.Wait(limited, len(p.taken)+1, p.mine)
	if err != nil {
		return standin.Request{}, awaited{}, mismatch(fmt.Sprintf("none within %s", within), "a notification at %s", p.wanted())
	}
	r := came[len(p.taken)]
	p.taken = append(p.taken, r)
	i := slices.IndexFunc(p.pending, func(a awaited) bool { return a.target == r.Target })
	if i < 0 {
		return r, awaited{}, mismatch(fmt.Sprintf("one at %s%s", r.Target, complaint(r.Target, p.pending)), "a notification at %s", p.wanted())
	}
	a := p.pending[i]
	p.pending = slices.Delete(p.pending, i, i+1)
	return r, a, p.judge(&r, a)
}

func (p *play) wanted() string {
	targets := make([]string, len(p.pending))
	for i, a := range p.pending {
		targets[i] = a.target
	}
	return strings.Join(targets, " or ")
}

// complaint names the known mistake in an address, if it is one (webhook §1.4).
func complaint(target string, pending []awaited) string {
	for _, a := range pending {
		_, plain, _ := strings.Cut(a.resource.id, ":")
		_, plain, urn := strings.Cut(plain, ":")
		switch {
		case strings.Contains(target, "//"):
			return " (// after the base)"
		case urn && strings.HasSuffix(target, "/"+plain):
			return " (the id without its prefix urn:…:)"
		case !strings.Contains(target, "/open-banking/"):
			return " (without /open-banking)"
		case !strings.Contains(target, "/webhook/"):
			return " (without /webhook)"
		}
	}
	return ""
}

// uuidForm is that of RFC 4122.
var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$`)

// clockTolerance is how far the clocks of the holder and of the suite may differ where instants of both are compared.
const clockTolerance = 50 * time.Millisecond

// judge holds one notification against the rules (webhook §2, §9.2).
func (p *play) judge(r *standin.Request, a awaited) error {
	interactions := 0
	for _, other := range p.taken {
		if other.Interaction == r.Interaction {
			interactions++
		}
	}
	switch {
	case r.PeerSubject == "":
		return mismatch("one without", "a client certificate with the notification")
	case r.Method != http.MethodPost:
		return mismatch(r.Method, "the method %s", http.MethodPost)
	case !uuidForm.MatchString(r.Interaction):
		return mismatch(fmt.Sprintf("%q", r.Interaction), "a UUID in %s", ofb.HeaderInteractionID)
	case interactions > 1:
		return mismatch("that of an attempt before", "a new %s for each attempt", ofb.HeaderInteractionID)
	case r.At.Before(a.resource.answered.Add(-clockTolerance)):
		return mismatch(fmt.Sprintf("it %s before", a.resource.answered.Sub(r.At).Round(time.Millisecond)), "the notification after notBefore, when the POST that makes the resource is answered")
	}
	if a.resource.kind == ofb.Enrollment {
		if id := r.Get(ofb.HeaderAuthorizationServerID); id != p.AuthorisationServerID {
			return mismatch(fmt.Sprintf("%q", id), "%s = %s", ofb.HeaderAuthorizationServerID, p.AuthorisationServerID)
		}
	}
	return p.judgeBody(r, a.event)
}

// judgeBody holds a body against its schema: the members it must have, and no others.
func (p *play) judgeBody(r *standin.Request, event ofb.EventType) error {
	var body struct {
		Data map[string]string `json:"data"`
	}
	if err := json.Unmarshal(r.Body, &body); err != nil {
		return mismatch(fmt.Sprintf("%.200q", r.Body), "a JSON body with data")
	}
	expected := 1
	if event != ofb.NoEventType {
		expected = 2
	}
	at, err := time.Parse("2006-01-02T15:04:05Z", body.Data["timestamp"])
	switch {
	case err != nil:
		return mismatch(fmt.Sprintf("%q", body.Data["timestamp"]), "data.timestamp as YYYY-MM-DDThh:mm:ssZ")
	case at.Before(p.began.Truncate(time.Second)) || at.After(r.At.Add(clockTolerance)):
		return mismatch(body.Data["timestamp"], "data.timestamp between the start of the test %s and now", p.began.UTC().Format(time.RFC3339))
	case body.Data["eventType"] != string(event):
		return mismatch(fmt.Sprintf("%q", body.Data["eventType"]), "data.eventType %q", event)
	case len(body.Data) != expected:
		return mismatch(fmt.Sprintf("%.200q", r.Body), "%d members in data", expected)
	}
	return nil
}

// quiet waits that nothing comes where nothing is pending.
func (p *play) quiet(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, p.Quiet)
	defer cancel()
	came, err := p.Receiver.Wait(limited, len(p.taken)+1, p.mine)
	if err != nil {
		return ctx.Err()
	}
	extra := came[len(p.taken)]
	before := ""
	if slices.ContainsFunc(p.taken, func(r standin.Request) bool { return r.Target == extra.Target }) {
		before = ", which was notified before"
	}
	return mismatch(fmt.Sprintf("one at %s%s", extra.Target, before), "no further notification")
}
