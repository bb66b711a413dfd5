package stage

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/ofb"
)

// twoBrands is what a run showed in which nothing was mixed up.
func twoBrands() BrandRecord {
	ouro := &Brand{Name: "ouro", Host: "api.ouro.example.com", KID: "ouro-1", Server: "as-ouro", Is: certs.Organisation{ID: "o"}}
	prata := &Brand{Name: "prata", Host: "api.prata.example.com", KID: "prata-1", Server: "as-prata", Is: certs.Organisation{ID: "p"}}
	r := BrandRecord{Brands: []*Brand{ouro, prata}, Truth: map[string]BrandTruth{
		"both":  {Kind: ofb.PixPayment, Client: "alfa", States: map[string][]ofb.Status{"ouro": {ofb.PDNG, ofb.ACSC}, "prata": {ofb.SCHD, ofb.CANC}}},
		"urn":   {Kind: ofb.Enrollment, Client: "alfa", States: map[string][]ofb.Status{"ouro": {ofb.Revoked}, "prata": {ofb.Revoked}}},
		"alone": {Kind: ofb.PixPayment, Client: "beta", States: map[string][]ofb.Status{"ouro": {ofb.ACSC}}},
	}}
	for _, b := range r.Brands {
		states := r.Truth["both"].States[b.Name]
		r.Posts = append(r.Posts,
			BrandPost{Target: "/" + b.Name + "/alfa/open-banking/both", Shown: []string{b.Host}, Holder: b.Is.ID},
			BrandPost{Target: "/" + b.Name + "/alfa/open-banking/urn", Shown: []string{b.Host}, Holder: b.Is.ID, Server: b.Server})
		r.Answers = append(r.Answers,
			BrandAnswer{Brand: b, Client: "alfa", Path: "/x/both", Status: http.StatusOK, Shown: b.Host, State: string(states[1]), KID: b.KID, Issuer: b.Is.ID, Self: "https://" + b.Host + "/x/both"},
			BrandAnswer{Brand: b, Client: "alfa", Path: "/x/alone", Status: http.StatusBadRequest})
	}
	return r
}

func TestARunWithoutMixUpsHasNone(t *testing.T) {
	require.Empty(t, twoBrands().Check())
}

// TestEachMixUpOfTwoBrandsIsFound puts one mix-up after another into a run that had none.
func TestEachMixUpOfTwoBrandsIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		mix  func(r *BrandRecord)
		says string
	}{
		"certificate of a POST":       {func(r *BrandRecord) { r.Posts[0].Shown = r.Posts[2].Shown }, "with the certificate of [api.prata.example.com]"},
		"organisation of a POST":      {func(r *BrandRecord) { r.Posts[0].Holder = "p" }, "organisation p"},
		"authorisation server":        {func(r *BrandRecord) { r.Posts[1].Server = "as-prata" }, `names the authorisation server "as-prata"`},
		"no authorisation server":     {func(r *BrandRecord) { r.Posts[1].Server = "" }, `names the authorisation server ""`},
		"address of the other brand":  {func(r *BrandRecord) { r.Posts[0].Target = r.Posts[2].Target }, "a POST to /prata/alfa"},
		"address of another client":   {func(r *BrandRecord) { r.Posts[0].Target = "/ouro/beta/open-banking/both" }, "another client than alfa"},
		"resource of the other brand": {func(r *BrandRecord) { r.Posts[2].Target = "/prata/beta/open-banking/alone" }, "a resource that it does not have"},
		"resource of nobody":          {func(r *BrandRecord) { r.Posts[2].Target = "/prata/alfa/open-banking/nobodys" }, "of no brand and resource"},
		"certificate of the server":   {func(r *BrandRecord) { r.Answers[0].Shown = "api.prata.example.com" }, "the certificate api.prata.example.com"},
		"handshake refused": {func(r *BrandRecord) {
			r.Answers[0] = BrandAnswer{Brand: r.Brands[0], Path: "/x/both", Shown: "api.prata.example.com"}
		}, "the certificate of api.prata.example.com was shown"},
		"signing key":                   {func(r *BrandRecord) { r.Answers[0].KID = "prata-1" }, "the signing key prata-1"},
		"signature of another key":      {func(r *BrandRecord) { r.Answers[0].Problem = "its signature does not verify" }, "does not verify"},
		"issuer":                        {func(r *BrandRecord) { r.Answers[0].Issuer = "p" }, "the issuer p"},
		"base URL":                      {func(r *BrandRecord) { r.Answers[0].Self = r.Answers[2].Self }, "the link https://api.prata.example.com"},
		"state of the other brand":      {func(r *BrandRecord) { r.Answers[0].State = string(ofb.CANC) }, "the state CANC"},
		"state before the last one":     {func(r *BrandRecord) { r.Answers[0].State = string(ofb.PDNG) }, "the state PDNG and not ACSC"},
		"resource is shown elsewhere":   {func(r *BrandRecord) { r.Answers[3].Status = http.StatusOK }, "brand prata showed alfa of /x/alone"},
		"resource is not found at home": {func(r *BrandRecord) { r.Answers[0].Status = http.StatusNotFound }, "brand ouro answered 404"},
	} {
		t.Run(name, func(t *testing.T) {
			r := twoBrands()
			c.mix(&r)
			wrong := r.Check()
			require.NotEmpty(t, wrong)
			require.Contains(t, wrong[0], c.says)
		})
	}
}
