package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// personal is what the documents below have of persons, companies, accounts and free text.
var personal = []string{
	"99999999999", "99999999000191", "Fict\\u00edci", "Fictíci", "fictício", "1234567890", "br.gov.bcb.pix", "eyJmaWN0aWNpbyI6dHJ1ZX0", "Texto do pagador",
}

// TestNothingOfAPersonIsInTheLog is the ground of case M10: the log has no personal field, so that nothing in it would have
// to be erased on anybody's request. Documents with persons in them go every way a change can: applied, repeated,
// conflicting, refused, put aside, told, and asked for.
func TestNothingOfAPersonIsInTheLog(t *testing.T) {
	h := open(t)
	alfa := certs.DefaultAlfa
	h.initiator(alfa)
	poll := h.poller(alfa)
	conn, err := pgx.Connect(t.Context(), h.url)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var kept strings.Builder
	at := time.Now().UTC()
	send := func(kind ofb.Kind, revision int64, data []byte) string {
		a, err := h.core.Change(t.Context(), stage.Change{
			Kind: kind.String(), ClientID: alfa.Name, APIVersion: kind.Versions()[len(kind.Versions())-1], Revision: revision, OccurredAt: at, Data: data,
		})
		if err != nil {
			require.NotContains(t, err.Error(), "99999999")
			return "refused"
		}
		return a.Outcome
	}
	told := map[string]int{}
	for i, kind := range ofb.Kinds() {
		version, id := kind.Versions()[len(kind.Versions())-1], openapitest.SampleID(kind, i)
		status := ofb.Rejected
		if kind == ofb.PixPayment || kind == ofb.RecurringPayment {
			status = ofb.RJCT
		}
		document := func(text string) []byte {
			return openapitest.Document(kind, version, status, id, openapitest.Complete(), openapitest.Edit(func(data map[string]any) {
				if text != "" && (kind == ofb.PixPayment || kind == ofb.RecurringPayment) {
					data["remittanceInformation"] = text
				}
			}))
		}
		told[send(kind, 2, document("Texto do pagador"))]++
		told[send(kind, 2, document("Texto do pagador"))]++
		told[send(kind, 2, document("Texto do pagador, outro"))]++
		told[send(kind, 1, document(""))]++
		told[send(kind, 3, []byte(`{"status":"99999999999","Pessoa Fictícia":"99999999000191"}`))]++
		rows, err := conn.Query(t.Context(), "SELECT document FROM arauto.resource WHERE id = $1", id)
		require.NoError(t, err)
		documents, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
		require.NoError(t, err)
		for _, column := range documents {
			text, err := store.Unpack(column)
			require.NoError(t, err)
			kept.Write(append(text, ' '))
		}
		if kind == ofb.PixPayment {
			_, _, body, err := poll.get(id)
			require.NoError(t, err)
			require.NotEmpty(t, body)
		}
	}
	require.GreaterOrEqual(t, told["applied"], 5, "%v", told)
	require.NotZero(t, told["duplicate"], "%v", told)
	require.NotZero(t, told["refused"], "%v", told)

	h.recorded()
	var log string
	h.until("the attempts' ends", func() bool {
		var results int
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FILTER (WHERE kind = 'result'), string_agg(e::text, E'\\n') FROM arauto.entry e").Scan(&results, &log))
		return results >= 3
	})
	require.NotZero(t, strings.Count(log, ",poll,"), "the status query is in the log")
	found := 0
	for _, secret := range personal {
		require.NotContains(t, log, secret)
		if strings.Contains(kept.String(), secret) {
			found++
		}
	}
	require.GreaterOrEqual(t, found, 5, "the documents have what is looked for")
}
