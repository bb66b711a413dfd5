package mockbank_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/mockbank"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/ofb"
)

func open(t *testing.T) *mockbank.Bank {
	t.Helper()
	schema, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "samples", "mockbank", "schema.sql"))
	require.NoError(t, err)
	b, err := mockbank.Open(t.Context(), storetest.Empty(t), string(schema))
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b
}

func one[T any](t *testing.T, b *mockbank.Bank, query string, args ...any) (v T) {
	t.Helper()
	require.NoError(t, b.Pool().QueryRow(t.Context(), query, args...).Scan(&v), query)
	return v
}

// TestTheBankWritesAsSuchCoresDo holds the driver to what the sample's page says of it: tests lean on these habits.
func TestTheBankWritesAsSuchCoresDo(t *testing.T) {
	b, ctx := open(t), context.Background()
	b.KeepLedger()
	require.NoError(t, b.Client(ctx, "alfa", "org", "sw", "https://a.example"))
	require.NoError(t, b.Client(ctx, "alfa", "org", "sw"))
	require.True(t, one[bool](t, b, "SELECT webhook_uris IS NULL FROM oauth_clients"))

	consent, err := b.New(ctx, ofb.PaymentConsent, "alfa", func(r mockbank.Row) { r["expires_at"] = time.Now().Add(-time.Second) })
	require.NoError(t, err)
	payments, err := b.Pay(ctx, ofb.PixPayment, "alfa", consent, 5)
	require.NoError(t, err)
	require.Equal(t, 1, one[int](t, b, "SELECT count(DISTINCT xmin::text)::int FROM payments"), "many new payments are one insert")
	require.Equal(t, 1, one[int](t, b, "SELECT extract(year FROM min(status_updated_at) AT TIME ZONE 'UTC')::int FROM payments"))
	require.NoError(t, b.Move(ctx, ofb.PixPayment, payments[0], ofb.RJCT))
	before := one[string](t, b, "SELECT (to_jsonb(p) - 'updated_at')::text FROM payments p WHERE id = $1", payments[0])
	version := one[string](t, b, "SELECT xmin::text FROM payments WHERE id = $1", payments[0])
	require.NoError(t, b.Touch(ctx, ofb.PixPayment, payments[0]))
	require.Equal(t, before, one[string](t, b, "SELECT (to_jsonb(p) - 'updated_at')::text FROM payments p WHERE id = $1", payments[0]))
	require.NotEqual(t, version, one[string](t, b, "SELECT xmin::text FROM payments WHERE id = $1", payments[0]), "a save writes even when nothing changed")

	require.Equal(t, "AWAITING_AUTHORISATION", one[string](t, b, "SELECT status FROM payment_consents"), "time alone changes nothing")
	require.NoError(t, b.Read(ctx, consent))
	require.Equal(t, "TEMPO_EXPIRADO_AUTORIZACAO", one[string](t, b, "SELECT rejection->>'code' FROM payment_consents WHERE status = 'REJECTED'"))

	ledger, err := b.Ledger(ctx)
	require.NoError(t, err)
	require.Equal(t, []ofb.Status{ofb.AwaitingAuthorisation, ofb.Rejected}, ledger[ofb.PaymentConsent]["urn:mockbank:consent:"+consent])
	require.Equal(t, []ofb.Status{ofb.RCVD, ofb.RJCT, ofb.RJCT}, ledger[ofb.PixPayment][payments[0]])
	for _, kind := range []ofb.Kind{ofb.RecurringConsent, ofb.Enrollment} {
		id, err := b.New(ctx, kind, "alfa")
		require.NoError(t, err)
		require.NoError(t, b.Move(ctx, kind, id, ofb.Authorised))
	}
}
