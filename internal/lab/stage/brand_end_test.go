package stage

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/ofb"
)

// toldSides are one payment at both brands, and one of which prata has acknowledged the first state alone.
func toldSides() map[string]*brandSide {
	prata := []ofb.Status{ofb.SCHD, ofb.CANC}
	return map[string]*brandSide{
		"both":       {ofb.PixPayment, []ofb.Status{ofb.PDNG, ofb.ACSC}, 2, 2},
		"prata both": {ofb.PixPayment, prata, 2, 2},
		"prata lost": {ofb.PixPayment, prata, 2, 1},
		"prata none": {ofb.PixPayment, prata, 1, 0},
	}
}

func ended() []brandEnd {
	return []brandEnd{{"both", ofb.PixPayment, "ACSC", 2}, {"prata both", ofb.PixPayment, "CANC", 2}, {"prata lost", ofb.PixPayment, "SCHD", 1}}
}

// TestWhatWasNotAcknowledgedMayBeThereOrNot: its answer was lost.
func TestWhatWasNotAcknowledgedMayBeThereOrNot(t *testing.T) {
	require.Empty(t, wrongEnds(toldSides(), ended()))
	ends := ended()
	ends[2].status, ends[2].revision = "CANC", 2
	require.Empty(t, wrongEnds(toldSides(), append(ends, brandEnd{"prata none", ofb.PixPayment, "SCHD", 1})))
}

// TestEachWrongEndOfAResourceIsFound puts one wrong end after another into a database that had none.
func TestEachWrongEndOfAResourceIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		end  brandEnd // in place of the second one
		says string
	}{
		"an acknowledged change is lost":     {brandEnd{"prata both", ofb.PixPayment, "SCHD", 1}, "prata both ended as SCHD at revision 1; 2 of 2 revisions were acknowledged"},
		"its revision without its state":     {brandEnd{"prata both", ofb.PixPayment, "SCHD", 2}, "prata both ended as SCHD at revision 2, and not as CANC"},
		"the state of the other brand":       {brandEnd{"prata both", ofb.PixPayment, "ACSC", 2}, "and not as CANC"},
		"a revision that was not handed in":  {brandEnd{"prata both", ofb.PixPayment, "CANC", 3}, "at revision 3; 2 of 2"},
		"no revision":                        {brandEnd{"prata both", ofb.PixPayment, "SCHD", 0}, "at revision 0; 2 of 2"},
		"no revision where none is known":    {brandEnd{"prata none", ofb.PixPayment, "SCHD", 0}, "at revision 0; 0 of 1"},
		"another kind":                       {brandEnd{"prata both", ofb.RecurringPayment, "CANC", 2}, "is a recurring-payment and not a pix-payment"},
		"a resource of the other brand only": {brandEnd{"lost", ofb.PixPayment, "SCHD", 1}, "lost is SCHD at revision 1, and the core told this brand nothing of it"},
		"an acknowledged resource is gone":   {brandEnd{"both", ofb.PixPayment, "ACSC", 2}, "prata both is not there, and 2 of its revisions were acknowledged"},
	} {
		t.Run(name, func(t *testing.T) {
			ends := ended()
			ends[1] = c.end
			require.Contains(t, strings.Join(wrongEnds(toldSides(), ends), "\n"), c.says)
		})
	}
}

// chained is a run in which a payment with the same id was delivered at the second POST at each of two brands.
func chained() (r *BrandRun, posts []Post, all []Notification) {
	r = &BrandRun{BrandRunConfig: BrandRunConfig{Ouro: &Brand{Name: "ouro", Original: true}, Prata: &Brand{Name: "prata"}}}
	for _, b := range r.brands() {
		one := good().Notifications[0]
		one.ClientID, one.Attempts = strings.TrimSpace(b.key()+" alfa"), nil
		for n, outcome := range []string{"refused", "delivered"} {
			interaction, began := b.Name+outcome, float64(11*n)
			one.Attempts = append(one.Attempts, attempt(n+1, interaction, outcome, began, began+1))
			posts = append(posts, Post{Target: "/" + b.Name + "/alfa/p1", Interaction: interaction, At: at(began)})
		}
		all = append(all, one)
	}
	return r, posts, append(all, Notification{ClientID: "itp-01", State: "nobody's"})
}

// TestChainsOfEachBrandAreJudged puts faults into the chain of the second brand.
func TestChainsOfEachBrandAreJudged(t *testing.T) {
	r, posts, all := chained()
	require.Empty(t, r.Chains(posts, all, nil))
	for name, c := range map[string]struct {
		cook func(posts []Post, n *Notification) []Post
		says string
	}{
		"a POST that came twice": {func(p []Post, _ *Notification) []Post { return append(p, p[3]) }, "brand prata: interaction id pratadelivered arrived 2 times"},
		"a POST nobody recorded": {func(p []Post, _ *Notification) []Post {
			return append(p, Post{Target: "/prata/alfa/p1", Interaction: "x"})
		}, "brand prata: a POST to /prata/alfa/p1 with interaction id x was never recorded"},
		"a POST that is early":    {func(p []Post, _ *Notification) []Post { p[3].At = at(9); return p }, "POST 2 arrived 9s after"},
		"a POST at the other one": {func(p []Post, _ *Notification) []Post { p[3].Target = p[0].Target; return p }, "brand ouro: a POST to /ouro/alfa/p1 with interaction id pratadelivered was never recorded"},
		"a fourth attempt": {func(p []Post, n *Notification) []Post {
			n.Attempts = append(n.Attempts, attempt(3, "x", "refused", 100, 101), attempt(4, "y", "refused", 200, 201))
			return p
		}, "brand prata: notification n1 has 4 attempts"},
	} {
		t.Run(name, func(t *testing.T) {
			r, posts, all := chained()
			posts = c.cook(posts, &all[1])
			require.Contains(t, strings.Join(r.Chains(posts, all, nil), "\n"), c.says)
		})
	}
}
