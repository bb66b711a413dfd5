package history

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// TestFactsAreWrittenAsTheStandardLibraryDoes compares the bytes of random facts with json.Marshal's: any member may be absent, text holds what JSON
// escapes, and instants have other zones and years that JSON refuses. The bytes are sealed, so not one may differ.
func TestFactsAreWrittenAsTheStandardLibraryDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for _, empty := range []interface{ AppendJSON([]byte) ([]byte, error) }{ChangeFacts{}, AttemptFacts{}, ResultFacts{}, PrivateFacts{}} {
		kind := reflect.TypeOf(empty)
		for i := range 5000 {
			value := reflect.New(kind).Elem()
			if i > 0 { // the first is empty
				fill(r, value)
			}
			facts, is := value.Interface().(interface{ AppendJSON([]byte) ([]byte, error) })
			require.True(t, is)
			want, refusal := json.Marshal(facts)
			got, err := facts.AppendJSON([]byte("before"))
			if refusal != nil {
				refused++
				require.Error(t, err, "%+v", facts)
				continue
			}
			require.NoError(t, err, "%+v", facts)
			require.Equal(t, "before"+string(want), string(got))
		}
	}
	require.NotZero(t, refused, "no instant was out of range")
}

var pieces = []string{"a", "https://x.example/é", `"`, `\`, "<b>&", "\n", "\x00", "\x7f", "\u2028", "\xff", "\xed\xa0\x80", "😀", " ", "'", "/"}

// fill gives each field a random value, often none. A kind of field that it does not know fails the test.
func fill(r *rand.Rand, v reflect.Value) {
	for i := range v.NumField() {
		field := v.Field(i)
		if r.IntN(3) == 0 {
			continue
		}
		switch at := field.Addr().Interface().(type) {
		case *time.Time:
			*at = instant(r)
			continue
		case **notice.TLSFacts:
			*at = &notice.TLSFacts{}
			fill(r, reflect.ValueOf(*at).Elem())
			continue
		case **FirstFacts:
			*at = &FirstFacts{}
			fill(r, reflect.ValueOf(*at).Elem())
			continue
		}
		switch field.Kind() {
		case reflect.String:
			field.SetString(text(r))
		case reflect.Int, reflect.Int64:
			field.SetInt(r.Int64() - r.Int64())
		case reflect.Bool:
			field.SetBool(true)
		case reflect.Slice:
			list := make([]string, r.IntN(3))
			for i := range list {
				list[i] = text(r)
			}
			field.Set(reflect.ValueOf(list))
		default:
			panic("a field of kind " + field.Kind().String() + " has no random value")
		}
	}
}

func text(r *rand.Rand) string {
	var out strings.Builder
	for range r.IntN(4) {
		out.WriteString(pieces[r.IntN(len(pieces))])
	}
	return out.String()
}

func instant(r *rand.Rand) time.Time {
	at := time.Unix(r.Int64N(4_000_000_000), r.Int64N(1_000_000_000))
	switch r.IntN(20) {
	case 0:
		at = at.AddDate(9000, 0, 0)
	case 1:
		at = at.In(time.FixedZone("", r.IntN(86_400)-43_200))
	case 2:
		at = at.Truncate(time.Second)
	}
	if r.IntN(2) == 0 {
		return at.UTC()
	}
	return at.In(time.FixedZone("", -3*3600))
}
