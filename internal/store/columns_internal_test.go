package store

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// TestColumnsThatWaitAreEmptyAndHoldNoChange: each column is emptied, keeps its room, and what points into a change is forgotten.
func TestColumnsThatWaitAreEmptyAndHoldNoChange(t *testing.T) {
	var made resourceColumns
	var entries entryColumns
	for range 3 {
		c := &notice.Change{Kind: ofb.PixPayment, ResourceID: "p", Client: "itp", OccurredAt: time.Now(), Document: []byte(`{"a":1}`)}
		made.add(c, 0, false, []byte("found"))
		entries.add(entryRow{kind: "change", facts: "{}", private: "{}"})
	}
	made, entries = made.emptied(), entries.emptied()
	for _, columns := range []any{made, entries} {
		v := reflect.ValueOf(columns)
		for i := range v.NumField() {
			require.Zero(t, v.Field(i).Len(), v.Type().Field(i).Name)
			require.GreaterOrEqual(t, v.Field(i).Cap(), 3, v.Type().Field(i).Name)
		}
	}
	for _, column := range [][][]byte{made.hash[:3], made.document[:3], made.found[:3]} {
		require.Equal(t, make([][]byte, 3), column)
	}
	require.Equal(t, make([]string, 3), made.watched[:3])
	require.Equal(t, make([]string, 3), entries.facts[:3])
	require.Zero(t, entries.private[:3][0])
}
