package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/registry"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/trust"
	"github.com/arauto/arauto/internal/webhook"
)

// lanesOfBrands is the store as dispatch sees it: lanes of brands that the settings of this replica do not name are left to replicas
// whose settings do.
type lanesOfBrands struct {
	*store.Store
	brands brand.List
}

// Waiting implements dispatch.Store.
func (l lanesOfBrands) Waiting(ctx context.Context) ([]notice.Lane, error) {
	lanes, err := l.Store.Waiting(ctx)
	return slices.DeleteFunc(lanes, func(one notice.Lane) bool { return !l.brands.Holds(brand.Of(one.Client)) }), err
}

// waker tells dispatch when something of a client falls due, unless the client's brand is left to other replicas.
func (g *Gateway) waker(brands brand.List) func(notice.ClientID, time.Time) {
	return func(client notice.ClientID, at time.Time) {
		if brands.Holds(brand.Of(client)) {
			g.dispatcher.WakeIn(client, time.Until(at))
		}
	}
}

// holders are who we are to receivers, by brand.
func holders(brands []*trust.Brand) map[brand.Prefix]webhook.Holder {
	out := map[brand.Prefix]webhook.Holder{}
	for _, b := range brands {
		out[b.Key()] = webhook.Holder{Identity: b.Client, AuthorisationServerID: b.Holder.AuthorisationServerID}
	}
	return out
}

// verifiers are who verifies software statements, by brand; a brand without a key set of the Directory has none.
func verifiers(brands []*trust.Brand) map[brand.Prefix]registry.Statements {
	out := map[brand.Prefix]registry.Statements{}
	for _, b := range brands {
		if v := b.Statements(); v != nil {
			out[b.Key()] = v
		}
	}
	return out
}

// answering makes what the public listener answers as: one brand, or several by the name in the handshake.
func (g *Gateway) answering(c *status.PublicConfig) error {
	byName := map[string]*status.AnsweringBrand{}
	for _, b := range g.trust.Brands {
		tokens, err := b.AccessTokens()
		if err != nil {
			return err
		}
		one := &status.AnsweringBrand{Key: b.Key(), BaseURL: b.Public.BaseURL, OrganisationID: b.Holder.OrganisationID, Tokens: tokens, Keys: b.Signers}
		for _, name := range b.ServerNames() {
			byName[name] = one
		}
		if len(g.cfg.Brands) == 0 {
			c.BaseURL, c.OrganisationID, c.Tokens, c.Keys = one.BaseURL, one.OrganisationID, one.Tokens, one.Keys
			return nil
		}
	}
	c.Brands = byName
	return nil
}

// judgeBrands says that registrations in the database belong to brands that the settings do not name. Nobody would notify them.
func judgeBrands(ctx context.Context, s *store.Store, cfg *config.Config) error {
	stored, err := s.Brands(ctx)
	if err != nil {
		return err
	}
	set := cfg.BrandList()
	var strange []string
	for _, name := range stored {
		switch {
		case set.Holds(name):
		case name == "":
			return &config.Error{Problems: []string{"brands: the database has registrations without a brand, and no brand is the original one; set original: true in the brand that they belong to"}}
		default:
			strange = append(strange, string(name))
		}
	}
	if len(strange) > 0 {
		return &config.Error{Problems: []string{fmt.Sprintf("brands: the database has registrations of %s, which the settings do not name as a brand of keys; add it, without original, or remove its registrations first", strings.Join(strange, ", "))}}
	}
	return nil
}
