package rabbitmq

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Bounds of a question to the management API.
const (
	answerTimeout = 5 * time.Second // of each question
	maxAnswer     = 1 << 20         // bytes; a queue with 1,000 consumers stays below
	maxShown      = 100             // characters of a name that the server chose
)

// errNotFound says that the management API has no such object.
var errNotFound = errors.New("not found")

// management asks the management API. It follows no redirect and no proxy, and reads at most maxAnswer bytes.
type management struct {
	base     string // without a slash at its end
	vhost    string
	user     string
	password string
	client   *http.Client
}

// openManagement reads the files of the settings and connects to nothing yet. Close it.
func (s *Settings) openManagement() (*management, error) {
	vhost, err := s.virtualHost()
	if err != nil {
		return nil, err
	}
	tls, err := s.TLS.Config()
	if err != nil {
		return nil, err
	}
	password, err := s.Password()
	if err != nil {
		return nil, err
	}
	return &management{
		base: strings.TrimRight(s.Management, "/"), vhost: vhost, user: s.User, password: password,
		client: &http.Client{
			Timeout: answerTimeout,
			Transport: &http.Transport{
				DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext, TLSClientConfig: tls,
				MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, ForceAttemptHTTP2: false,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func (m *management) close() { m.client.CloseIdleConnections() }

// queue asks for the properties of a queue. errNotFound: the API has no such queue.
func (m *management) queue(ctx context.Context, name string) (*properties, error) {
	text, err := m.get(ctx, "/api/queues/"+url.PathEscape(m.vhost)+"/"+url.PathEscape(name))
	if err != nil {
		return nil, err
	}
	return parseQueue(text, name)
}

// version asks for the server's version, such as 3.10.8.
func (m *management) version(ctx context.Context) (string, error) {
	text, err := m.get(ctx, "/api/overview")
	if err != nil {
		return "", err
	}
	return parseVersion(text)
}

func (m *management) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.base+path, http.NoBody)
	if err != nil {
		return nil, errors.New("the address is not a URL")
	}
	request.SetBasicAuth(m.user, m.password)
	request.Header.Set("Accept", "application/json")
	response, err := m.client.Do(request)
	if err != nil {
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err // the address is named once, by the caller
		}
		return nil, err
	}
	defer response.Body.Close()
	switch code := response.StatusCode; {
	case code == http.StatusOK:
	case code == http.StatusNotFound:
		return nil, errNotFound
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return nil, fmt.Errorf("it refuses the user %q (%d); the user needs the password of password_file, the tag management and a right in the virtual host %s", m.user, code, shown(m.vhost))
	case code >= 300 && code < 400:
		return nil, fmt.Errorf("it answers with a redirect (%d); name the address it redirects to", code)
	default:
		return nil, fmt.Errorf("it answers with the status %d", code)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("its answer is longer than %d KiB", maxAnswer>>10)
	}
	return text, nil
}

// errNoAnswer is the error of an answer that is no description of what was asked for. It repeats nothing of the answer.
var errNoAnswer = errors.New("its answer is not the JSON of RabbitMQ's management API; check the address")

// properties are those of a queue, as the server shows them.
type properties struct {
	kind       string // classic, quorum or stream; empty: not shown
	arguments  jsonTable
	policy     jsonTable // what the policies say together; nil: not shown
	policies   string
	limit      *json.RawMessage // delivery_limit; servers before 4.0 do not show it
	durable    *bool
	autoDelete *bool
}

// jsonTable is a JSON object whose values are read when they are needed. The server writes an empty one also as an empty list.
type jsonTable map[string]json.RawMessage

// UnmarshalJSON implements json.Unmarshaler.
func (t *jsonTable) UnmarshalJSON(text []byte) error {
	if string(text) == "[]" {
		*t = jsonTable{}
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	*t = members
	return nil
}

// parseQueue reads an answer about the queue of that name.
func parseQueue(text []byte, name string) (*properties, error) {
	var answer struct {
		Name           string           `json:"name"`
		Type           string           `json:"type"`
		Arguments      jsonTable        `json:"arguments"`
		Policy         string           `json:"policy"`
		OperatorPolicy string           `json:"operator_policy"`
		Effective      jsonTable        `json:"effective_policy_definition"`
		DeliveryLimit  *json.RawMessage `json:"delivery_limit"`
		Durable        *bool            `json:"durable"`
		AutoDelete     *bool            `json:"auto_delete"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Name != name || answer.Arguments == nil {
		return nil, errNoAnswer
	}
	var policies []string
	if answer.Policy != "" {
		policies = append(policies, "the policy "+shown(answer.Policy))
	}
	if answer.OperatorPolicy != "" {
		policies = append(policies, "the operator policy "+shown(answer.OperatorPolicy))
	}
	return &properties{
		kind: cmp.Or(answer.Type, answer.Arguments.text("x-queue-type")), arguments: answer.Arguments, policy: answer.Effective, limit: answer.DeliveryLimit,
		durable: answer.Durable, autoDelete: answer.AutoDelete,
		policies: cmp.Or(strings.Join(policies, " or "), "a policy"),
	}, nil
}

// parseVersion reads the server's version in an answer about the whole.
func parseVersion(text []byte) (string, error) {
	var answer struct {
		Version string `json:"rabbitmq_version"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Version == "" {
		return "", errNoAnswer
	}
	return answer.Version, nil
}

// whole is a member that is a whole number. set: the member is there; ok: it is a whole number of 64 bits.
func (t jsonTable) whole(name string) (n int64, set, ok bool) {
	raw, set := t[name]
	if !set {
		return 0, false, true
	}
	return whole(raw)
}

// whole reads a whole number. set is false for null.
func whole(raw json.RawMessage) (n int64, set, ok bool) {
	if string(raw) == "null" {
		return 0, false, true
	}
	err := json.Unmarshal(raw, &n)
	return n, true, err == nil
}

// text is a member that is text; else empty.
func (t jsonTable) text(name string) string {
	var value string
	if json.Unmarshal(t[name], &value) != nil {
		return ""
	}
	return value
}

// shown is a name that somebody else chose, quoted and cut so that it is safe to print.
func shown(name string) string {
	if runes := []rune(name); len(runes) > maxShown {
		name = string(runes[:maxShown]) + "…"
	}
	return fmt.Sprintf("%q", name)
}
