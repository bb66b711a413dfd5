package jws_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/jws"
)

// module is a key that never leaves: all that is known of it is crypto.Signer.
type module struct {
	key  *rsa.PrivateKey
	fail error
	lie  bool
}

func (m module) Public() crypto.PublicKey { return &m.key.PublicKey }

func (m module) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if m.fail != nil {
		return nil, m.fail
	}
	if m.lie {
		return make([]byte, 256), nil
	}
	return m.key.Sign(random, digest, opts)
}

// answer takes a compact JWS apart and verifies it with the standard library alone, salt length included.
func answer(t testing.TB, compact []byte, key *rsa.PublicKey) (header, payload string) {
	t.Helper()
	parts := strings.Split(string(compact), ".")
	require.Len(t, parts, 3)
	decode := func(s string) []byte {
		out, err := base64.RawURLEncoding.Strict().DecodeString(s)
		require.NoError(t, err)
		return out
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	require.NoError(t, rsa.VerifyPSS(key, crypto.SHA256, sum[:], decode(parts[2]), &rsa.PSSOptions{SaltLength: 32}))
	return string(decode(parts[0])), string(decode(parts[1]))
}

func TestAnswersAreSignedAsTheProfileSays(t *testing.T) {
	type claims struct {
		Iss  string          `json:"iss"`
		Aud  string          `json:"aud"`
		Data json.RawMessage `json:"data"`
	}
	for _, key := range []crypto.Signer{keyOne(), module{key: keyOne()}} {
		signer, err := jws.NewSigner(key, "k-1")
		require.NoError(t, err)
		require.Equal(t, "k-1", signer.KID())
		require.True(t, keyOne().PublicKey.Equal(signer.Public()))
		compact, err := signer.Sign(claims{"us", "them", json.RawMessage(`{"amount":"1.10","n":12345678901234567890.0,"text":"a&b<ç>"}`)})
		require.NoError(t, err)
		header, payload := answer(t, compact, &keyOne().PublicKey)
		require.JSONEq(t, `{"alg":"PS256","kid":"k-1","typ":"JWT"}`, header)
		require.Contains(t, payload, `"n":12345678901234567890.0`, "numbers stay as they were written")
		var back struct {
			Aud  any
			Data struct{ Text string }
		}
		require.NoError(t, json.Unmarshal([]byte(payload), &back))
		require.Equal(t, "them", back.Aud, "a plain string, not an array")
		require.Equal(t, "a&b<ç>", back.Data.Text)

		read, err := jws.Verify(string(compact), fixed(t, map[string]*rsa.PrivateKey{"k-1": keyOne()}))
		require.NoError(t, err)
		require.Equal(t, "us", read["iss"])
		_, err = jws.Verify(string(compact), fixed(t, map[string]*rsa.PrivateKey{"k-1": keyTwo()}))
		refusedFor(t, err, jws.Signature, "")
		_, err = signer.Sign(map[string]any{"x": func() {}})
		require.ErrorContains(t, err, `sign with key "k-1"`)
	}
}

func TestManySignAtOnce(t *testing.T) {
	signer, err := jws.NewSigner(keyOne(), "k")
	require.NoError(t, err)
	keys := fixed(t, map[string]*rsa.PrivateKey{"k": keyOne()})
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			compact, err := signer.Sign(map[string]any{"i": i})
			if err != nil {
				t.Error(err)
				return
			}
			read, err := jws.Verify(string(compact), keys)
			if err != nil || read["i"] != float64(i) {
				t.Errorf("%v %v", read, err)
			}
		})
	}
	all.Wait()
}

func TestAKeyThatCannotSignIsFoundAtStart(t *testing.T) {
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		key crypto.Signer
		kid string
		why string
	}{
		"no key":            {nil, "k", "no signing key"},
		"no kid":            {keyOne(), "", "kid"},
		"long kid":          {keyOne(), strings.Repeat("k", 256), "kid"},
		"elliptic curve":    {curve, "k", "not RSA"},
		"1024 bits":         {weak(), "k", "1024 bits"},
		"module fails":      {module{key: keyOne(), fail: errors.New("PIN locked")}, "k", "PIN locked"},
		"module signs junk": {module{key: keyOne(), lie: true}, "k", "does not verify"},
	} {
		_, err := jws.NewSigner(c.key, c.kid)
		require.ErrorContains(t, err, c.why, name)
	}
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestSigningKeysAreReadFromFilesNobodyElseCanRead(t *testing.T) {
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	one := pkcs8(t, keyOne())
	old := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(keyOne())})
	for name, c := range map[string]struct {
		content []byte
		mode    os.FileMode
		why     string
	}{
		"PKCS#8":               {one, 0o600, ""},
		"PKCS#1":               {old, 0o400, ""},
		"group may read":       {one, 0o640, "mode 0640"},
		"everybody may read":   {one, 0o644, "mode 0644"},
		"executable":           {one, 0o700, "mode 0700"},
		"two keys":             {append(append([]byte{}, one...), pkcs8(t, keyTwo())...), 0o600, "more than one"},
		"text after it":        {append(append([]byte{}, one...), "x"...), 0o600, "more than one"},
		"empty":                {nil, 0o600, "no PEM key"},
		"DER":                  {x509.MarshalPKCS1PrivateKey(keyOne()), 0o600, "no PEM key"},
		"public":               {pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1}}), 0o600, "not a private RSA key"},
		"encrypted":            {pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}}), 0o600, "encrypted"},
		"encrypted, old style": {pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte{1}}), 0o600, "encrypted"},
		"broken":               {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("geheim")}), 0o600, "cannot be parsed"},
		"elliptic curve":       {pkcs8(t, curve), 0o600, "not RSA"},
		"1024 bits":            {pkcs8(t, weak()), 0o600, "1024 bits"},
		"endless":              {make([]byte, 1<<20), 0o600, "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "key.pem")
			require.NoError(t, os.WriteFile(file, c.content, 0o600))
			require.NoError(t, os.Chmod(file, c.mode))
			signers, err := jws.OpenSigners(jws.SignersConfig{Keys: []jws.SigningKey{{KID: "k", File: file}}})
			if c.why != "" {
				require.ErrorContains(t, err, c.why)
				require.ErrorContains(t, err, file)
				require.NotContains(t, err.Error(), "geheim")
				return
			}
			require.NoError(t, err)
			active, err := signers.Active()
			require.NoError(t, err)
			require.True(t, keyOne().PublicKey.Equal(active.Public()))
		})
	}
	_, err = jws.OpenSigners(jws.SignersConfig{Keys: []jws.SigningKey{{KID: "k", File: filepath.Join(t.TempDir(), "absent")}}})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = jws.OpenSigners(jws.SignersConfig{Keys: []jws.SigningKey{{KID: "k", File: t.TempDir()}}})
	require.ErrorContains(t, err, "not a regular file")
}

func TestARolloverNeverSignsWithAnUnpublishedKey(t *testing.T) {
	published := filepath.Join(t.TempDir(), "published.json")
	publish := func(keys map[string]*rsa.PrivateKey) { write(t, published, setOf(t, keys)) }
	publish(map[string]*rsa.PrivateKey{"old": keyOne()})
	set, err := jws.OpenKeySet(jws.KeySetConfig{Location: published})
	require.NoError(t, err)
	signers, err := jws.OpenSigners(jws.SignersConfig{
		Keys: []jws.SigningKey{{KID: "new", Key: keyTwo()}, {KID: "old", Key: keyOne()}}, Published: set,
	})
	require.NoError(t, err)
	signedBy := func(kid string, key *rsa.PrivateKey) {
		t.Helper()
		compact, err := signers.Sign(map[string]any{"a": 1})
		require.NoError(t, err)
		header, _ := answer(t, compact, &key.PublicKey)
		require.JSONEq(t, `{"alg":"PS256","typ":"JWT","kid":"`+kid+`"}`, header)
	}
	signedBy("old", keyOne())

	publish(map[string]*rsa.PrivateKey{"old": keyOne(), "new": keyOne()})
	require.NoError(t, set.Reload(t.Context()))
	signedBy("old", keyOne()) // another key under the new kid is not ours

	publish(map[string]*rsa.PrivateKey{"old": keyOne(), "new": keyTwo()})
	require.NoError(t, set.Reload(t.Context()))
	signedBy("new", keyTwo())

	publish(map[string]*rsa.PrivateKey{"new": keyTwo()})
	require.NoError(t, set.Reload(t.Context()))
	signedBy("new", keyTwo())

	publish(map[string]*rsa.PrivateKey{"else": keyTwo()})
	require.NoError(t, set.Reload(t.Context()))
	_, err = signers.Sign(map[string]any{"a": 1})
	require.ErrorIs(t, err, jws.ErrUnavailable)
	_, err = signers.Active()
	require.ErrorContains(t, err, "none of our 2 signing keys")
}

func TestSigningKeyFilesAreReadAgainAllOrNone(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.pem"), filepath.Join(dir, "second.pem")
	write(t, first, pkcs8(t, keyOne()))
	write(t, second, pkcs8(t, keyOne()))
	signers, err := jws.OpenSigners(jws.SignersConfig{Keys: []jws.SigningKey{{KID: "a", File: first}, {KID: "b", File: second}}})
	require.NoError(t, err)
	require.Equal(t, first+", "+second, signers.Name())
	changed, err := signers.Reload()
	require.NoError(t, err)
	require.False(t, changed)
	require.EqualValues(t, 1, signers.Generation())

	write(t, first, pkcs8(t, keyTwo()))
	write(t, second, []byte("torn"))
	_, err = signers.Reload()
	require.ErrorContains(t, err, second)
	active, err := signers.Active()
	require.NoError(t, err)
	require.True(t, active.Public().Equal(&keyOne().PublicKey), "the old keys stay in force together")

	write(t, second, pkcs8(t, keyTwo()))
	changed, err = signers.Reload()
	require.NoError(t, err)
	require.True(t, changed)
	require.EqualValues(t, 2, signers.Generation())
	compact, err := signers.Sign(map[string]any{})
	require.NoError(t, err)
	answer(t, compact, &keyTwo().PublicKey)
}

func TestSignersThatMakeNoSenseAreRefused(t *testing.T) {
	for why, keys := range map[string][]jws.SigningKey{
		"no signing key": nil,
		"either a file":  {{KID: "a"}},
		"a signer":       {{KID: "a", File: "x", Key: keyOne()}},
		"same kid":       {{KID: "a", Key: keyOne()}, {KID: "a", Key: keyTwo()}},
		"kid":            {{Key: keyOne()}},
		"no such file":   {{KID: "a", File: "/nowhere/key.pem"}},
	} {
		_, err := jws.OpenSigners(jws.SignersConfig{Keys: keys})
		require.ErrorContains(t, err, why)
	}
}

func BenchmarkSign(b *testing.B) {
	signer, err := jws.NewSigner(keyOne(), "k")
	require.NoError(b, err)
	claims := map[string]any{"data": strings.Repeat("x", 1500)}
	for b.Loop() {
		if _, err := signer.Sign(claims); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyAccessToken(b *testing.B) {
	keys := fixed(b, map[string]*rsa.PrivateKey{"k1": keyOne()})
	token := issue(b, keyOne(), "k1", accessClaims())
	for b.Loop() {
		if err := verifyAccess(keys, token); err != nil {
			b.Fatal(err)
		}
	}
}
