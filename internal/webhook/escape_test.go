package webhook

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEscapeKeepsTextAndShowsTheRest(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"503 Service Unavailable":   "503 Service Unavailable",
		"<script>alert(1)</script>": "<script>alert(1)</script>",
		"ação 日本":                   "ação 日本",
		"a\r\nb\tc":                 `a\r\nb\tc`,
		"\x1b[31mred\x7f":           `\x1b[31mred\x7f`,
		"\u202egnp.exe":             `\u202egnp.exe`,
		"zero\u200bwidth\ufeff":     `zero\u200bwidth\ufeff`,
		"no\u00a0break\u2028line":   `no\u00a0break\u2028line`,
		"caf\xe9":                   `caf\xe9`,
		`C:\x`:                      `C:\x`,
		`it's "it"`:                 `it's "it"`,
		"quote' \x00":               `quote' \x00`,
	} {
		require.Equal(t, want, escape(in), "%q", in)
	}
}

func TestEscapeCutsAt256CharactersAndNotInsideAnEscape(t *testing.T) {
	require.Equal(t, strings.Repeat("a", 256), escape(strings.Repeat("a", 256)))
	require.Equal(t, strings.Repeat("a", 255)+"…", escape(strings.Repeat("a", 257)))
	require.Equal(t, strings.Repeat("é", 256), escape(strings.Repeat("é", 256)))
	require.Equal(t, strings.Repeat("a", 253)+"…", escape(strings.Repeat("a", 253)+"\u202e"))
	require.Equal(t, strings.Repeat("a", 250)+`\u202e`, escape(strings.Repeat("a", 250)+"\u202e"))
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "a\r\nb", "\x1b[31m", "\u202e", "\xff\xfe", "<script>", strings.Repeat("\\", 300), strings.Repeat("x", 255) + "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := escape(s)
		requireShowable(t, got)
		if plain(s) {
			require.Equal(t, s, got)
		}
		require.Equal(t, got, escape(got), "escaping twice changes nothing")
	})
}
