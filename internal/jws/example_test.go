package jws_test

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/jws"
)

// A status answer is signed with the holder's key and verified with the set that the holder publishes. A changed answer is refused.
func ExampleSigner_Sign() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		fmt.Println(err)
		return
	}
	signer, err := jws.NewSigner(key, "brseal-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := signer.Sign(map[string]any{"data": map[string]any{"paymentId": "pay-1", "status": "ACSC"}})
	if err != nil {
		fmt.Println(err)
		return
	}

	keys, err := jws.ParseKeySet(certs.JWKS(&certs.NamedKey{KID: "brseal-1", Key: key}))
	if err != nil {
		fmt.Println(err)
		return
	}
	claims, err := jws.Verify(string(answer), jws.FixedKeySet(keys))
	fmt.Println(claims, err)

	answer[len(answer)/2] ^= 1
	_, err = jws.Verify(string(answer), jws.FixedKeySet(keys))
	fmt.Println("changed:", err != nil)
	// Output:
	// map[data:map[paymentId:pay-1 status:ACSC]] <nil>
	// changed: true
}
