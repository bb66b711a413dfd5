package temppostgres

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// scramSecret is what PostgreSQL stores of a password, as it takes it in place of the password. One iteration is enough:
// more of them protect passwords that can be guessed, ours is random, and each connection of a test computes them.
func scramSecret(password, salt string) (string, error) {
	const iterations = 1
	salted, err := pbkdf2.Key(sha256.New, password, []byte(salt), iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive the key of the password: %w", err)
	}
	sign := func(text string) []byte {
		mac := hmac.New(sha256.New, salted)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	stored := sha256.Sum256(sign("Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode([]byte(salt)), encode(stored[:]), encode(sign("Server Key"))), nil
}
