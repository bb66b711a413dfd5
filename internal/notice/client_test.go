package notice_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

func TestAClientIDHasPrintableASCIIWithoutSpaces(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "a": true, "!~": true, strings.Repeat("x", 255): true, strings.Repeat("x", 256): false,
		"a b": false, " a": false, "a\t": false, "a\n": false, "a\x00": false, "a\x7f": false, "ação": false, "a\xff": false,
		"https://directory.example/a?b=c#d": true, "urn:itp:1": true,
	} {
		require.Equal(t, want, notice.ValidClientID(text), "%q", text)
	}
	for b := range 256 {
		require.Equal(t, b > ' ' && b < 0x7f, notice.ValidClientID(string([]byte{byte(b)})), "byte %#x", b)
	}
}
