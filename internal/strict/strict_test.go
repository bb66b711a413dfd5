package strict

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
)

func value(r *Reader, text string) (any, error) {
	return r.Value(jsontext.NewDecoder(strings.NewReader(text)), 1)
}

func TestAValueIsReadAsItIsWritten(t *testing.T) {
	got, err := value(&Reader{Depth: 3, Memory: 9999}, ` {"a":[null,true,"é\n",1.50,[]],"b":{},"c":123456789012345678901234567890} rest`)
	require.NoError(t, err)
	require.Equal(t, map[string]any{
		"a": []any{nil, true, "é\n", json.Number("1.50"), []any{}}, "b": map[string]any{}, "c": json.Number("123456789012345678901234567890"),
	}, got)
}

func TestWhatIsTooDeepTwiceThereOrNoJSONIsRefused(t *testing.T) {
	deep := &Reader{Depth: 2, Memory: 9999}
	_, err := value(deep, `{"a":[]}`)
	require.NoError(t, err)
	for _, text := range []string{`{"a":[[]]}`, `[[{}]]`} {
		_, err = value(deep, text)
		require.ErrorIs(t, err, ErrDeep)
	}
	_, err = value(deep, `{"a":1,"a":2}`)
	require.ErrorIs(t, err, jsontext.ErrDuplicateName)
	for _, text := range []string{"", "[1", `{"a"`, `{"a":}`, "[1 2]", "\"\xff\"", "nul"} {
		_, err = value(deep, text)
		require.Error(t, err, text)
	}
}

func TestANumberIsTheReadersToJudge(t *testing.T) {
	large := errors.New("large")
	r := &Reader{Depth: 9, Memory: 9999, Number: func(text string) (any, error) {
		if len(text) > 3 {
			return nil, large
		}
		return len(text), nil
	}}
	got, err := value(r, `[12,{"a":345}]`)
	require.NoError(t, err)
	require.Equal(t, []any{2, map[string]any{"a": 3}}, got)
	_, err = value(r, `{"a":[1234]}`)
	require.ErrorIs(t, err, large)
}

func TestAValueTakesNoMoreMemoryThanItMay(t *testing.T) {
	lists := &Reader{Depth: 9, Memory: 4 * valueTakes}
	for _, text := range []string{`[1,2,3]`, `[[]] [1]`, `[[[1]]]`, `"x"`, `{}`} {
		for range 2 { // nothing is kept from the value before
			_, err := value(lists, text)
			require.NoError(t, err, text)
		}
	}
	for _, text := range []string{`[1,2,3,4]`, `[[[[1]]]]`, `[{},{},{},{}]`, `{"a":1}`} {
		_, err := value(lists, text)
		require.ErrorIs(t, err, ErrMany, text)
	}
	object := &Reader{Depth: 9, Memory: 3*valueTakes + objectTakes + memberTakes}
	_, err := value(object, `{"a":1,"b":2}`)
	require.NoError(t, err)
	for _, text := range []string{`{"a":1,"b":2,"c":3}`, `{"a":{"b":2}}`} {
		_, err := value(object, text)
		require.ErrorIs(t, err, ErrMany, text)
	}
}

// TestNamesAreKeptAndNothingElseChanges reads with and without Names: values and errors are the same, of texts that are no JSON too.
func TestNamesAreKeptAndNothingElseChanges(t *testing.T) {
	names := &Names{}
	plain, kept := Reader{Depth: 4, Memory: MaxMemory}, Reader{Depth: 4, Memory: MaxMemory, Names: names}
	large := "{"
	for n := range mostNames + 100 {
		large += fmt.Sprintf(`"member%d":%d,`, n, n)
	}
	large = strings.TrimSuffix(large, ",") + "}"
	for _, text := range []string{
		`{"a":1,"b":{"a":2}}`, `{"a\u0062":1,"\"":2}`, `{"é":1}`, `{"":1}`, `{"` + strings.Repeat("n", longestName+1) + `":1}`, large, `{}`, `{"a":[{"a":1},{"a":2}]}`,
		`{"a":1,"a":2}`, `{"ab":1,"a\u0062":2}`, `{"a" 1}`, `{"a":1,}`, `{1:2}`, `{null:2}`, `{"a":1 "b":2}`, "{\"\xff\":1}", `{"\ud800":1}`, `{"a`, `{"a":1`, `{,}`, `[`, `{"x":[{"y":1,"y":2}]}`,
	} {
		for range 2 {
			want, refusal := value(&plain, text)
			got, err := value(&kept, text)
			require.Equal(t, want, got, text)
			require.Equal(t, fmt.Sprint(refusal), fmt.Sprint(err), text)
		}
	}
	require.LessOrEqual(t, len(names.known), mostNames)
	require.Equal(t, mostMembers, names.last)
	for name := range names.known {
		require.LessOrEqual(t, len(name), longestName)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { names.Of([]byte("member1")) }))
}

// FuzzNames compares reading with and without Names.
func FuzzNames(f *testing.F) {
	f.Add(`{"a":{"b":1,"a":null}}`)
	names := &Names{}
	f.Fuzz(func(t *testing.T, text string) {
		want, refusal := value(&Reader{Depth: 9, Memory: MaxMemory}, text)
		got, err := value(&Reader{Depth: 9, Memory: MaxMemory, Names: names}, text)
		require.Equal(t, want, got)
		require.Equal(t, fmt.Sprint(refusal), fmt.Sprint(err))
	})
}
