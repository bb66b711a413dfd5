package browser

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// The console's client at the provider, and the provider's word for a sign-in with two factors.
const (
	clientID     = "arauto"
	clientSecret = "a secret of a test"
	strongACR    = "urn:bank:mfa"
	password     = "verysecure"
)

// staff are the provider's people: their roles, and whether they sign in with two factors.
var staff = map[string]struct {
	name   string
	roles  []string
	strong bool
}{
	"ana":   {"Ana Lima", []string{"operator", "auditor"}, true},
	"bruno": {"Bruno Reis", []string{"auditor"}, true},
	"weak":  {"Wilma Eck", []string{"operator"}, false},
	"guest": {"Gil Estevez", nil, true},
	"celia": {"Célia Nunes", []string{"operator", "auditor"}, true},

	"nobody": {"Nobody", []string{"operator"}, true}, // the ID token has no subject
}

// rolesNow are the roles that a person has by now, where they are others than those in staff.
var rolesNow sync.Map

// lockedOut are the people whom the provider lets in no more.
var lockedOut sync.Map

// changeRoles gives one of the staff other roles.
func changeRoles(name string, roles ...string) { rolesNow.Store(name, roles) }

// rolesOf are the roles of one of the staff.
func rolesOf(name string) []string {
	if now, changed := rolesNow.Load(name); changed {
		return now.([]string)
	}
	return staff[name].roles
}

// people is the example's user store with our staff.
type people struct{}

// GetUserByID finds one of the staff.
func (people) GetUserByID(id string) *storage.User {
	if _, there := staff[id]; !there {
		return nil
	}
	return &storage.User{ID: id, Username: id, Password: password}
}

// GetUserByUsername is GetUserByID: names are ids.
func (p people) GetUserByUsername(name string) *storage.User { return p.GetUserByID(name) }

// ExampleClientID is not used.
func (people) ExampleClientID() string { return "service" }

// provider is the example's storage with roles in the ID token, and with the strength of the sign-in.
type provider struct{ *storage.Storage }

// strong is a request of somebody who signed in with a strength.
type strong struct{ op.AuthRequest }

// GetACR is the strength.
func (s strong) GetACR() string {
	if staff[s.GetSubject()].strong {
		return strongACR
	}
	return "urn:bank:password"
}

// AuthRequestByID adds the strength.
func (p provider) AuthRequestByID(ctx context.Context, id string) (op.AuthRequest, error) {
	r, err := p.Storage.AuthRequestByID(ctx, id)
	return strong{r}, err
}

// AuthRequestByCode adds the strength.
func (p provider) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	r, err := p.Storage.AuthRequestByCode(ctx, code)
	if err != nil {
		return nil, err
	}
	return strong{r}, nil
}

// CreateAccessToken takes the strength away, which the example does not know.
func (p provider) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	if s, ok := r.(strong); ok {
		r = s.AuthRequest
	}
	return p.Storage.CreateAccessToken(ctx, r)
}

// CreateAccessAndRefreshTokens takes the strength away, too.
func (p provider) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, current string) (string, string, time.Time, error) {
	if s, ok := r.(strong); ok {
		r = s.AuthRequest
	}
	return p.Storage.CreateAccessAndRefreshTokens(ctx, r, current)
}

// TokenRequestByRefreshToken refuses who is locked out.
func (p provider) TokenRequestByRefreshToken(ctx context.Context, token string) (op.RefreshTokenRequest, error) {
	r, err := p.Storage.TokenRequestByRefreshToken(ctx, token)
	if err == nil {
		if _, locked := lockedOut.Load(r.GetSubject()); locked {
			return nil, errors.New("locked out")
		}
	}
	return r, err
}

// revoked counts the refresh tokens of known people that were revoked.
var revoked atomic.Int64

// RevokeToken counts them.
func (p provider) RevokeToken(ctx context.Context, id, user, client string) *oidc.Error {
	err := p.Storage.RevokeToken(ctx, id, user, client)
	if err == nil && user != "" {
		revoked.Add(1)
	}
	return err
}

// SetUserinfoFromRequest puts name and roles into the ID token.
func (p provider) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, r op.IDTokenRequest, _ []string) error {
	who := staff[r.GetSubject()]
	if r.GetSubject() != "nobody" {
		info.Subject = r.GetSubject()
	}
	info.AppendClaims("name", who.name)
	info.AppendClaims("roles", rolesOf(r.GetSubject()))
	info.AppendClaims("upn", r.GetSubject()+"@bank.example")
	return nil
}

// basicAlone makes a provider refuse a client that shows its secret in the form, as many do.
func basicAlone(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, basic := r.BasicAuth(); r.URL.Path == "/oauth/token" && !basic {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// startProvider starts a real OpenID provider, and returns its issuer.
func startProvider(t *testing.T, consoleURL string) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	issuer := "http://" + l.Addr().String()
	storage.RegisterClients(storage.WebClient(clientID, clientSecret, consoleURL+"/sign-in/callback"))
	server := &http.Server{Handler: basicAlone(exampleop.SetupServer(issuer, provider{storage.NewStorage(people{})}, nil, false, op.WithAllowInsecure())), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return issuer
}
