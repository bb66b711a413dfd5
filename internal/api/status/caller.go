package status

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"regexp"
	"slices"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
)

// interactionHeader carries the id of one call through both parties' logs (status-apis §1.3).
const interactionHeader = "x-fapi-interaction-id"

// interactionPattern takes any version of UUID.
var interactionPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

// identify reads who is asking from the live connection, and the interaction id. Nothing is refused yet: also a refusal
// echoes the id and is recorded with whose certificate it was. Headers that claim a certificate are not looked at
// (cases H7).
func (q *query) identify(r *http.Request) {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		leaf := r.TLS.PeerCertificates[0]
		q.caller, _ = mtls.CallerOf(leaf) // judged by admit
		f := &q.poll.Facts
		f.Certificate, f.Fingerprint = leaf.SerialNumber.Text(16), mtls.Fingerprint(leaf)
		f.Organisation, f.Software, f.Issuer = q.caller.OrganisationID, q.caller.SoftwareID, q.caller.Issuer
	}
	if sent := r.Header.Values(interactionHeader); len(sent) == 1 && interactionPattern.MatchString(sent[0]) {
		q.id = sent[0]
		q.poll.Interaction, _ = notice.ParseID(sent[0])
	}
}

// admit judges certificate, interaction id and token, in this order (status-apis §1.6). That the token lacks the scope
// is only noted: whether its client may ask at all comes first and is known to the database.
func (p *Public) admit(x *api.Exchange, scopes []string) error {
	q := queryOf(x)
	if x.R.Method == http.MethodHead {
		return refMethod // a HEAD would be a poll whose answer nobody sees
	}
	if q.caller.SoftwareID == "" {
		return because(refClient, "certificate without organisation or software id")
	}
	switch sent := x.R.Header.Values(interactionHeader); {
	case len(sent) == 0 || len(sent) == 1 && sent[0] == "":
		return because(refMissing, "no interaction id")
	case len(sent) > 1 || sent[0] != q.id:
		return because(refParameter, "interaction id is not a UUID")
	}
	token, refusal := accessToken(x.R)
	if refusal != nil {
		return refusal
	}
	if err := p.judgeToken(x, token); err != nil {
		return err
	}
	q.noScope = !slices.ContainsFunc(scopes, q.token.HasScope)
	return nil
}

// maxAuthorization is the longest header, scheme and all (status-apis §1.3).
const maxAuthorization = 2048

// accessToken takes the token out of the one Authorization header; one in the query is refused (security §5, A1).
func accessToken(r *http.Request) (string, error) {
	if hasParameter(r.URL.RawQuery, "access_token") {
		return "", because(refToken, "token in the query")
	}
	token, err := api.Bearer(r)
	if err != nil {
		return "", because(refNoToken, "no bearer token")
	}
	if len(r.Header.Get("Authorization")) > maxAuthorization {
		return "", because(refToken, "Authorization is longer than 2048")
	}
	return token, nil
}

// judgeToken verifies the token and that it is bound to the certificate of this very connection (security §5, A3–A5).
func (p *Public) judgeToken(x *api.Exchange, token string) error {
	q := queryOf(x)
	sum := sha256.Sum256([]byte(token))
	q.poll.Facts.TokenHash = hex.EncodeToString(sum[:sha256.Size/2])
	verified, err := q.brand.Tokens.Verify(x.R.Context(), token)
	var refused *jws.Refusal
	switch {
	case errors.As(err, &refused):
		return because(refToken, refused.Error())
	case err != nil:
		return err
	case verified.Thumbprint != sha256.Sum256(x.R.TLS.PeerCertificates[0].Raw):
		return because(refToken, "token is bound to another certificate")
	case !notice.ValidClientID(verified.ClientID): // one with a space would look like the key of another brand's client
		return because(refToken, "client_id is malformed")
	}
	q.token = verified
	q.poll.Client, q.poll.Facts.TokenID = brand.Key(q.brand.Key, notice.ClientID(verified.ClientID)), verified.ID
	return nil
}
