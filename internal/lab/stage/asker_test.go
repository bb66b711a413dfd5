package stage

import (
	"crypto/rsa"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/keystock"
)

// TestAnAnswerIsHeldAgainstTheRulesOfItsSignature: the header, who signed for whom, the id, and the age.
func TestAnAnswerIsHeldAgainstTheRulesOfItsSignature(t *testing.T) {
	key, err := keystock.New(2048)
	require.NoError(t, err)
	a := NewAsker(AskerConfig{Holder: "holder", Organisation: "mine", Key: func(string) *rsa.PublicKey { return &key.PublicKey }})
	judge := func(method jwt.SigningMethod, name string, value any) error {
		token := jwt.NewWithClaims(method, jwt.MapClaims{
			"iss": "holder", "aud": "mine", "iat": time.Now().Unix(), "jti": uuid.NewString(), "data": map[string]string{"status": "ACSC"},
		})
		token.Header["kid"] = "k"
		if name == "typ" {
			token.Header[name] = value
		} else if name != "" {
			token.Claims.(jwt.MapClaims)[name] = value
		}
		compact, err := token.SignedString(key)
		require.NoError(t, err)
		_, err = a.verify(compact)
		return err
	}
	require.NoError(t, judge(jwt.SigningMethodPS256, "", nil))
	require.NoError(t, judge(jwt.SigningMethodPS256, "iat", time.Now().Add(-50*time.Second).Unix()))
	for name, bad := range map[string]any{
		"iss": "another", "aud": "yours", "jti": "7", "typ": "JOSE", "iat": time.Now().Add(-70 * time.Second).Unix(),
	} {
		require.ErrorIs(t, judge(jwt.SigningMethodPS256, name, bad), ErrAnswer, name)
	}
	require.ErrorIs(t, judge(jwt.SigningMethodPS256, "iat", time.Now().Add(70*time.Second).Unix()), ErrAnswer, "from the future")
	require.ErrorIs(t, judge(jwt.SigningMethodRS256, "", nil), ErrAnswer, "another algorithm")
}
