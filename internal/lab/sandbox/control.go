package sandbox

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/ofb"
)

// State says where a running sandbox is. It stands in a file that only its owner can read.
type State struct {
	Control  string `json:"control"` // base address of what trigger asks
	Token    string `json:"token"`   // of that address
	Creation string `json:"creation"`
	Public   string `json:"public"` // of the status endpoints and the extension
	Internal string `json:"internal"`
	Ops      string `json:"ops"`
	Console  string `json:"console"` // link that opens one session, within an hour
	Folder   string `json:"folder"`
	PKI      string `json:"pki"`
	Webhook  string `json:"webhook"` // registered for the client alfa
}

// StateFile is where a sandbox says where it is: arauto/sandbox.json in the user's cache folder.
func StateFile() (string, error) {
	folder, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the folder of the sandbox's state: %w", err)
	}
	return filepath.Join(folder, "arauto", "sandbox.json"), nil
}

// ErrNotRunning means that no sandbox runs.
var ErrNotRunning = errors.New("no sandbox is running; start one with: arauto sandbox")

// Running finds the sandbox that runs on this machine for this user. ErrNotRunning: there is none.
func Running(ctx context.Context) (*State, error) {
	file, err := StateFile()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, err
	}
	s := &State{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w; remove it if no sandbox runs", file, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := s.call(ctx, http.MethodGet, "/", nil, nil); err != nil {
		return nil, ErrNotRunning // it was killed, and left its file
	}
	return s, nil
}

// write keeps the state, for its owner alone.
func (s *State) write() error {
	file, err := StateFile()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) { // one of a sandbox that was killed; its mode may be another
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}

// Trigger asks for one event.
type Trigger struct {
	Kind    string `json:"kind"`
	Status  string `json:"status,omitempty"` // or DATA_CHANGED; "": the story of Amount
	Client  string `json:"client,omitempty"` // "": alfa
	Version string `json:"apiVersion,omitempty"`
	Amount  string `json:"amount,omitempty"` // "": 150.00
	ID      string `json:"resourceId,omitempty"`
	Lang    string `json:"lang,omitempty"` // of what is wrong with this: pt, else English
}

// mistake is what is wrong with a trigger, in both languages of the sandbox.
type mistake struct{ en, pt string }

func (m *mistake) Error() string { return m.en }

// wrong makes a mistake of two formats with the same arguments in the same order.
func wrong(en, pt string, args ...any) error {
	return &mistake{fmt.Sprintf(en, args...), fmt.Sprintf(pt, args...)}
}

// in is the text of an error in a language; English where there is none.
func in(lang string, err error) string {
	if m, both := errors.AsType[*mistake](err); both && lang == "pt" {
		return m.pt
	}
	return err.Error()
}

// Triggered says what a trigger made.
type Triggered struct {
	Resource
	Told     []Told `json:"told"`
	GoesOn   bool   `json:"goesOn"`             // the story is not over yet
	LastsFor string `json:"lastsFor,omitempty"` // how long the story takes in all, such as 1m10s
}

// Resource names a resource of the sandbox.
type Resource struct {
	ID         string `json:"resourceId"`
	Kind       string `json:"kind"`
	Client     string `json:"clientId"`
	APIVersion string `json:"apiVersion"`
	Status     string `json:"status"`
}

// Fire makes one event.
func (s *State) Fire(ctx context.Context, t Trigger) (Triggered, error) {
	var out Triggered
	return out, s.call(ctx, http.MethodPost, "/trigger", t, &out)
}

// Find names the resource with an id.
func (s *State) Find(ctx context.Context, id string) (Resource, error) {
	var out Resource
	return out, s.call(ctx, http.MethodGet, "/resources/"+ofb.EscapeID(id), nil, &out)
}

// ErrRefused is wrapped by what the sandbox says is wrong with a request.
var ErrRefused = errors.New("refused by the sandbox")

// ErrFailed is wrapped by what the sandbox could not do, although nothing is wrong with the request.
var ErrFailed = errors.New("the sandbox could not do it")

// call makes one request and decodes its answer into out unless it is nil.
func (s *State) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.Control+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask the sandbox: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("ask the sandbox: %w", err)
	}
	if res.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("%w: %s", ErrFailed, strings.TrimSpace(string(text)))
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s", ErrRefused, strings.TrimSpace(string(text)))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// control is what trigger and poll ask, on loopback and with the token of the state's file.
func (b *bank) control(token string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, http.StatusOK, struct{}{}) })
	mux.HandleFunc("GET /resources/{id}", func(w http.ResponseWriter, r *http.Request) {
		found := b.find(r.PathValue("id"))
		if found == nil {
			http.Error(w, "the sandbox has no resource of this id", http.StatusNotFound)
			return
		}
		answerJSON(w, http.StatusOK, found.named())
	})
	mux.HandleFunc("POST /trigger", func(w http.ResponseWriter, r *http.Request) {
		var t Trigger
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&t); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out, err := b.trigger(r.Context(), t)
		if err != nil {
			status := http.StatusBadGateway // it failed, such as at the gateway
			if _, mistaken := errors.AsType[*mistake](err); mistaken {
				status = http.StatusUnprocessableEntity
			}
			http.Error(w, in(t.Lang, err), status)
			return
		}
		answerJSON(w, http.StatusOK, out)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+token)) != 1 {
			http.Error(w, "the token of the sandbox's state file is missing", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (r *resource) named() Resource {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Resource{r.id, r.kind.String(), r.client, r.version, string(r.status)}
}

// triggerWithin is how long a trigger waits for its story and for the first attempts.
const triggerWithin = 5 * time.Second

// usualAmount is that of a trigger that names none.
const usualAmount = "150.00"

// trigger makes one event, or begins the story of an amount.
func (b *bank) trigger(ctx context.Context, t Trigger) (Triggered, error) {
	r, consent, outcome, err := b.triggered(ctx, t)
	if err != nil {
		return Triggered{}, err
	}
	out := Triggered{Resource: r.named()}
	s := b.begin(r, consent, outcome, 0)
	limited, cancel := context.WithTimeout(ctx, triggerWithin)
	defer cancel()
	goesOn := false
	select {
	case <-s.done:
	case <-limited.Done():
		goesOn = true
	}
	told, err := b.reached(limited, s, begun)
	if err != nil {
		return Triggered{}, err
	}
	out.Told, out.GoesOn = told, goesOn || outcome.Expires
	for _, one := range told { // the resource itself may be in a later state by now
		if one.Resource == out.ID && one.Status != DataChanged {
			out.Status = one.Status
		}
	}
	if out.GoesOn {
		out.LastsFor = outcome.Takes().String()
	}
	return out, nil
}

// triggered prepares what a trigger asks for: its resource, the consent that it consumes, and its story.
func (b *bank) triggered(ctx context.Context, t Trigger) (r, consent *resource, o Outcome, err error) {
	kind, err := ofb.ParseKind(t.Kind)
	if err != nil {
		return nil, nil, o, wrong("%.40q is not a kind of resource; there are %s", "%.40q não é um tipo de recurso; há %s", t.Kind, strings.Join(ofb.KindNames(), ", "))
	}
	amount := t.Amount
	if amount == "" {
		amount = usualAmount
	}
	cents, err := centsOf(amount)
	if err != nil {
		return nil, nil, o, err
	}
	o = ByCents(kind, cents)
	if t.Status == "" && t.Amount == "" {
		return nil, nil, o, wrong("name a state, or an amount whose cents choose the story", "informe um estado, ou um valor cujos centavos escolhem a história")
	}
	if t.Status != "" {
		if o.Steps, err = steps(kind, t.Status, t.ID == ""); err != nil {
			return nil, nil, o, err
		}
		o.Consent, o.Expires = Together, false
	}
	if t.ID != "" {
		if r = b.find(t.ID); r == nil || r.kind != kind {
			return nil, nil, o, wrong("the sandbox has no %s %.300q", "o sandbox não tem %s %.300q", kind, t.ID)
		}
		return r, nil, o, nil
	}
	client, versions := t.Client, kind.Versions()
	if client == "" {
		client = firstClient
	}
	version := t.Version
	if version == "" {
		version = versions[len(versions)-1]
	}
	switch {
	case b.way.clients[client] == nil:
		return nil, nil, o, wrong("the sandbox has no client %.100q; it has %s and %s", "o sandbox não tem o cliente %.100q; tem %s e %s", client, firstClient, secondClient)
	case !slices.Contains(versions, version):
		return nil, nil, o, wrong("%s has no version %.20q; use %s", "%s não tem a versão %.20q; use %s", kind, version, strings.Join(versions, ", "))
	}
	r = newResource(kind, version, client)
	r.amount = amount
	if kind == ofb.PixPayment && t.Status == "" {
		if consent, err = b.authorised(ctx, version, client, amount); err != nil {
			return nil, nil, o, err
		}
		r.consent = consent.id
	}
	r.follow(&o)
	return r, consent, o, b.create(ctx, r, &cents)
}

// authorised makes a payment consent that its payer has authorised.
func (b *bank) authorised(ctx context.Context, version, client, amount string) (*resource, error) {
	c := newResource(ofb.PaymentConsent, version, client)
	c.amount = amount
	if err := b.create(ctx, c, nil); err != nil {
		return nil, err
	}
	_, err := b.change(c, Step{To: ofb.Authorised}, 0)
	return c, err
}

// steps lead a resource to a state with one notification, if the state has one at all. A consent that is new is partially accepted
// before it is authorised, because AUTHORISED alone need not be notified.
func steps(kind ofb.Kind, to string, fresh bool) ([]Step, error) {
	if to == DataChanged {
		if kind != ofb.RecurringConsent && kind != ofb.Enrollment {
			return nil, wrong("a %s has no %s; a recurring-consent and an enrollment have", "%s não tem %s; recurring-consent e enrollment têm", kind, DataChanged)
		}
		edit := []Step{{Edit: true}}
		if fresh {
			edit = append([]Step{{To: ofb.Authorised}}, edit...)
		}
		return edit, nil
	}
	status, err := kind.ParseStatus(to)
	switch {
	case err != nil:
		return nil, &mistake{err.Error(), fmt.Sprintf("%.60q não é um estado de %s; há %s", to, kind, strings.Join(stateNames(kind), ", "))}
	case fresh && status == kind.Initial():
		return nil, nil
	case fresh && status == ofb.Authorised && slices.Contains(consents, kind):
		return []Step{{To: ofb.PartiallyAccepted}, {To: status}}, nil
	}
	return []Step{{To: status}}, nil
}

// stateNames are the states of a kind.
func stateNames(kind ofb.Kind) (names []string) {
	for _, s := range kind.Statuses() {
		names = append(names, string(s))
	}
	return names
}
