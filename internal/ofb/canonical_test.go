package ofb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arauto/arauto/internal/lab/cost"
)

// value decodes any JSON text as the product does: numbers keep their text.
func value(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	err := decoder.Decode(&v)
	return v, err
}

// decode decodes a document.
func decode(t testing.TB, text string) map[string]any {
	t.Helper()
	v, err := value([]byte(text))
	require.NoError(t, err)
	return v.(map[string]any)
}

func canonical(t testing.TB, text string) string {
	t.Helper()
	v, err := value([]byte(text))
	require.NoError(t, err)
	return string(Canonical(v))
}

func TestCanonicalFormIsOneTextForAllSpellings(t *testing.T) {
	for text, want := range map[string]string{
		` { "b" : 1 , "a" : [ true , false , null ] } `: `{"a":[true,false,null],"b":1}`,
		`{}`: `{}`, `[]`: `[]`, `""`: `""`,
		`{"é":1,"z":2,"Z":3}`:     `{"Z":3,"z":2,"é":1}`,
		`"\u0061\/\u00e9<>&"`:     `"a/é<>&"`,
		`"\"\\\b\f\n\r\t\u0000"`:  `"\"\\\u0008\u000c\u000a\u000d\u0009\u0000"`,
		`"\u2028\ud83d\ude00"`:    "\"\u2028😀\"",
		`"\ud800"`:                "\"\ufffd\"",
		`"` + "\x7f" + `"`:        `"` + "\x7f" + `"`,
		`{"a":{"c":1,"b":[1.0]}}`: `{"a":{"b":[1],"c":1}}`,
	} {
		require.Equal(t, want, canonical(t, text), text)
	}
}

func TestCanonicalNumbersAreEqualByValue(t *testing.T) {
	for want, spellings := range map[string][]string{
		"0":                                 {"0", "-0", "0.0", "0e5", "-0.000e-99999999999999999999"},
		"1":                                 {"1", "1.0", "1e0", "1E+0", "10e-1", "0.1e1", "100000e-5"},
		"-15e-1":                            {"-1.5", "-15e-1", "-0.15e1", "-1.50"},
		"100":                               {"100", "1e2", "1E+2", "100.00", "0.01e4"},
		"100000000000000000000":             {"1e20", "100000000000000000000"},
		"1e21":                              {"1e21", "1000000000000000000000", "10e20"},
		"1e-2":                              {"0.01", "1e-2", "0.0100"},
		"12345678901234567890123456789e-10": {"1234567890123456789.0123456789"},
		"9007199254740993":                  {"9007199254740993"}, // a float would lose the last digit
		"1e999999999":                       {"1e999999999", "10e999999998", "0.1e1000000000"},
		"1e99999999999999999999999999":      {"1e99999999999999999999999999", "10e99999999999999999999999998"},
	} {
		for _, text := range spellings {
			require.Equal(t, want, canonical(t, text), text)
		}
	}
	require.Equal(t, "15e-1", string(Canonical(1.5)), "a float64 is its shortest decimal")
	require.Equal(t, "1e21", string(Canonical(1e21)))
}

func TestCanonicalFormOfAHugeExponentStaysSmall(t *testing.T) {
	text := "1e" + strings.Repeat("9", 60_000)
	require.Equal(t, text, canonical(t, text))
	require.Equal(t, "1e-"+strings.Repeat("9", 60_000), canonical(t, "1e-"+strings.Repeat("9", 60_000)))
}

func TestCanonicalPanicsForWhatWasNeverJSON(t *testing.T) {
	require.Panics(t, func() { Canonical(struct{}{}) })
	require.Panics(t, func() { Canonical(map[string]any{"a": []string{"b"}}) })
	require.Panics(t, func() { Canonical(json.Number("1e")) })
}

func TestHashTellsDocumentsApartAndNotTheirSpelling(t *testing.T) {
	require.Equal(t, Hash(decode(t, `{"a":1,"b":"x"}`)), Hash(decode(t, "{ \"b\":\"\\u0078\",\n\"a\":1.00 }")))
	require.NotEqual(t, Hash(decode(t, `{"a":1}`)), Hash(decode(t, `{"a":"1"}`)))
	require.NotEqual(t, Hash(decode(t, `{"a":null}`)), Hash(decode(t, `{}`)))
	require.NotEqual(t, Hash(decode(t, `{"a":[1,2]}`)), Hash(decode(t, `{"a":[2,1]}`)))
}

// number draws the text of a JSON number whose exact value is cheap to compute.
var number = rapid.Custom(func(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "-"}).Draw(t, "sign") +
		rapid.StringMatching(`0|[1-9][0-9]{0,5}`).Draw(t, "whole") +
		rapid.StringMatching(`(\.[0-9]{1,5})?`).Draw(t, "fraction") +
		rapid.StringMatching(`([eE][+-]?[0-2]?[0-9])?`).Draw(t, "exponent")
})

func TestTwoNumbersShareTheirCanonicalFormExactlyWhenTheyAreEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := number.Draw(t, "a"), number.Draw(t, "b")
		ra, _ := new(big.Rat).SetString(a)
		rb, _ := new(big.Rat).SetString(b)
		ca, cb := string(Canonical(json.Number(a))), string(Canonical(json.Number(b)))
		require.Equal(t, ra.Cmp(rb) == 0, ca == cb, "%s is %s, %s is %s", a, ca, b, cb)
		back, ok := new(big.Rat).SetString(ca)
		require.True(t, ok)
		require.Zero(t, ra.Cmp(back), "%s is not %s", a, ca)

		shift := rapid.IntRange(-30, 30).Draw(t, "shift")
		scaled := new(big.Rat).Mul(ra, pow10(shift))
		if !strings.ContainsAny(a, "eE") {
			again := string(Canonical(json.Number(fmt.Sprintf("%se%d", a, shift))))
			require.Equal(t, string(Canonical(json.Number(decimal(scaled)))), again)
		}
	})
}

func pow10(n int) *big.Rat {
	p := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(n, -n))), nil)
	if n < 0 {
		return new(big.Rat).SetFrac(big.NewInt(1), p)
	}
	return new(big.Rat).SetInt(p)
}

// decimal writes an exact decimal out in full.
func decimal(r *big.Rat) string { return r.FloatString(60) }

func FuzzCanonical(f *testing.F) {
	for _, text := range []string{
		`{"a":1.0,"b":[true,null,"x\u0000"]}`, `1e999999999`, `-0.00`, `"\ud800"`, `{"a":{"a":{}}}`, `[1,1.0,1e0]`, "\"\xff\"",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := value(text)
		if err != nil {
			t.Skip()
		}
		require.Empty(t, cost.Parser.Within(len(text), func() { Canonical(v) }))
		once := Canonical(v)
		require.True(t, json.Valid(once), "%q", once)
		require.LessOrEqual(t, len(once), 24*len(text)+24)

		again, err := value(once)
		require.NoError(t, err)
		require.Equal(t, once, Canonical(again), "it is its own canonical form")

		respelled, err := json.MarshalIndent(v, " ", "\t") // other white space, other escapes
		require.NoError(t, err)
		other, err := value(respelled)
		require.NoError(t, err)
		require.Equal(t, string(once), string(Canonical(other)))
	})
}
