package bank

import (
	"context"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// Holds keeps entries beyond their time; *auditlog.Log does, and writes down in the same transaction who placed or lifted
// which (history.Actor of the context). An error that knows Conflict() bool means that one of this name keeps something
// else.
type Holds interface {
	PlaceHold(ctx context.Context, h history.Hold) (stands history.Hold, placed bool, err error)
	LiftHold(ctx context.Context, name, reason string) error
	Holds(ctx context.Context) ([]history.Hold, error)
	Hold(ctx context.Context, name string) (history.Hold, error)
}

type holdJSON struct {
	Name       string           `json:"name"`
	All        bool             `json:"all"`
	ClientID   *notice.ClientID `json:"clientId"`
	Kind       *string          `json:"kind"`
	ResourceID *string          `json:"resourceId"`
	Reason     string           `json:"reason"`
	PlacedBy   string           `json:"placedBy"`
	PlacedAt   instant          `json:"placedAt"`
	Months     []string         `json:"months"` // of the history that it keeps beyond their time, as retention found last
}

func holdOf(h *history.Hold) holdJSON {
	out := holdJSON{
		Name: h.Name, All: h.SameScope(history.Hold{}), ClientID: orNull(h.Client), ResourceID: orNull(h.ResourceID), Reason: h.Reason,
		PlacedBy: h.PlacedBy, PlacedAt: instant(h.PlacedAt), Months: append([]string{}, h.Months...),
	}
	if h.Kind != 0 {
		out.Kind = orNull(h.Kind.String())
	}
	return out
}

type holdRequest struct {
	All        bool   `json:"all"`
	ClientID   string `json:"clientId"`
	Kind       string `json:"kind"`
	ResourceID string `json:"resourceId"`
	Reason     string `json:"reason"`
}

// holdNamed is the name in the path. What cannot be one names nothing.
func holdNamed(x *api.Exchange) (string, error) {
	name := x.Segment("name")
	if !history.ValidHoldName(name) {
		return "", errNotFound
	}
	return name, nil
}

// putHold places a hold: about everything, a client, or a resource.
func (in *Internal) putHold(x *api.Exchange) error {
	name := x.Segment("name")
	if !history.ValidHoldName(name) {
		return wrong("name", "must have 1 to 100 letters, digits, dots, underscores and hyphens, the first a letter or digit",
			"deve ter 1 a 100 letras, dígitos, pontos, sublinhados e hifens, começando por letra ou dígito")
	}
	body, err := decode[holdRequest](x)
	if err != nil {
		return err
	}
	h, err := body.hold(name, in.cfg.Brands)
	if err != nil {
		return err
	}
	judge := func(ctx context.Context) error {
		stands, err := in.cfg.Holds.Hold(ctx, name)
		switch {
		case failure.NotFound(err):
			return nil
		case err == nil && !stands.SameScope(h):
			return conflict("there is a hold of this name, and it keeps something else", "já existe uma retenção com este nome, e ela mantém outra coisa")
		}
		return err
	}
	if asked, err := in.asked(x, history.ActHold, h.Reason, judge); asked || err != nil {
		return err
	}
	ctx, cancel := acting(x)
	defer cancel()
	stands, placed, err := in.cfg.Holds.PlaceHold(ctx, h)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if placed {
		status = http.StatusCreated
	}
	return answer(x, status, holdOf(&stands))
}

func (b holdRequest) hold(name string, brands brand.List) (h history.Hold, err error) {
	h.Name = name
	if h.Reason, err = reasonFrom(b.Reason); err != nil {
		return h, err
	}
	aboutClient, aboutResource := b.ClientID != "", b.Kind != "" || b.ResourceID != ""
	if n := count(b.All, aboutClient, aboutResource); n != 1 {
		return h, invalid("", "scope", "the scope of the hold must be one of: all (true), clientId, or kind with resourceId",
			"o escopo da retenção deve ser um destes: all (true), clientId, ou kind com resourceId")
	}
	switch {
	case aboutClient:
		if !notice.ValidClientKey(brands, b.ClientID) {
			return h, wrong("clientId", "must have "+notice.ClientKeyRule, "deve ter "+notice.ClientKeyRulePT)
		}
		h.Client = notice.ClientID(b.ClientID)
	case aboutResource:
		if h.Kind, err = ofb.ParseKind(b.Kind); err != nil {
			return h, wrong("kind", "must be "+kindsEN, "deve ser "+kindsPT)
		}
		if !notice.ValidResourceKey(brands, h.Kind, b.ResourceID) {
			return h, wrong("resourceId", "must be an id of this kind", "deve ser um id deste kind")
		}
		h.ResourceID = b.ResourceID
	}
	return h, nil
}

func count(conditions ...bool) (n int) {
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

// reasonFrom checks the reason of an act: it is required, and kept in the history.
func reasonFrom(text string) (string, error) {
	reason := strings.TrimSpace(text)
	if n := utf8.RuneCountInString(reason); n == 0 || n > 500 || strings.ContainsFunc(reason, unicode.IsControl) {
		return "", invalid("/reason", "format", "reason must have 1 to 500 characters, none of them a control character",
			"reason deve ter de 1 a 500 caracteres, sem caracteres de controle")
	}
	return reason, nil
}

func (in *Internal) listHolds(x *api.Exchange) error {
	list, err := in.cfg.Holds.Holds(x.R.Context())
	if err != nil {
		return err
	}
	return in.show(x, history.LogReading{Act: "holds", Rows: int64(len(list))}, struct {
		Holds []holdJSON `json:"holds"`
	}{listed(list, holdOf)})
}

func (in *Internal) getHold(x *api.Exchange) error {
	name, err := holdNamed(x)
	if err != nil {
		return err
	}
	h, err := in.cfg.Holds.Hold(x.R.Context(), name)
	if err != nil {
		return err
	}
	return in.show(x, history.LogReading{Act: "holds", Filter: askedOf(x), Rows: 1}, holdOf(&h))
}

// deleteHold lifts a hold; ?reason= says why.
func (in *Internal) deleteHold(x *api.Exchange) error {
	name, err := holdNamed(x)
	if err != nil {
		return err
	}
	p, err := parameters(x.R.URL.RawQuery, "reason")
	if err != nil {
		return err
	}
	reason, err := reasonFrom(p["reason"])
	if err != nil {
		return err
	}
	judge := func(ctx context.Context) error { _, err := in.cfg.Holds.Hold(ctx, name); return err }
	if asked, err := in.asked(x, history.ActHold, reason, judge); asked || err != nil {
		return err
	}
	ctx, cancel := acting(x)
	defer cancel()
	if err := in.cfg.Holds.LiftHold(ctx, name, reason); err != nil {
		return err
	}
	x.W.WriteHeader(http.StatusNoContent)
	return nil
}
