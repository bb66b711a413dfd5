package rabbitmq

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/bustest"
	"github.com/arauto/arauto/internal/lab/rabbit"
	"github.com/arauto/arauto/internal/watch/bus"
)

// manage asks the management API of the node, as its administrator.
func (q *queueOf) manage(t *testing.T, method, path string, body any) (code int, answer []byte) {
	t.Helper()
	text, err := json.Marshal(body)
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, "http://127.0.0.1:"+q.Management+path, bytes.NewReader(text))
	require.NoError(t, err)
	request.SetBasicAuth(rabbit.User, q.Password)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	var all bytes.Buffer
	_, err = all.ReadFrom(response.Body)
	require.NoError(t, err)
	return response.StatusCode, all.Bytes()
}

// policy sets one for this queue alone, and waits until the server shows it.
func (q *queueOf) policy(t *testing.T, definition map[string]any) {
	t.Helper()
	path := "/api/policies/%2F/" + q.name
	code, answer := q.manage(t, http.MethodPut, path, map[string]any{"pattern": "^" + q.name + "$", "definition": definition, "apply-to": "queues"})
	require.Contains(t, []int{http.StatusCreated, http.StatusNoContent}, code, "%s", answer)
	t.Cleanup(func() { q.manage(t, http.MethodDelete, path, nil) })
	q.await(t, len(definition))
}

// await waits until the server shows this many rules of policies. It does some time after a queue is declared.
func (q *queueOf) await(t *testing.T, rules int) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(2 * time.Minute); ; {
		_, text := q.manage(t, http.MethodGet, "/api/queues/%2F/"+q.name, nil)
		p, err := parseQueue(text, q.name)
		require.NoError(t, err, "%s", text)
		if p.policy != nil && len(p.policy) == rules {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("the policy does not show: %s", text)
		}
	}
}

func (q *queueOf) managed() Settings {
	s := q.settings()
	s.Management = "http://127.0.0.1:" + q.Management
	return s
}

func remarksOf(t *testing.T, s Settings) (notes, warnings []string) {
	t.Helper()
	for _, r := range reader(t, s).Remarks(t.Context()) {
		if r.Warning {
			warnings = append(warnings, r.Text)
		} else {
			notes = append(notes, r.Text)
		}
	}
	return notes, warnings
}

func TestRemarksSayWhichDeliveryLimitAQueueHasAndWhereItComesFrom(t *testing.T) {
	t.Parallel()
	quorumQueue := amqp.Table{"x-queue-type": "quorum"}
	limited := amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": int32(20)}
	for name, c := range map[string]struct {
		arguments amqp.Table
		policy    map[string]any
		warning   bool
		want      []string
	}{
		"argument":                     {limited, nil, true, []string{"delivery limit 20 (from its argument x-delivery-limit)", "drops", "cannot be changed"}},
		"policy":                       {quorumQueue, map[string]any{"delivery-limit": 7}, true, []string{"delivery limit 7 (from the policy ", "delivery-limit -1"}},
		"the lower of both":            {limited, map[string]any{"delivery-limit": 7}, true, []string{"delivery limit 7 (from the policy "}},
		"argument below the policy":    {limited, map[string]any{"delivery-limit": 30}, true, []string{"delivery limit 20 (from its argument"}},
		"argument, dead letters kept":  {limited, map[string]any{"dead-letter-exchange": "core.dead"}, false, []string{"delivery limit 20", `dead-letter exchange "core.dead"`}},
		"none, of Debian's 3.10":       {quorumQueue, nil, false, []string{"quorum queue without a delivery limit"}},
		"none, and a policy of others": {quorumQueue, map[string]any{"dead-letter-exchange": "x"}, false, []string{"without a delivery limit"}},
		"classic":                      {nil, nil, false, []string{"classic queue, which has no delivery limit"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := newQueue(t, c.arguments)
			if c.policy == nil {
				q.await(t, 0)
			} else {
				q.policy(t, c.policy)
			}
			notes, warnings := remarksOf(t, q.managed())
			all := notes
			if c.warning {
				require.Empty(t, notes)
				all = warnings
			} else {
				require.Empty(t, warnings)
			}
			require.Len(t, all, 1)
			require.Contains(t, all[0], q.name)
			for _, want := range c.want {
				require.Contains(t, all[0], want)
			}
			require.Empty(t, reader(t, q.managed()).Check(t.Context()), "a remark keeps nothing from working")
		})
	}
}

func TestRemarksSayWhatElseMakesTheServerDropMessages(t *testing.T) {
	t.Parallel()
	q := newQueue(t, amqp.Table{"x-message-ttl": int32(60000), "x-expires": int32(3_600_000)})
	q.policy(t, map[string]any{"max-length": 1000})
	notes, warnings := remarksOf(t, q.managed())
	require.Len(t, notes, 1)
	require.Len(t, warnings, 3)
	require.Contains(t, warnings[0], "drops messages beyond message-ttl 60000 (from its argument x-message-ttl)")
	require.Contains(t, warnings[1], "drops messages beyond max-length 1000 (from the policy ")
	require.Contains(t, warnings[2], "deletes it with its messages after 3600000 ms without a consumer")

	q = newQueue(t, amqp.Table{"x-max-length": int32(10), "x-overflow": "reject-publish"})
	q.await(t, 0)
	_, warnings = remarksOf(t, q.managed())
	require.Empty(t, warnings, "the core hears of a refusal")

	q = newQueue(t, amqp.Table{"x-queue-type": "stream"})
	q.await(t, 0)
	_, warnings = remarksOf(t, q.managed())
	require.Len(t, warnings, 1)
	require.Contains(t, warnings[0], "is a stream")
}

func TestWithoutManagementTheLimitIsUnknownAndThatIsNoFault(t *testing.T) {
	t.Parallel()
	q := newQueue(t, amqp.Table{"x-queue-type": "quorum"})
	notes, warnings := remarksOf(t, q.settings())
	require.Empty(t, warnings)
	require.Equal(t, []string{"the queue's delivery limit is unknown: set management, or look with rabbitmqctl list_queues name type arguments policy"}, notes)
}

func TestAManagementAPIThatRefusesOrIsAwayLeavesTheLimitUnknown(t *testing.T) {
	t.Parallel()
	q := newQueue(t, amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": int32(20)})
	unknown := func(s Settings, want string) {
		t.Helper()
		notes, warnings := remarksOf(t, s)
		require.Empty(t, notes)
		require.Len(t, warnings, 1)
		require.Contains(t, warnings[0], "the delivery limit of ")
		require.Contains(t, warnings[0], "is unknown: management: ")
		require.Contains(t, warnings[0], want)
		require.NotContains(t, warnings[0], "secret-that-is-wrong")
	}
	s := q.managed()
	s.PasswordFile = bustest.Password(t, "secret-that-is-wrong")
	s.Queues = bus.Tables{q.name: "payments", "core.other": "payments"}
	unknown(s, `it refuses the user "arauto" (401)`)

	code, answer := q.manage(t, http.MethodPut, "/api/users/untagged", map[string]any{"password": "p", "tags": ""})
	require.Contains(t, []int{http.StatusCreated, http.StatusNoContent}, code, "%s", answer)
	t.Cleanup(func() { q.manage(t, http.MethodDelete, "/api/users/untagged", nil) })
	s = q.managed()
	s.User, s.PasswordFile = "untagged", bustest.Password(t, "p")
	unknown(s, "the tag management")

	s = q.managed()
	s.Queues = bus.Tables{"core.absent": bustest.Table}
	unknown(s, "no such queue")

	s = q.managed()
	s.Management = "http://127.0.0.1:1"
	unknown(s, "127.0.0.1:1")

	s = q.managed()
	s.PasswordFile += ".gone"
	unknown(s, "password_file")
}

func TestManagementIsAskedThroughTLSAndItsAuthorityAloneIsBelieved(t *testing.T) {
	t.Parallel()
	q := newQueue(t, amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": int32(9)})
	q.await(t, 0)
	s := q.settings()
	s.URLs = []string{"amqps://127.0.0.1:" + q.TLSPort + "/"}
	s.TLS = q.Authority.Client(t, "checker")
	s.Management = "https://127.0.0.1:" + q.ManagementTLS + "/"
	require.Empty(t, s.Problems(true))
	_, warnings := remarksOf(t, s)
	require.Len(t, warnings, 1)
	require.Contains(t, warnings[0], "delivery limit 9")

	others, err := bustest.NewAuthority(t.TempDir())
	require.NoError(t, err)
	s.TLS = &bus.TLS{CA: others.CA}
	_, warnings = remarksOf(t, s)
	require.Len(t, warnings, 1)
	require.Contains(t, warnings[0], "is unknown")
	require.Contains(t, warnings[0], "certificate")
}

// What a server of 4.x shows, which Debian does not have: delivery_limit, and a default.
func TestTheLimitFollowsTheServersRules(t *testing.T) {
	for name, c := range map[string]struct {
		members, version string
		want             deliveryLimit
	}{
		"default of 4":               {`"arguments":{},"effective_policy_definition":{}`, "4.1.2", deliveryLimit{known: true, n: 20, from: byDefault}},
		"none of 3":                  {`"arguments":{},"effective_policy_definition":[]`, "3.13.7", deliveryLimit{known: true}},
		"version unreadable":         {`"arguments":{},"effective_policy_definition":{}`, "next", deliveryLimit{}},
		"argument -1":                {`"arguments":{"x-delivery-limit":-1},"effective_policy_definition":{}`, "", deliveryLimit{known: true}},
		"policy -1":                  {`"arguments":{},"effective_policy_definition":{"delivery-limit":-1}`, "", deliveryLimit{known: true}},
		"policy -1, argument 20":     {`"arguments":{"x-delivery-limit":20},"effective_policy_definition":{"delivery-limit":-1}`, "", deliveryLimit{known: true, n: 20, from: byArgument}},
		"argument -1, policy 5":      {`"arguments":{"x-delivery-limit":-1},"effective_policy_definition":{"delivery-limit":5}`, "", deliveryLimit{known: true, n: 5, from: byPolicy}},
		"limit 0":                    {`"arguments":{"x-delivery-limit":0},"effective_policy_definition":{}`, "", deliveryLimit{known: true, n: 0, from: byArgument}},
		"policies not shown":         {`"arguments":{"x-delivery-limit":20}`, "4.0.0", deliveryLimit{known: true, n: 20, from: byArgument, atMost: true}},
		"policies not shown, -1":     {`"arguments":{"x-delivery-limit":-1}`, "4.0.0", deliveryLimit{}},
		"policies null":              {`"arguments":{},"effective_policy_definition":null`, "4.0.0", deliveryLimit{}},
		"text for a number":          {`"arguments":{"x-delivery-limit":"20"},"effective_policy_definition":{}`, "", deliveryLimit{}},
		"half":                       {`"arguments":{"x-delivery-limit":1.5},"effective_policy_definition":{}`, "", deliveryLimit{}},
		"beyond 64 bits":             {`"arguments":{},"effective_policy_definition":{"delivery-limit":1e30}`, "", deliveryLimit{}},
		"shown: unlimited":           {`"arguments":{},"effective_policy_definition":{},"delivery_limit":"unlimited"`, "", deliveryLimit{known: true}},
		"shown: the default":         {`"arguments":{},"effective_policy_definition":{},"delivery_limit":20`, "", deliveryLimit{known: true, n: 20, from: byDefault}},
		"shown: the argument":        {`"arguments":{"x-delivery-limit":20},"effective_policy_definition":{},"delivery_limit":20`, "", deliveryLimit{known: true, n: 20, from: byArgument}},
		"shown, a policy may follow": {`"arguments":{},"effective_policy_definition":{"delivery-limit":-1},"delivery_limit":20`, "", deliveryLimit{known: true, n: 20, from: byServer}},
		"shown: something else":      {`"arguments":{},"effective_policy_definition":{},"delivery_limit":{"a":1}`, "4.0.0", deliveryLimit{}},
		"shown: null":                {`"arguments":{},"effective_policy_definition":{},"delivery_limit":null`, "4.0.0", deliveryLimit{known: true, n: 20, from: byDefault}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := parseQueue([]byte(`{"name":"q","type":"quorum",`+c.members+`}`), "q")
			require.NoError(t, err)
			require.Equal(t, c.want, p.deliveryLimit(c.version))
			said := p.limitRemark("", c.version)
			require.Equal(t, !c.want.known || c.want.from != nowhere, said.Warning)
			require.Equal(t, !c.want.known, strings.Contains(said.Text, "unknown"))
		})
	}
}

func TestAHostileAnswerIsRefusedAndNotRepeated(t *testing.T) {
	for name, answer := range map[string]string{
		"empty": "", "no JSON": "<html>secret</html>", "a list": "[]", "null": "null", "another queue": `{"name":"other","arguments":{}}`,
		"no arguments": `{"name":"q"}`, "arguments are text": `{"name":"q","arguments":"secret"}`, "arguments are a list": `{"name":"q","arguments":[1]}`,
		"policy is a number": `{"name":"q","arguments":{},"policy":7}`, "more follows": `{"name":"q","arguments":{}} {}`,
		"deep":    `{"name":"q","arguments":{"a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}}`,
		"cut off": `{"name":"q","arguments":{"x-delivery-limit":2`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseQueue([]byte(answer), "q")
			require.Equal(t, errNoAnswer, err)
		})
	}
	for _, answer := range []string{"", "{}", "[]", `{"rabbitmq_version":4}`} {
		_, err := parseVersion([]byte(answer))
		require.Equal(t, errNoAnswer, err)
	}
	p, err := parseQueue([]byte(`{"name":"q","type":"quorum","arguments":{"x-delivery-limit":3},"effective_policy_definition":{},"policy":"`+strings.Repeat("x", 5000)+`\u001b[2J"}`), "q")
	require.NoError(t, err)
	require.Less(t, len(p.policies), 200)
	require.NotContains(t, p.policies, "\x1b")
}

func FuzzParseQueue(f *testing.F) {
	f.Add([]byte(`{"name":"q","type":"quorum","arguments":{"x-delivery-limit":3},"effective_policy_definition":{"max-length":1},"delivery_limit":20}`))
	f.Add([]byte(`{"name":"q","arguments":[],"effective_policy_definition":[],"durable":false,"auto_delete":true}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parseQueue(text, "q")
		if err != nil {
			require.Equal(t, errNoAnswer, err)
			return
		}
		for _, r := range p.remarks("q", "4.0.0") {
			require.NotEmpty(t, r.Text)
			require.NotContains(t, r.Text, "\x1b")
		}
	})
}

func TestAnAnswerIsBoundedInSizeAndFollowsNoRedirect(t *testing.T) {
	var answer func(w http.ResponseWriter, r *http.Request)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	defer s.Close()
	settings := Settings{
		URLs: []string{"amqp://127.0.0.1:1/a%2Fb"}, Login: bus.Login{User: rabbit.User, PasswordFile: bustest.Password(t, "p")}, Queues: bus.Tables{"q/1 ?": bustest.Table},
		Management: s.URL + "/behind/",
	}
	ask := func(want string) {
		t.Helper()
		_, warnings := remarksOf(t, settings)
		require.Len(t, warnings, 1)
		require.Contains(t, warnings[0], want)
	}
	answer = func(w http.ResponseWriter, _ *http.Request) { w.Write(bytes.Repeat([]byte(" "), maxAnswer+1)) }
	ask("longer than 1024 KiB")
	answer = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }
	ask("a redirect (302)")
	answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	ask("the status 503")
	answer = func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }
	ask("check the address")
	var paths []string
	answer = func(w http.ResponseWriter, r *http.Request) {
		if paths = append(paths, r.URL.EscapedPath()); strings.HasSuffix(r.URL.Path, "/overview") {
			w.Write([]byte(`{"rabbitmq_version":"4.0.5"}`))
			return
		}
		w.Write([]byte(`{"name":"q/1 ?","type":"quorum","arguments":{},"effective_policy_definition":{}}`))
	}
	ask("delivery limit 20 (from the server's default since RabbitMQ 4.0)")
	require.Equal(t, []string{"/behind/api/queues/a%2Fb/q%2F1%20%3F", "/behind/api/overview"}, paths)
}

// silent is a transport whose server never answers.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

func TestAQuestionIsBoundedInTime(t *testing.T) {
	file := bustest.Password(t, "p")
	synctest.Test(t, func(t *testing.T) {
		s := Settings{URLs: []string{"amqp://h/"}, Login: bus.Login{User: rabbit.User, PasswordFile: file}, Management: "http://127.0.0.1:1"}
		m, err := s.openManagement()
		require.NoError(t, err)
		m.client.Transport = silent{}
		began := time.Now()
		_, err = m.queue(t.Context(), "q")
		require.Error(t, err)
		require.Equal(t, answerTimeout, time.Since(began))
		require.NotErrorAs(t, err, new(*url.Error), "the address is named once")
	})
}

func TestSettingsOfManagementAreRefusedWithTheirKey(t *testing.T) {
	good := Settings{
		URLs: []string{"amqps://h/v"}, TLS: &bus.TLS{CA: "ca"}, Login: bus.Login{User: "u", PasswordFile: "p"}, Queues: bus.Tables{"q": ""},
		Management: "https://h:15671",
	}
	require.Empty(t, good.Problems(true))
	local := good
	local.URLs, local.TLS, local.Management = []string{"amqp://h/v"}, nil, "http://[::1]:15672/"
	require.Empty(t, local.Problems(false))
	for address, want := range map[string]string{
		"http://h:15671": "its scheme must be https", "https://u:secret@h": "holds a user", "https://h?a=b": "has a query", "h:15671": "is not a URL",
		"https://secret h": "is not a URL", "https://:15671": "is not a URL", "ftp://h": "its scheme",
	} {
		bad := good
		bad.Management = address
		found := errors.Join(bad.Problems(true)...)
		require.ErrorContains(t, found, "management: ")
		require.ErrorContains(t, found, want)
		require.NotContains(t, found.Error(), "secret")
	}
	far := local
	far.Management = "http://rabbit.bank.example:15672"
	require.ErrorContains(t, errors.Join(far.Problems(false)...), "loopback")
	certified := good
	certified.Login, certified.TLS = bus.Login{}, &bus.TLS{CA: "ca", Certificate: "c", Key: "k"}
	require.ErrorContains(t, errors.Join(certified.Problems(true)...), "management: needs user")
	hosts := good
	hosts.URLs = []string{"amqps://h/v", "amqps://h/w"}
	require.ErrorContains(t, errors.Join(hosts.Problems(true)...), "2 virtual hosts")

	var s Settings
	require.NoError(t, bustest.Decode(t, "rabbitmq", "\n  management: https://h:15671", &s))
	require.Equal(t, "https://h:15671", s.Management)
}
