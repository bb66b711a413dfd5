package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// What an entry repeats of a refused registration is bounded, since everything in it came from outside.
const (
	refusedURIs  = 10
	refusedBytes = 255
)

type refusalFacts struct {
	System          string           `json:"system"`
	Actor           string           `json:"actor"`
	Role            string           `json:"role,omitempty"`
	Source          string           `json:"source,omitempty"` // address and port it was asked from
	OrganisationID  string           `json:"organisationId,omitempty"`
	SoftwareID      string           `json:"softwareId,omitempty"`
	WebhookURIs     []string         `json:"webhookUris"`
	URICount        int              `json:"webhookUriCount"`
	StatementDigest string           `json:"statementDigest,omitempty"` // SHA-256 of the statement as it came, not verified
	Problems        []refusalProblem `json:"problems"`
}

type refusalProblem struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
}

// RefuseInitiator records that a registration was asked for and refused with this code; nothing else changes. The entry
// names the addresses that were tried, the first ten and shortened: what stands before an @ could be a password and is
// left out.
func (s *Store) RefuseInitiator(ctx context.Context, in notice.Initiator, actor, code string, problems []notice.Problem) error {
	f := refusalFacts{
		System: s.system, Actor: actor, Role: CallerOf(ctx).Role, Source: CallerOf(ctx).Source, OrganisationID: cut(in.OrganisationID), SoftwareID: cut(in.SoftwareID), WebhookURIs: []string{},
		URICount: len(in.WebhookURIs), StatementDigest: fmt.Sprintf("%x", in.StatementDigest), Problems: []refusalProblem{},
	}
	for _, uri := range in.WebhookURIs[:min(len(in.WebhookURIs), refusedURIs)] {
		f.WebhookURIs = append(f.WebhookURIs, cut(withoutUser(uri)))
	}
	for _, p := range problems {
		f.Problems = append(f.Problems, refusalProblem{p.Pointer, p.Code})
	}
	text, err := Facts(f)
	if err != nil {
		return err
	}
	text = strings.ReplaceAll(text, `\u0000`, `\ufffd`) // the one character that PostgreSQL's JSON cannot give back
	err = s.orm.WithContext(ctx).Exec("INSERT INTO entry (id, kind, client_id, outcome, facts) VALUES (?, ?, nullif(?, ''), ?, ?::json)",
		NewID().String(), history.FactRegistrationRefused, string(in.Client), code, text).Error
	return Unavailable("record the refused registration", err)
}

// withoutUser leaves out what stands between the scheme and the last @.
func withoutUser(uri string) string {
	at := strings.LastIndexByte(uri, '@')
	if at < 0 {
		return uri
	}
	scheme, _, found := strings.Cut(uri[:at], "//")
	if !found {
		return uri[at:]
	}
	return scheme + "//…" + uri[at:]
}

func cut(s string) string {
	if len(s) > refusedBytes {
		return strings.ToValidUTF8(s[:refusedBytes], "") + "…"
	}
	return s
}
