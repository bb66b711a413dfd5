package openapi_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/openapi"
)

// mutator makes documents that are nearly right.
type mutator struct {
	*rand.Rand
	texts []string // of all members of all samples
}

func newMutator(seed uint64) *mutator {
	texts := map[string]bool{}
	for _, s := range samples() {
		eachMember("", s.data(), func(_ string, value any) {
			if text, is := value.(string); is {
				texts[text] = true
			}
		})
	}
	return &mutator{rand.New(rand.NewPCG(seed, 1)), slices.Sorted(maps.Keys(texts))}
}

// alphabet has what patterns tell apart, and what they must not take for it.
var alphabet = []string{
	"0", "1", "9", "a", "Z", "E", "-", "_", ".", ":", "/", "T", "Z", " ", "\n", "\r", "\x00", "\x7f", "\u0080", "¡", "é", "ÿ", "Ā", "€", "٣", "😀", "\xff",
	"\u2028", "%", "#", "'", `\`, "(", "+",
}

// text changes a text in one to three places, or takes another.
func (m *mutator) text(s string) string {
	switch m.IntN(8) {
	case 0:
		return m.texts[m.IntN(len(m.texts))]
	case 1:
		return strings.Repeat(s, m.IntN(12))
	}
	for range 1 + m.IntN(3) {
		at := m.IntN(len(s) + 1)
		c := alphabet[m.IntN(len(alphabet))]
		if from := m.IntN(len(s) + 1); from < len(s) && m.IntN(2) == 0 {
			c = s[from : from+1] // one that is likely to be right
		}
		switch {
		case m.IntN(3) == 0 || at == len(s):
			s = s[:at] + c + s[at:]
		case m.IntN(2) == 0:
			s = s[:at] + s[at+1:]
		default:
			s = s[:at] + c + s[at+1:]
		}
	}
	return s
}

// value is another value in the place of one.
func (m *mutator) value(old any) any {
	odd := []any{
		nil, true, false, "", "x",
		[]any{},
		[]any{nil},
		[]any{"x", "x"},
		map[string]any{},
		map[string]any{"x": nil},
		json.Number("0"), json.Number("-0"),
		json.Number("1.0"), json.Number("2"), json.Number("24.5"), json.Number("60"), json.Number("61"), json.Number("1e1"), json.Number("1e400"),
		json.Number("2147483648"), json.Number("9223372036854775808"), json.Number("0.1e1"),
	}
	if m.IntN(4) == 0 {
		return odd[m.IntN(len(odd))]
	}
	switch v := old.(type) {
	case string:
		return m.text(v)
	case []any:
		return slices.Repeat(v, m.IntN(5))
	case map[string]any:
		copied := maps.Clone(v)
		copied[[]string{"extra", "", "status", "automatic", "sweeping", "vrp", "issuer"}[m.IntN(7)]] = odd[m.IntN(len(odd))]
		return copied
	}
	return odd[m.IntN(len(odd))]
}

// original is a sample with its members.
type original struct {
	sample
	content  map[string]any
	pointers []string
}

func originals() []original {
	var all []original
	for _, s := range samples() {
		o := original{sample: s, content: s.data()}
		eachMember("", o.content, func(pointer string, _ any) { o.pointers = append(o.pointers, pointer) })
		all = append(all, o)
	}
	return all
}

// copied is a value that can be changed without the original.
func copied(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, member := range v {
			out[name] = copied(member)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = copied(item)
		}
		return out
	}
	return value
}

// document is a sample with one member changed, or seldom several.
func (m *mutator) document(o original) map[string]any {
	data, _ := copied(o.content).(map[string]any)
	pointers := o.pointers
	for {
		pointer := pointers[m.IntN(len(pointers))]
		change(data, pointer, m.value(memberAt(data, pointer)), m.IntN(8) == 0)
		if m.IntN(4) != 0 {
			return data
		}
		pointers = nil
		eachMember("", data, func(pointer string, _ any) {
			if !strings.Contains(pointer, "//") && !strings.HasSuffix(pointer, "/") { // change knows no empty names
				pointers = append(pointers, pointer)
			}
		})
		if len(pointers) == 0 {
			return data
		}
	}
}

// memberAt is the value at a pointer that is there.
func memberAt(data map[string]any, pointer string) (value any) {
	value = data
	for name := range strings.SplitSeq(pointer[1:], "/") {
		switch v := value.(type) {
		case map[string]any:
			value = v[name]
		case []any:
			i, _ := strconv.Atoi(name)
			value = v[i]
		}
	}
	return value
}

// TestTheCompiledSchemasAgreeWithTheValidator asks both about 20,000 documents, or with ARAUTO_LONG=1 two million, each strictly
// and leniently. A compiled schema could refuse what it leaves to the validator. Of our documents that is nothing, so both
// must say the same.
func TestTheCompiledSchemasAgreeWithTheValidator(t *testing.T) {
	documents := 20_000
	if os.Getenv("ARAUTO_LONG") != "" {
		documents = 2_000_000
	}
	strict, lenient := load(t), loadLenient(t)
	all, m := originals(), newMutator(13)
	accepted := 0
	for i := range documents {
		s := all[i%len(all)]
		data := m.document(s)
		for _, schemas := range []*openapi.Schemas{strict, lenient} {
			compiled, validator := schemas.Verdicts(s.kind, s.version, data)
			if compiled != validator {
				text, _ := json.Marshal(data)
				t.Fatalf("%s: compiled says %t, the validator says %t of %s", s.name, compiled, validator, text)
			}
			if validator {
				accepted++
			}
		}
	}
	require.Greater(t, accepted, documents/5, "hardly any document is accepted")
	require.Less(t, accepted, 2*documents*4/5, "hardly any document is refused")
	t.Logf("%d documents, %d of %d verdicts accept", documents, accepted, 2*documents)
}

func FuzzTheCompiledSchemasAgreeWithTheValidator(f *testing.F) {
	for _, s := range samples() {
		if strings.HasSuffix(s.name, "complete") {
			f.Add(uint8(s.kind), s.version, s.document())
		}
	}
	strict, lenient := load(f), loadLenient(f)
	f.Fuzz(func(t *testing.T, kind uint8, version string, document []byte) {
		decoder := json.NewDecoder(strings.NewReader(string(document)))
		decoder.UseNumber()
		var data map[string]any
		if !strict.Known(ofb.Kind(kind), version) || decoder.Decode(&data) != nil {
			return
		}
		for _, schemas := range []*openapi.Schemas{strict, lenient} {
			if compiled, validator := schemas.Verdicts(ofb.Kind(kind), version, data); compiled != validator {
				t.Errorf("compiled says %t, the validator says %t", compiled, validator)
			}
		}
	})
}
