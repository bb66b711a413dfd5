package stage

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/jws"
)

// Token makes a bearer token of the bank's own, good for an hour, with the given roles.
func (s *Stage) Token(subject string, roles ...string) (string, error) {
	return BankToken(s.PKI.Internal.Key, s.PKI.Internal.KID, subject, roles...)
}

// BankToken is Stage.Token with another key.
func BankToken(key *rsa.PrivateKey, kid, subject string, roles ...string) (string, error) {
	now := time.Now()
	return jws.Issue(key, kid, map[string]any{
		"iss": InternalIssuer, "aud": InternalAudience, "sub": subject, "roles": roles, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
}

// Statement makes a software statement as the Directory does, issued now.
func (s *Stage) Statement(organisation, software string, uris []string) (string, error) {
	return jws.Issue(s.PKI.Directory.Key, s.PKI.Directory.KID, map[string]any{
		"iss": "Open Finance Brasil stage SSA issuer", "iat": time.Now().Unix(), "jti": rand.Text(), "org_id": organisation, "software_id": software,
		"software_api_webhook_uris": uris,
	})
}

// Core is the bank's own system: it registers initiators, hands in changes and reads their outcome, at one replica.
type Core struct {
	base   string
	token  func() (string, error)
	client *http.Client
}

// NewCore talks to a gateway that this program did not start: at the base address of its internal API, with the token of each call.
func NewCore(base string, token func() (string, error), client *http.Client) *Core {
	return &Core{base, token, client}
}

// Core talks to a replica with every role.
func (s *Stage) Core(r *Replica) (*Core, error) {
	token := func() (string, error) { return s.FullToken("core") }
	_, err := token()
	return NewCore("http://"+r.Internal, token, plain), err
}

// FullToken returns a token of a subject with every role, good for half an hour at least. It is signed twice an hour: a signature takes two
// milliseconds of processor time.
func (s *Stage) FullToken(subject string) (string, error) {
	s.tokenMu.Lock()
	defer s.tokenMu.Unlock()
	if kept := s.tokens[subject]; time.Now().Round(0).Sub(kept.signedAt) < 30*time.Minute {
		return kept.token, nil
	}
	token, err := s.Token(subject, "ingest", "registrar", "operator", "auditor")
	if err == nil {
		if s.tokens == nil {
			s.tokens = map[string]signedToken{}
		}
		s.tokens[subject] = signedToken{token, time.Now().Round(0)}
	}
	return token, err
}

type signedToken struct {
	token    string
	signedAt time.Time
}

// Refusal is an answer that is not 2xx.
type Refusal struct {
	Status     int
	Body       string
	RetryAfter string // the header
}

// Error shows status and body.
func (r *Refusal) Error() string { return fmt.Sprintf("answered %d: %.500s", r.Status, r.Body) }

// Call makes one request and decodes the answer into out unless it is nil; a status over 299 is a *Refusal.
func (c *Core) Call(ctx context.Context, method, path string, in, out any) error {
	a, err := c.Exchange(ctx, method, path, in)
	if err != nil {
		return err
	}
	if a.Status > 299 {
		return &Refusal{a.Status, string(a.Body), a.retryAfter}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(a.Body, out)
}

// Answer is what a request was answered.
type Answer struct {
	Status     int
	Body       []byte
	retryAfter string
}

// Exchange makes one request and reads the whole answer, whatever its status.
func (c *Core) Exchange(ctx context.Context, method, path string, in any) (Answer, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return Answer{}, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return Answer{}, err
	}
	token, err := c.token()
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	return Answer{res.StatusCode, text, res.Header.Get("Retry-After")}, err
}

// Registration is the body of a PUT of an initiator.
type Registration struct {
	Brand             string   `json:"brand,omitempty"`
	OrganisationID    string   `json:"organisationId"`
	SoftwareID        string   `json:"softwareId"`
	Name              string   `json:"name"`
	WebhookURIs       []string `json:"webhookUris,omitempty"`
	SoftwareStatement string   `json:"softwareStatement,omitempty"`
}

// Register puts a registration.
func (c *Core) Register(ctx context.Context, client string, r Registration) error {
	return c.Call(ctx, http.MethodPut, "/internal/v1/initiators/"+url.PathEscape(client), r, nil)
}

// Change is one change as the core hands it in.
type Change struct {
	Brand      string          `json:"brand,omitempty"`
	Kind       string          `json:"kind"`
	ClientID   string          `json:"clientId"`
	APIVersion string          `json:"apiVersion"`
	Revision   int64           `json:"revision"`
	OccurredAt time.Time       `json:"occurredAt"`
	Cause      string          `json:"cause,omitempty"`
	NotBefore  *time.Time      `json:"notBefore,omitempty"`
	Data       json.RawMessage `json:"data"`
}

// Accepted is the answer to a change.
type Accepted struct {
	ChangeID      string  `json:"changeId"`
	Outcome       string  `json:"outcome"`
	Reason        *string `json:"reason"`
	Notifications []struct {
		ID string `json:"id"`
	} `json:"notifications"`
	Error  string `json:"error"`
	Status int    `json:"status"`
}

// Change hands in one change.
func (c *Core) Change(ctx context.Context, change Change) (Accepted, error) {
	var a Accepted
	err := c.Call(ctx, http.MethodPost, "/internal/v1/changes", change, &a)
	return a, err
}

// busyWithin is how long ChangePatiently goes on.
const busyWithin = 30 * time.Second

// ChangePatiently is Change, and hands in the change again while the gateway is too busy to take it, after the seconds that each answer
// names, for half a minute. So does a core.
func (c *Core) ChangePatiently(ctx context.Context, change Change) (Accepted, error) {
	for end := time.Now().Add(busyWithin); ; {
		a, err := c.Change(ctx, change)
		refusal, refused := errors.AsType[*Refusal](err)
		if !refused || refusal.Status != http.StatusServiceUnavailable || time.Now().After(end) {
			return a, err
		}
		pause, wrong := strconv.Atoi(refusal.RetryAfter)
		if wrong != nil {
			pause = 1
		}
		select {
		case <-time.After(time.Duration(pause) * time.Second):
		case <-ctx.Done():
			return a, err
		}
	}
}

// Attempt is an attempt as it is read.
type Attempt struct {
	Number        int        `json:"number"`
	InteractionID string     `json:"interactionId"`
	ScheduledAt   time.Time  `json:"scheduledAt"`
	StartedAt     time.Time  `json:"startedAt"`
	EndedAt       *time.Time `json:"endedAt"`
	Outcome       *string    `json:"outcome"`
	HTTPStatus    *int       `json:"httpStatus"`
	Echo          *string    `json:"echo"`
	URL           *string    `json:"url"`
	Detail        *string    `json:"detail"`
}

// Notification is a notification as it is read.
type Notification struct {
	ID            string     `json:"id"`
	ClientID      string     `json:"clientId"`
	Kind          string     `json:"kind"`
	ResourceID    string     `json:"resourceId"`
	Revision      *int64     `json:"revision"`
	Status        string     `json:"status"`
	CreatedAt     time.Time  `json:"createdAt"`
	State         string     `json:"state"`
	Late          bool       `json:"late"`
	NextAttemptAt *time.Time `json:"nextAttemptAt"`
	Attempts      []Attempt  `json:"attempts"`
}

// Notification reads one.
func (c *Core) Notification(ctx context.Context, id string) (Notification, error) {
	var n Notification
	err := c.Call(ctx, http.MethodGet, "/internal/v1/notifications/"+id, nil, &n)
	return n, err
}

// Notifications reads every notification that a query selects, page by page.
func (c *Core) Notifications(ctx context.Context, query url.Values) ([]Notification, error) {
	limit := 250
	var all []Notification
	for {
		var page struct {
			Notifications []Notification `json:"notifications"`
			NextCursor    *string        `json:"nextCursor"`
		}
		query.Set("limit", strconv.Itoa(limit))
		err := c.Call(ctx, http.MethodGet, "/internal/v1/notifications?"+query.Encode(), nil, &page)
		var refusal *Refusal
		if limit > 10 && errors.As(err, &refusal) && strings.Contains(refusal.Body, `"too_broad"`) {
			limit /= 5 // it took a busy gateway too long
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, page.Notifications...)
		if page.NextCursor == nil {
			return all, nil
		}
		query.Set("cursor", *page.NextCursor)
	}
}

// WaitState waits until a notification has left the state pending.
func (c *Core) WaitState(ctx context.Context, id string) (Notification, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := c.Notification(ctx, id)
		if err != nil || n.State != "pending" {
			return n, err
		}
		select {
		case <-ctx.Done():
			return n, fmt.Errorf("notification %s is still pending: %w", id, ctx.Err())
		case <-tick.C:
		}
	}
}

// Stream hands in lines as NDJSON over one request: lines are taken from the channel until it is closed, and answered
// is called for each line, in order. It returns when the last answer is there.
func (c *Core) Stream(ctx context.Context, lines <-chan []byte, answered func(Accepted)) error {
	reader, writer := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/internal/v1/changes", reader)
	if err != nil {
		return err
	}
	token, err := c.token()
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/x-ndjson")
	go func() {
		w := bufio.NewWriterSize(writer, 64<<10)
		var err error
		for line := range lines {
			if err != nil {
				continue // the reader is gone; let the sender of lines end
			}
			if _, err = w.Write(line); err == nil {
				err = w.WriteByte('\n')
			}
			if err == nil && len(lines) == 0 {
				err = w.Flush()
			}
		}
		if err == nil {
			err = w.Flush()
		}
		writer.CloseWithError(err)
	}()
	res, err := streaming.Do(req)
	if err != nil {
		reader.CloseWithError(err)
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
		return &Refusal{res.StatusCode, string(text), res.Header.Get("Retry-After")}
	}
	d := json.NewDecoder(bufio.NewReaderSize(res.Body, 64<<10))
	for {
		var a Accepted
		if err := d.Decode(&a); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read an answer: %w", err)
		}
		answered(a)
	}
}

var streaming = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// Line encodes a change as one line.
func (c Change) Line() ([]byte, error) { return json.Marshal(c) }
