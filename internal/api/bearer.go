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

// SignIn admits a request whose bearer token is accepted and carries one of the roles, or whose context is SignedIn's. Without roles it admits nobody. It sets
// x.who, and the request's context carries the history.Caller from then on. A refusal is a *APIError with status 401 or 403.
func SignIn(x *Exchange, tokens Authenticator, roles []string) error {
	who, err := callerOf(x, tokens)
	if err != nil {
		var refusal *jws.Refusal
		if !errors.As(err, &refusal) {
			return err
		}
		return &APIError{
			Status: http.StatusUnauthorized, Code: "unauthorized", Text: "the bearer token is not accepted: " + refusal.Error(),
			Challenge: challenge + `, error="invalid_token"`,
		}
	}
	x.Who = who
	at := slices.IndexFunc(roles, who.Has)
	if at < 0 {
		return &APIError{
			Status: http.StatusForbidden, Code: "forbidden", Text: "the token lacks the required role: " + strings.Join(roles, " or "),
			Challenge: challenge + `, error="insufficient_scope"`,
		}
	}
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
		Status: http.StatusUnauthorized, Code: "unauthorized", Text: "the bearer token is missing or given twice; send one header Authorization: Bearer <token>",
		Challenge: challenge,
	}
}
