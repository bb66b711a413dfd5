package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/jws"
)

// Authenticator judges the bank's own bearer tokens; *jws.BearerVerifier is one. A *jws.Refusal says that the token is not
// accepted; an error that wraps jws.ErrUnavailable, that it cannot be judged.
type Authenticator interface {
	Verify(token string) (jws.Principal, error)
}

const challenge = `Bearer realm="arauto"`

// admit lets a request in whose token is good and carries one of the roles. No roles admit nobody.
func (in *Internal) admit(x *Exchange, roles []string) error {
	token, err := Bearer(x.R)
	if err != nil {
		return err
	}
	who, err := in.tokens.Verify(token)
	if err != nil {
		var refusal *jws.Refusal
		if !errors.As(err, &refusal) {
			return err
		}
		return &APIError{
			Status: http.StatusUnauthorized, Code: "unauthorized", text: "the bearer token is not accepted: " + refusal.Error(),
			challenge: challenge + `, error="invalid_token"`,
		}
	}
	x.who = who
	at := slices.IndexFunc(roles, who.Has)
	if at < 0 {
		return &APIError{
			Status: http.StatusForbidden, Code: "forbidden", text: "the token lacks the required role: " + strings.Join(roles, " or "),
			challenge: challenge + `, error="insufficient_scope"`,
		}
	}
	// Who acts, and from where, goes with the call to the place that writes its record.
	caller := history.Actor{Subject: who.Subject, Role: roles[at], Source: x.R.RemoteAddr}
	x.R = x.R.WithContext(context.WithValue(x.R.Context(), history.ActorKey{}, caller))
	return nil
}

// Bearer returns the token of the one Authorization header (RFC 6750 §2.1), or a *APIError with status 401.
func Bearer(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 1 {
		scheme, token, _ := strings.Cut(values[0], " ")
		if token = strings.TrimLeft(token, " "); strings.EqualFold(scheme, "Bearer") && token != "" {
			return token, nil
		}
	}
	return "", &APIError{
		Status: http.StatusUnauthorized, Code: "unauthorized", text: "the bearer token is missing or given twice; send one header Authorization: Bearer <token>",
		challenge: challenge,
	}
}
