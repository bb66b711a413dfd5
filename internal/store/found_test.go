package store_test

import (
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// TestFormsOfWhatPaymentsAreFoundBy compares with the forms as the rules write them.
func TestFormsOfWhatPaymentsAreFoundBy(t *testing.T) {
	endToEnd, cnpj, root := regexp.MustCompile(`^E[0-9A-Z]{8}[0-9]{12}[a-zA-Z0-9]{11}$`), regexp.MustCompile(`^[0-9A-Z]{12}[0-9]{2}$`), regexp.MustCompile(`^[0-9A-Z]{8}$`)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringMatching(endToEnd.String()), rapid.StringMatching(cnpj.String()), rapid.StringMatching(root.String())).Draw(t, "text")
		if at := rapid.IntRange(-1, len(text)).Draw(t, "at"); at >= 0 {
			text = text[:at] + rapid.SampledFrom([]string{"", "a", "A", "0", "-", "é", "\n"}).Draw(t, "there") + text[min(len(text), at+1):]
		}
		require.Equal(t, endToEnd.MatchString(text), store.IsEndToEndID(text), "%q", text)
		require.Equal(t, cnpj.MatchString(text), store.IsCNPJ(text), "%q", text)
		require.Equal(t, root.MatchString(text), store.IsCNPJRoot(text), "%q", text)
	})
}

func TestPaymentsOfOneTimeStandTogether(t *testing.T) {
	key := []byte("key")
	at := func(minute, rest string) []byte { return store.FoundBy(key, "E12345678"+minute+rest) }
	var marks [][]byte
	for _, minute := range []string{"199901010000", "202611281159", "202611281200", "202611290000", "205001010000"} {
		marks = append(marks, at(minute, "zzzzzzzzzzz"), at(minute, "aaaaaaaaaaa"))
	}
	for i := 0; i < len(marks); i += 2 {
		require.Len(t, marks[i], store.MarkSize)
		require.Equal(t, marks[i][:4], marks[i+1][:4])
		require.NotEqual(t, marks[i][4:], marks[i+1][4:])
		if i > 0 {
			require.Negative(t, slices.Compare(marks[i-1][:4], marks[i][:4]))
		}
	}
	require.Equal(t, store.Mark(key, "E12345678999999999999aaaaaaaaaaa"), at("999999999999", "aaaaaaaaaaa"), "it names no minute")
	require.NotEqual(t, at("202611281159", "aaaaaaaaaaa")[4:], store.FoundBy([]byte("other"), "E12345678202611281159aaaaaaaaaaa")[4:])
}

// TestACompanyIsStoredOnce: also when another process stored it meanwhile.
func TestACompanyIsStoredOnce(t *testing.T) {
	b := newBench(t, ofb.PixPayment)
	pay := func(id, cnpj string) {
		c := payment("itp", id, 1, "ACSC")
		c.Data["cnpjInitiator"] = cnpj
		b.accept(c)
	}
	stored := func() []string {
		return one[[]string](b, "SELECT coalesce(array_agg(root || ' ' || client_id ORDER BY root), '{}') FROM find_cnpj")
	}
	pay("a", "50685362000135")
	pay("b", "50685362000135")
	require.Equal(t, []string{"50685362 itp"}, stored())
	b.do("INSERT INTO find_cnpj VALUES ('12345678', 'itp')")
	pay("c", "12345678000195")
	pay("d", "A2345678000195")
	pay("e", "no company")
	require.Equal(t, []string{"12345678 itp", "50685362 itp", "A2345678 itp"}, stored())
	b.do("DELETE FROM find_cnpj")
	pay("f", "50685362000135")
	require.Empty(t, stored(), "it is remembered")
}

// TestAPaymentOfAnOlderVersionIsFoundAsWell: its resource has no mark, and the fold keeps one beside.
func TestAPaymentOfAnOlderVersionIsFoundAsWell(t *testing.T) {
	f := newFigured(t)
	f.register("itp", "https://itp.example/hook")
	const old, young = "E1234567820261128120012345678901", "E1234567820261128120112345678901"
	for _, id := range []string{old, young} {
		c := payment("itp", id, 1, "ACSC")
		c.Data["endToEndId"], c.Data["cnpjInitiator"] = id, "50685362000135"
		f.accept(c)
	}
	const recurring = "E1234567820261128120212345678901"
	c := change{Kind: ofb.RecurringPayment.String(), ClientID: "itp", APIVersion: "v2", Revision: 1, OccurredAt: time.Now()}
	c.Data = openapitest.Data(ofb.RecurringPayment, "v2", ofb.ACSC, "r-1")
	c.Data["endToEndId"], c.Data["cnpjInitiator"] = recurring, "50685362000135"
	f.accept(c)
	f.do("UPDATE resource SET found = NULL WHERE id = ANY('{" + old + ",r-1}')")
	f.do("DELETE FROM find_cnpj")
	f.seal()
	f.fold()
	require.Equal(t, [][]byte{store.Mark(one[[]byte](f.bench, "SELECT key FROM keyring WHERE name = 'find'"), recurring)},
		one[[][]byte](f.bench, "SELECT array_agg(digest) FROM find_resource WHERE kind = 4 AND resource_id = 'r-1'"))
	f.do("DELETE FROM find_resource WHERE kind = 4")
	require.Equal(t, []string{old}, one[[]string](f.bench, "SELECT array_agg(resource_id) FROM find_resource"))
	require.Equal(t, 1, one[int](f.bench, "SELECT count(*) FROM find_cnpj"))
	for _, id := range []string{old, young} {
		found, err := f.log.Find(t.Context(), id)
		require.NoError(t, err)
		require.Contains(t, found.Hits, history.Hit{Type: history.HitEndToEnd, ID: id, Kind: ofb.PixPayment, ResourceID: id, Client: "itp"})
	}
}
