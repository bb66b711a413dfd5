package ofb

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Hash is the SHA-256 of the canonical form. Two documents have the same hash when they are equal as JSON values.
func Hash(value any) [32]byte {
	var room [2048]byte // most documents are shorter
	return sha256.Sum256(appendCanonical(room[:0], value))
}

// Canonical gives the one text that all spellings of a JSON value share: members sorted by the bytes of their names, no
// white space, strings escaped only where JSON demands it, numbers by their exact decimal value, so that 1, 1.0 and
// 1e0 are one number while no digit is lost. The text is JSON again. Its length is bounded by that of the value's own
// text: an exponent is never written out beyond 20 zeros.
//
// The value is what encoding/json decodes with UseNumber into an any; a float64 is taken as its shortest decimal. Any
// other type is a programmer's mistake and panics.
func Canonical(value any) []byte { return appendCanonical(make([]byte, 0, 1024), value) }

func appendCanonical(b []byte, value any) []byte {
	switch v := value.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case string:
		return appendString(b, v)
	case json.Number:
		return appendNumber(b, string(v))
	case float64:
		return appendNumber(b, strconv.FormatFloat(v, 'g', -1, 64))
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendCanonical(b, item)
		}
		return append(b, ']')
	case map[string]any:
		b = append(b, '{')
		var room [24]string // members of most objects
		names := slices.AppendSeq(room[:0], maps.Keys(v))
		slices.Sort(names)
		for i, name := range names {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, name), ':')
			b = appendCanonical(b, v[name])
		}
		return append(b, '}')
	default:
		panic(fmt.Sprintf("ofb: %T is not a decoded JSON value", value))
	}
}

// appendString writes a JSON string with the fewest escapes: quote, backslash and control characters. What is not
// UTF-8 becomes U+FFFD, as in encoding/json.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// maxZeros is how many zeros a whole number may end in before its exponent is written instead.
const maxZeros = 20

// appendNumber writes a JSON number by its value: the significant digits, then an exponent if there is one. It works
// on the text, so that neither precision nor memory depends on how large the number is.
func appendNumber(b []byte, text string) []byte {
	unsigned, negative := strings.CutPrefix(text, "-")
	mantissa, power := unsigned, "0"
	if i := strings.IndexAny(unsigned, "eE"); i >= 0 {
		mantissa, power = unsigned[:i], strings.TrimPrefix(unsigned[i+1:], "+")
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")

	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return append(b, '0') // minus zero is zero
	}
	exponent, ok := new(big.Int).SetString(power, 10) // may have as many digits as the text is long
	if !ok {
		panic(fmt.Sprintf("ofb: %.40q is not a JSON number", text))
	}
	significant := strings.TrimRight(digits, "0")
	exponent.Add(exponent, big.NewInt(int64(len(digits)-len(significant)-len(fraction))))

	if negative {
		b = append(b, '-')
	}
	b = append(b, significant...)
	switch {
	case exponent.Sign() == 0:
		return b
	case exponent.Sign() > 0 && exponent.Cmp(big.NewInt(maxZeros)) <= 0:
		return append(b, strings.Repeat("0", int(exponent.Int64()))...)
	default:
		return exponent.Append(append(b, 'e'), 10)
	}
}
