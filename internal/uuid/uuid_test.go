package uuid_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/uuid"
)

func TestAnIDIsWrittenInLowerCaseAndReadInBoth(t *testing.T) {
	const text = "0193b2c4-5d6e-7f80-91a2-b3c4d5e6f708"
	id, err := uuid.Parse(text)
	require.NoError(t, err)
	require.Equal(t, text, id.String())
	upper, err := uuid.Parse(strings.ToUpper(text))
	require.NoError(t, err)
	require.Equal(t, id, upper)
	require.False(t, id.IsZero())
	require.True(t, uuid.UUID{}.IsZero())
	require.Equal(t, "00000000-0000-0000-0000-000000000000", uuid.UUID{}.String())
}

func TestWhatIsNoUUIDIsRefusedAndRepeatedInPartAtMost(t *testing.T) {
	for _, text := range []string{
		"", "0193b2c4", "0193b2c45d6e7f8091a2b3c4d5e6f708", "{0193b2c4-5d6e-7f80-91a2-b3c4d5e6f708}", "0193b2c4-5d6e-7f80-91a2-b3c4d5e6f70", "0193b2c4-5d6e-7f80-91a2-b3c4d5e6f7080",
		"0193b2c4-5d6e-7f80-91a2_b3c4d5e6f708", "0193b2c-45d6e-7f80-91a2-b3c4d5e6f708", "0193b2c4-5d6e-7f80-91a2-b3c4d5e6f70g", "0193b2c4-5d6e-7f80-91a2--3c4d5e6f708",
		" 193b2c4-5d6e-7f80-91a2-b3c4d5e6f708", "urn:uuid:0193b2c4-5d6e-7f80-91a2-b3c4d5e6f708", "0193b2c4-5d6e-7f80-91a2-b3c4d5e6f7\xc3\xa3", strings.Repeat("0", 10_000),
	} {
		id, err := uuid.Parse(text)
		require.Error(t, err, text)
		require.True(t, id.IsZero())
		require.Less(t, len(err.Error()), 200)
	}
}

func TestAnIDIsAStringInJSONBothWays(t *testing.T) {
	id := uuid.UUID{1, 2, 3}
	text, err := json.Marshal(map[string]uuid.UUID{"id": id})
	require.NoError(t, err)
	require.JSONEq(t, `{"id":"01020300-0000-0000-0000-000000000000"}`, string(text))
	var back map[string]uuid.UUID
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, id, back["id"])
	require.Error(t, json.Unmarshal([]byte(`{"id":"x"}`), &back))
}

func FuzzParse(f *testing.F) {
	f.Add("0193b2c4-5d6e-7f80-91a2-b3c4d5e6f708")
	f.Add("0193B2C4-5D6E-7F80-91A2-B3C4D5E6F708")
	f.Add("")
	f.Add(strings.Repeat("-", 36))
	f.Fuzz(func(t *testing.T, text string) {
		id, err := uuid.Parse(text)
		if err != nil {
			require.True(t, id.IsZero())
			return
		}
		require.Equal(t, strings.ToLower(text), id.String())
		again, err := uuid.Parse(id.String())
		require.NoError(t, err)
		require.Equal(t, id, again)
	})
}
