package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// requestSigner signs requests to an object store by AWS Signature Version 4, for requests with a single chunk ("Authenticating
// Requests: Using the Authorization Header"). It signs every header that is set.
type requestSigner struct {
	accessKeyID, secret, region string
}

// stamp is the signature's layout of time.
const stamp = "20060102T150405Z"

// sign signs a request. Its path must be escaped by escapePath, and its query sorted by name.
func (s requestSigner) sign(r *http.Request, body []byte, now time.Time) {
	now = now.UTC()
	r.Header.Set("X-Amz-Date", now.Format(stamp))
	r.Header.Set("X-Amz-Content-Sha256", hexSum(body))
	lines := []string{"host:" + r.URL.Host}
	for name, values := range r.Header {
		lines = append(lines, strings.ToLower(name)+":"+strings.TrimSpace(strings.Join(values, ",")))
	}
	slices.Sort(lines)
	names := make([]string, len(lines))
	for i, line := range lines {
		names[i], _, _ = strings.Cut(line, ":")
	}
	signed := strings.Join(names, ";")
	canonical := strings.Join([]string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, strings.Join(lines, "\n"), "", signed, hexSum(body)}, "\n")
	scope := now.Format("20060102") + "/" + s.region + "/s3/aws4_request"
	text := strings.Join([]string{"AWS4-HMAC-SHA256", now.Format(stamp), scope, hexSum([]byte(canonical))}, "\n")
	key := []byte("AWS4" + s.secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = keyed(key, part)
	}
	r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,Signature=%x", s.accessKeyID, scope, signed, keyed(key, text)))
}

func keyed(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// escapePath escapes a path as the signature demands: everything but unreserved characters and slashes as %XX.
func escapePath(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
