package jws_test

import (
	"crypto"
	"crypto/rsa"
	"encoding/json"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/jws"
)

// instant is a key whose signatures cost nothing after the trial.
type instant struct {
	*rsa.PrivateKey
	quick bool
}

func (k *instant) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	if k.quick {
		return make([]byte, 256), nil
	}
	return k.PrivateKey.Sign(r, digest, o)
}

// BenchmarkSignBesideTheSignature is what an answer costs except for its RSA operation.
func BenchmarkSignBesideTheSignature(b *testing.B) {
	key := &instant{PrivateKey: keyOne()}
	s, err := jws.NewSigner(key, "k1")
	require.NoError(b, err)
	key.quick = true
	claims := struct {
		Data json.RawMessage `json:"data"`
		JTI  string          `json:"jti"`
	}{json.RawMessage(`{"paymentId":"x","creditor":{"name":"Marco Antonio de Brito","cpfCnpj":"48847377765","personType":"PESSOA_NATURAL"},"remittanceInformation":"Pagamento da nota RSTO035-002.","payment":{"amount":"100000.12","currency":"BRL"},"status":"ACSC","localInstrument":"MANU","debtorAccount":{"ispb":"12345678","issuer":"1774","number":"1234567890","accountType":"CACC"},"creditorAccount":{"ispb":"12345678","issuer":"1774","number":"1234567890","accountType":"CACC"}}`), "3f0c9a52-8b41-4d8f-9a55-0c2f4e5a7b11"}
	for b.Loop() {
		if _, err := s.Sign(claims); err != nil {
			b.Fatal(err)
		}
	}
}
