package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/ofb"
)

// TestNoTemporaryTableStandsInThePlaceOfOurs: who has the rights of serve alone must not steer a function that acts as the owner.
func TestNoTemporaryTableStandsInThePlaceOfOurs(t *testing.T) {
	b := newSealedBench(t)
	b.accept(oldPayment("held", 1, "ACSC"))
	_, _, err := b.log.PlaceHold(asAuditor(t), history.Hold{Name: "court", Kind: ofb.PixPayment, ResourceID: "held", Reason: "court"})
	require.NoError(t, err)
	b.aged("held")
	b.do("SET ROLE arauto_app")
	b.do("CREATE TEMPORARY TABLE hold (LIKE arauto.hold)") // it holds nothing
	b.do("GRANT ALL ON pg_temp.hold TO PUBLIC")
	require.Zero(t, one[int](b.bench, "SELECT gone FROM erase_documents('{2 ACSC}', interval '30 days', 10)"))
	b.do("RESET ROLE")
	require.NotEmpty(t, one[[]byte](b.bench, "SELECT document FROM resource WHERE id = 'held'"))

	require.Empty(t, one[[]string](b.bench, `SELECT coalesce(array_agg(proname::text), '{}') FROM pg_proc
WHERE pronamespace = 'arauto'::regnamespace AND (prosecdef OR proname LIKE 'check\_%') AND NOT coalesce(proconfig, '{}') @> ARRAY['search_path=arauto, pg_temp']`))
}
