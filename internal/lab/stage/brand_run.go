package stage

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/ofb"
)

// BrandRun tells two brands of the same ids of clients and resources, and asks both of them for what it told, as two initiators do. It keeps
// the answers for BrandRecord.Check.
type BrandRun struct {
	BrandRunConfig

	handed atomic.Int64

	mu      sync.Mutex
	truth   map[string]BrandTruth
	sides   map[string]*brandSide // of truth, by key (package brand)
	known   []string              // ids of which everything was acknowledged
	answers []BrandAnswer
	asked   []BrandAnswer // all questions, also those without an answer
	noted   int
}

// BrandRunConfig is what a run needs. All members are required.
type BrandRunConfig struct {
	Stage    *Stage
	Ouro     *Brand
	Prata    *Brand
	Core     func() *Core                   // for the next try
	Replica  func() *Replica                // for the next question
	Address  func(path string) string       // of the receiver that all notifications go to
	Document func(BrandDoc) json.RawMessage // what the core tells of a resource
	Every    time.Duration                  // from one id of a worker to its next one
	AskEvery time.Duration                  // from one question of an initiator to its next one
	Wrong    func(text string)              // told of what must not be
}

// BrandDoc names the document of one state of a resource.
type BrandDoc struct {
	Kind        ofb.Kind
	Version, ID string
	State       ofb.Status
}

// brandWorkers is how many ids are told at a time.
const brandWorkers = 3

// brandInitiators are clients of both brands, each under one client id: its name.
var brandInitiators = []certs.Participant{certs.DefaultAlfa, certs.DefaultBeta}

// OpenBrandRun registers the two clients at both brands.
func OpenBrandRun(ctx context.Context, c BrandRunConfig) (*BrandRun, error) {
	r := &BrandRun{BrandRunConfig: c, truth: map[string]BrandTruth{}, sides: map[string]*brandSide{}}
	for _, b := range r.brands() {
		for _, who := range brandInitiators {
			err := c.Core().Register(ctx, who.Name, Registration{
				Brand: b.Name, OrganisationID: who.Organisation.ID, SoftwareID: who.SoftwareID, Name: who.Name, WebhookURIs: []string{c.Address("/" + b.Name + "/" + who.Name)},
			})
			if err != nil {
				return nil, fmt.Errorf("register %s at %s: %w", who.Name, b.Name, err)
			}
		}
	}
	return r, nil
}

func (r *BrandRun) brands() []*Brand { return []*Brand{r.Ouro, r.Prata} }

// Tell hands in ids until enough says so of the number of the next one. Each that was begun is told to its end, unless ctx ends.
func (r *BrandRun) Tell(ctx context.Context, enough func(n int) bool) {
	var workers sync.WaitGroup
	for w := range brandWorkers {
		workers.Go(func() {
			for n := w; !enough(n) && ctx.Err() == nil; n += brandWorkers {
				r.handIn(ctx, n)
				r.handed.Add(1)
				pauseFor(ctx, r.Every)
			}
		})
	}
	workers.Wait()
}

// Handed counts the ids of which everything is told.
func (r *BrandRun) Handed() int64 { return r.handed.Load() }

// resource is what the core tells of the n-th id: two of three ids are at both brands, with other states at each.
func (*BrandRun) resource(n int) (id string, truth BrandTruth) {
	id = fmt.Sprintf("brand-%05d", n)
	both := map[string][]ofb.Status{"ouro": {ofb.PDNG, ofb.ACSC}, "prata": {ofb.SCHD, ofb.CANC}}
	kind, client := ofb.PixPayment, certs.DefaultAlfa.Name
	switch n % 3 {
	case 1:
		kind, id = ofb.Enrollment, "urn:bancoarauto:"+id
		both = map[string][]ofb.Status{"ouro": {ofb.Rejected}, "prata": {ofb.Rejected}}
	case 2:
		client = certs.DefaultBeta.Name
		delete(both, []string{"ouro", "prata"}[n%2])
	}
	return id, BrandTruth{Kind: kind, Path: StatusPath(kind, brandVersion(kind), id), Client: client, States: both}
}

// brandVersion is the API version of a kind.
func brandVersion(kind ofb.Kind) string {
	if kind == ofb.Enrollment {
		return "v2"
	}
	return "v5"
}

// handIn tells all about one id, at both brands side by side, until it is acknowledged.
func (r *BrandRun) handIn(ctx context.Context, n int) {
	id, truth := r.resource(n)
	r.mu.Lock()
	r.truth[id] = truth
	r.mu.Unlock()
	var sides sync.WaitGroup
	for _, b := range r.brands() {
		states := truth.States[b.Name]
		if len(states) == 0 {
			continue
		}
		side := &brandSide{kind: truth.Kind, states: states}
		r.mu.Lock()
		r.sides[brand.Key(brand.Prefix(b.key()), id)] = side
		r.mu.Unlock()
		sides.Go(func() {
			for i, state := range states {
				version := brandVersion(truth.Kind)
				r.tell(ctx, side, Change{
					Brand: b.Name, Kind: truth.Kind.String(), ClientID: truth.Client, APIVersion: version, Revision: int64(i + 1), OccurredAt: time.Now().UTC(),
					Data: r.Document(BrandDoc{truth.Kind, version, id, state}),
				})
			}
		})
	}
	sides.Wait()
	if ctx.Err() == nil {
		r.mu.Lock()
		r.known = append(r.known, id)
		r.mu.Unlock()
	}
}

func (r *BrandRun) tell(ctx context.Context, side *brandSide, c Change) {
	for ctx.Err() == nil {
		r.mu.Lock()
		side.given = c.Revision
		r.mu.Unlock()
		accepted, err := r.Core().Change(ctx, c)
		switch FateOf(err) {
		case Acknowledged:
			r.mu.Lock()
			r.noted += len(accepted.Notifications)
			side.acknowledged = c.Revision
			r.mu.Unlock()
			return
		case Refused:
			r.Wrong(fmt.Sprintf("a change of brand %s was refused: %v", c.Brand, err))
			return
		}
		pauseFor(ctx, 100*time.Millisecond)
	}
}

// Ask has each client ask each brand for any resource that was told, of either client, until ctx ends. The certificates are those that
// the clients show: of alfa and of beta.
func (r *BrandRun) Ask(ctx context.Context, shown [2]tls.Certificate) error {
	var all sync.WaitGroup
	defer all.Wait()
	for i, b := range r.brands() {
		for j, who := range brandInitiators {
			asker, err := r.Stage.AskBrand(b, r.brands(), who, shown[j])
			if err != nil {
				return err
			}
			all.Go(func() {
				defer asker.Close()
				r.askOn(ctx, asker, rand.New(rand.NewPCG(uint64(i), uint64(j))))
			})
		}
	}
	return nil
}

func (r *BrandRun) askOn(ctx context.Context, asker *BrandAsker, drawn *rand.Rand) {
	for ; ctx.Err() == nil; pauseFor(ctx, r.AskEvery) {
		r.mu.Lock()
		path := ""
		if len(r.known) > 0 {
			path = r.truth[r.known[drawn.IntN(len(r.known))]].Path
		}
		r.mu.Unlock()
		if path == "" {
			continue
		}
		got, answered, err := asker.Ask(context.WithoutCancel(ctx), r.Replica(), path)
		if err != nil {
			r.Wrong(err.Error())
			return
		}
		r.mu.Lock()
		r.asked = append(r.asked, got)
		if answered {
			r.answers = append(r.answers, got)
		}
		r.mu.Unlock()
	}
}

// Record is what the run showed, with what the receiver saw.
func (r *BrandRun) Record(posts []BrandPost) BrandRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return BrandRecord{Brands: r.brands(), Truth: r.truth, Posts: posts, Answers: r.answers}
}

// Asked are all questions of this run, with the status of each answer; 0: no answer came, or none that could be judged.
func (r *BrandRun) Asked() []BrandAnswer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

// Noted counts the notifications that the core was told of.
func (r *BrandRun) Noted() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.noted
}

// Tells reports whether a resource, by its key (package brand), is one of this run.
func (r *BrandRun) Tells(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, told := r.truth[brand.ID(key)]
	return told
}

// Has reports whether a client, by its key, is one of this run.
func (*BrandRun) Has(key string) bool {
	return slices.ContainsFunc(brandInitiators, func(p certs.Participant) bool { return p.Name == brand.ID(key) })
}

// brandFacts are what entries of the log say of brands; each row stands for all that say the same.
const brandFacts = `
SELECT kind, split_part(' ' || client_id, ' ', -2), coalesce(split_part(' ' || resource_id, ' ', -2), ''), resource_id IS NOT NULL,
  coalesce(facts->'tls'->>'ownSerial', ''), CASE kind WHEN 'poll' THEN coalesce(facts->>'kid', '') ELSE '' END, coalesce(facts->>'brand', ''), count(*)
FROM arauto.entry WHERE client_id IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6, 7`

// BrandsInLog judges the entries of the log: a resource and its client are of one brand; a notification was sent with a certificate that was
// issued to its brand, and a status query was put to the brand of its client, and signed with that brand's key. It returns what is not so, and in
// how many entries the certificate and the key of each brand were compared: "ouro certificate". A brand of which none was compared is wrong too.
func (s *Stage) BrandsInLog(ctx context.Context, brands ...*Brand) (wrong []string, compared map[string]int, err error) {
	of, compared := map[string]*Brand{}, map[string]int{}
	for _, b := range brands {
		of[b.key()] = b
	}
	conn, err := pgx.Connect(ctx, s.Database)
	if err != nil {
		return nil, nil, fmt.Errorf("look into the log: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, _ := conn.Query(ctx, brandFacts)
	var e brandEntry
	var n int
	_, err = pgx.ForEachRow(rows, []any{&e.kind, &e.client, &e.resource, &e.both, &e.serial, &e.kid, &e.asked, &n}, func() error {
		if text := e.wrong(of[e.client]); text != "" {
			wrong = append(wrong, fmt.Sprintf("%d entries %q of a client of brand %q: %s", n, e.kind, e.client, text))
			return nil
		}
		e.count(of[e.client], n, compared)
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("look into the log: %w", err)
	}
	return append(wrong, notCompared(compared, brands)...), compared, nil
}

// notCompared says of which brands no certificate or no key was compared.
func notCompared(compared map[string]int, brands []*Brand) (wrong []string) {
	for _, b := range brands {
		for _, what := range []string{" certificate", " key"} {
			if compared[b.Name+what] == 0 {
				wrong = append(wrong, "no entry has a"+what+" of brand "+b.Name+" to compare")
			}
		}
	}
	return wrong
}

// brandEntry is what an entry of the log says of brands, which stand as in keys.
type brandEntry struct {
	kind             string
	client, resource string // their brands
	both             bool   // it has a resource
	serial, kid      string // of the certificate shown to a receiver, hexadecimal; of the key that signed an answer
	asked            string // the brand that was asked
}

// count counts what was compared in n entries of a client of a brand.
func (e brandEntry) count(of *Brand, n int, compared map[string]int) {
	if e.serial != "" {
		compared[of.Name+" certificate"] += n
	}
	if e.kid != "" {
		compared[of.Name+" key"] += n
	}
}

// wrong says what is mixed up in the entry of a client of a brand; "": nothing.
func (e brandEntry) wrong(of *Brand) string {
	switch {
	case of == nil:
		return "there is no such brand"
	case e.kind != "poll" && e.both && e.resource != e.client: // a query may ask for anything
		return fmt.Sprintf("their resource is of brand %q", e.resource)
	case e.serial != "" && !of.Owns(e.serial):
		return "sent with the certificate " + e.serial + ", which is not this brand's"
	case e.kind == "poll" && e.asked != e.client:
		return fmt.Sprintf("brand %q was asked", e.asked)
	case e.kid != "" && e.kid != of.KID:
		return "signed with the key " + e.kid
	}
	return ""
}

// key is the brand as it stands in keys.
func (b *Brand) key() string {
	if b.Original {
		return ""
	}
	return b.Name
}

// pauseFor waits, unless ctx ends.
func pauseFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(cmp.Or(d, time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
