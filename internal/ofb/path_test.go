package ofb

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPathIsTheTemplateOfTheKindByteForByte(t *testing.T) {
	for _, want := range []struct {
		kind        Kind
		version, id string
		path        string
	}{
		{PaymentConsent, "v4", "urn:brp:67ce9a26", "/open-banking/webhook/v1/payments/v4/consents/urn:brp:67ce9a26"},
		{PaymentConsent, "v5", "urn:x:1", "/open-banking/webhook/v1/payments/v5/consents/urn:x:1"},
		{PixPayment, "v4", "a-1", "/open-banking/webhook/v1/payments/v4/pix/payments/a-1"},
		{PixPayment, "v5", "a-1", "/open-banking/webhook/v1/payments/v5/pix/payments/a-1"},
		{RecurringConsent, "v2", "urn:x:1", "/open-banking/webhook/v1/automatic-payments/v2/recurring-consents/urn:x:1"},
		{RecurringPayment, "v2", "a-1", "/open-banking/webhook/v1/automatic-payments/v2/pix/recurring-payments/a-1"},
		{Enrollment, "v2", "urn:x:1", "/open-banking/webhook/v1/enrollments/v2/enrollments/urn:x:1"},
		{PaymentConsent, "v5", "urn:x:a/b?c#d%e", "/open-banking/webhook/v1/payments/v5/consents/urn:x:a%2Fb%3Fc%23d%25e"},
	} {
		require.Equal(t, want.path, Path(want.kind, want.version, want.id))
	}
}

func TestEscapeIDKeepsExactlyTheBytesOfTheContract(t *testing.T) {
	const kept = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:@&=+$"
	require.Equal(t, kept, EscapeID(kept))
	for c := range 256 {
		in := string([]byte{byte(c)})
		if strings.Contains(kept, in) {
			continue
		}
		out := EscapeID(in)
		require.Len(t, out, 3, "byte %x", c)
		require.Equal(t, strings.ToUpper(out), out)
	}
	require.Equal(t, "%28%29%2C%3B%21%2A%27%25%2F%3F%23%C3%A9%00", EscapeID("(),;!*'%/?#é\x00"))
}

func FuzzEscapeID(f *testing.F) {
	for _, id := range []string{"", "urn:x:1", "a/b", "%2F", "%", "é", "\xff\x00", "..", "urn:a:()+,-.:=@;$_!*'%/?#"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		escaped := EscapeID(id)
		require.NotContains(t, escaped, "/")
		require.NotContains(t, escaped, "?")
		require.NotContains(t, escaped, "#")
		require.Equal(t, strings.Count(escaped, "%")*2+len(id), len(escaped), "each escaped byte is %%XX")
		back, err := url.PathUnescape(escaped)
		require.NoError(t, err)
		require.Equal(t, id, back)

		// Appended to a base, the URL parses to the same path: nothing leaks into query or fragment.
		parsed, err := url.Parse("https://itp.example/kong3" + Path(PaymentConsent, "v5", id))
		require.NoError(t, err)
		require.Equal(t, "/kong3"+Path(PaymentConsent, "v5", id), parsed.EscapedPath())
		require.Equal(t, "/kong3/open-banking/webhook/v1/payments/v5/consents/"+id, parsed.Path)
		require.Empty(t, parsed.RawQuery)
		require.Empty(t, parsed.Fragment)
	})
}
