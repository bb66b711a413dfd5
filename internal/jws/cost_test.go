package jws_test

import (
	"crypto/rsa"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/cost"
)

// TestKeySetsAndTokensCostNoMoreThanTheirSizeAllows doubles what somebody else writes, up to the bounds of each.
func TestKeySetsAndTokensCostNoMoreThanTheirSizeAllows(t *testing.T) {
	one := jwk(keyOne(), `"kid":"a","use":"sig"`)
	for name, key := range map[string]string{
		"keys of one name": one, "no keys": `{}`, "unknown members": `{"kty":"RSA","kid":"x","aaaa":["b","b","b"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			cost.Linear(t, 16, func(n int) []byte { return []byte(set(strings.Split(strings.Repeat(key+"\n", n), "\n")[:n]...)) },
				func(content []byte) { _, _ = jws.ParseKeySet(content) })
		})
	}
	keys := fixed(t, map[string]*rsa.PrivateKey{"k1": keyOne()})
	for _, j := range judges() {
		t.Run(j.name, func(t *testing.T) {
			fill := func(n int) string {
				claims := j.claims()
				list := strings.Split(strings.Repeat("a ", n), " ")
				claims["scope"], claims["roles"], claims["aud"], claims["software_api_webhook_uris"] = strings.Repeat("a ", n), list, list, list
				return issue(t, keyOne(), "k1", claims)
			}
			cost.Linear(t, 64, fill, func(token string) { _ = j.verify(keys, token) })
			junk := strings.Repeat("eyJhbGciOiJub25lIn0.", 4000)
			require.Empty(t, cost.Parser.Within(len(junk), func() { _ = j.verify(keys, junk) }))
		})
	}
}
