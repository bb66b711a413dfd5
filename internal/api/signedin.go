package api

import (
	"context"

	"github.com/arauto/arauto/internal/jws"
)

// signedInKey is the key under which a context carries a person who has signed in.
type signedInKey struct{}

// SignedIn makes the calls that carry this context count as those of a person whom this process has signed in by other means than
// a bearer token. The roles of a route are judged as for a token. It cannot be reached from the network: a server makes the
// context of each request itself.
func SignedIn(ctx context.Context, who jws.Principal) context.Context {
	return context.WithValue(ctx, signedInKey{}, who)
}

// callerOf is who calls: the person of SignedIn, or the subject of the request's bearer token.
func callerOf(x *Exchange, tokens Authenticator) (jws.Principal, error) {
	if who, signedIn := x.R.Context().Value(signedInKey{}).(jws.Principal); signedIn {
		return who, nil
	}
	token, err := Bearer(x.R)
	if err != nil {
		return jws.Principal{}, err
	}
	return tokens.Verify(token)
}

// IsSignedIn tells whether ctx is SignedIn's: a person calls, and no bearer token.
func IsSignedIn(ctx context.Context) bool {
	_, signedIn := ctx.Value(signedInKey{}).(jws.Principal)
	return signedIn
}
