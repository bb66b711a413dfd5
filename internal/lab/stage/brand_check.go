package stage

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/ofb"
)

// BrandPost is a notification as a receiver saw it. Addresses of a brand begin with its name and the client's: /ouro/alfa.
type BrandPost struct {
	Target string
	Shown  []string // names in the certificate that was shown
	Holder string   // the organisation in it
	Server string   // the header that names the authorisation server; "": there was none
}

// NewBrandPost makes it of a request: its target, the certificate that was shown with it, and the header that names the authorisation server.
func NewBrandPost(target string, shown *x509.Certificate, server string) BrandPost {
	holder, err := mtls.CallerOf(shown)
	if err != nil {
		holder.OrganisationID = err.Error()
	}
	return BrandPost{Target: target, Shown: shown.DNSNames, Holder: holder.OrganisationID, Server: server}
}

// Of reports whether the certificate that was shown is a brand's.
func (p *BrandPost) Of(b *Brand) bool {
	return slices.Equal(p.Shown, []string{b.Host}) && p.Holder == b.Is.ID
}

// BrandAnswer is what an initiator was answered that asked a brand.
type BrandAnswer struct {
	Brand  *Brand
	Client string
	Path   string
	Status int

	At          time.Time // of the question
	Interaction string    // id of the question

	Shown string // the name in the server's certificate
	State string // of the resource

	KID, Issuer, Self string // of a signed answer
	Problem           string // why it does not verify; "": it does
}

// BrandTruth is what the core told of one id of a resource.
type BrandTruth struct {
	Kind   ofb.Kind
	Path   string
	Client string
	States map[string][]ofb.Status // by the name of the brand; a brand that is not there was told nothing
}

// BrandRecord is what a run with several brands showed to those outside. All answers are to questions about resources of which the last state had
// been acknowledged before.
type BrandRecord struct {
	Brands  []*Brand
	Truth   map[string]BrandTruth // by id
	Posts   []BrandPost
	Answers []BrandAnswer
}

// Check judges whether anything of one brand reached, or was shown as, another one's: certificate, key, issuer, base URL, or data. It returns
// what did, and nothing else: BrandRun.Ends and BrandRun.Chains judge what was stored and sent.
func (r BrandRecord) Check() (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for i := range r.Posts {
		r.post(&r.Posts[i], say)
	}
	for i := range r.Answers {
		r.answer(&r.Answers[i], say)
	}
	slices.Sort(wrong)
	return wrong
}

type sayer func(format string, args ...any)

func (r BrandRecord) post(p *BrandPost, say sayer) {
	part := strings.Split(strings.TrimPrefix(p.Target, "/"), "/")
	at := slices.IndexFunc(r.Brands, func(b *Brand) bool { return b.Name == part[0] })
	id := part[len(part)-1]
	truth, known := r.Truth[id]
	if at < 0 || len(part) < 3 || !known {
		say("a POST to %s is of no brand and resource of this run", p.Target)
		return
	}
	b := r.Brands[at]
	if part[1] != truth.Client {
		say("a POST to %s reached the address of another client than %s", p.Target, truth.Client)
	}
	if len(truth.States[b.Name]) == 0 {
		say("a POST to %s tells brand %s of a resource that it does not have", p.Target, b.Name)
	}
	if !p.Of(b) {
		say("a POST to %s came with the certificate of %s, organisation %s, and not with that of %s", p.Target, p.Shown, p.Holder, b.Name)
	}
	if want := map[bool]string{true: b.Server}[truth.Kind == ofb.Enrollment]; p.Server != want {
		say("a POST to %s names the authorisation server %q and not %q", p.Target, p.Server, want)
	}
}

func (r BrandRecord) answer(a *BrandAnswer, say sayer) {
	id := a.Path[strings.LastIndexByte(a.Path, '/')+1:]
	truth := r.Truth[id]
	states := truth.States[a.Brand.Name]
	theirs := len(states) > 0 && truth.Client == a.Client
	switch {
	case a.Status == 0 && a.Problem == "":
		say("brand %s was asked for %s, and the certificate of %s was shown", a.Brand.Name, a.Path, a.Shown)
	case a.Problem != "":
		say("the answer of brand %s to %s does not verify: %s", a.Brand.Name, a.Path, a.Problem)
	case a.Status != http.StatusOK && theirs:
		say("brand %s answered %d to %s, which %s has there", a.Brand.Name, a.Status, a.Path, a.Client)
	case a.Status != http.StatusOK:
	case !theirs:
		say("brand %s showed %s of %s, which it does not have", a.Brand.Name, a.Client, a.Path)
	default:
		r.signed(a, states, say)
	}
}

func (r BrandRecord) signed(a *BrandAnswer, states []ofb.Status, say sayer) {
	b := a.Brand
	for _, one := range []struct{ what, got, want string }{
		{"certificate", a.Shown, b.Host},
		{"signing key", a.KID, b.KID},
		{"issuer", a.Issuer, b.Is.ID},
		{"link", a.Self, b.BaseURL() + a.Path},
	} {
		if one.got != one.want {
			say("brand %s answered %s with the %s %s and not %s", b.Name, a.Path, one.what, one.got, one.want)
		}
	}
	if last := states[len(states)-1]; a.State != string(last) {
		say("brand %s answered %s with the state %s and not %s; it was told %s", b.Name, a.Path, a.State, last, states)
	}
}
