package intake

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// withSchemas is an intake with the API's own schemas and all timers.
func withSchemas(t testing.TB) *Intake {
	t.Helper()
	s, err := schemas()
	require.NoError(t, err)
	return New(Config{Schema: s, NewID: counter(), Timers: ofb.Kinds()})
}

func codes(problems []notice.Problem) []string {
	out := []string{}
	for _, p := range problems {
		out = append(out, p.Code+" "+p.Pointer)
	}
	return out
}

func TestEveryProblemOfAChangeHasItsPlaceCodeAndBothLanguages(t *testing.T) {
	in := New(Config{Schema: anySchema{}, NewID: counter()})
	const secret = "12345678909"
	for name, c := range map[string]struct {
		override map[string]any
		want     string
	}{
		"kind missing":           {map[string]any{"kind": nil}, "required /kind"},
		"kind unknown":           {map[string]any{"kind": secret}, "enum /kind"},
		"kind in another case":   {map[string]any{"kind": "Pix-Payment"}, "enum /kind"},
		"kind a number":          {map[string]any{"kind": 12345678909}, "type /kind"},
		"client missing":         {map[string]any{"clientId": nil}, "required /clientId"},
		"client empty":           {map[string]any{"clientId": ""}, "format /clientId"},
		"client with space":      {map[string]any{"clientId": "a " + secret}, "format /clientId"},
		"client not ASCII":       {map[string]any{"clientId": "ã" + secret}, "format /clientId"},
		"client too long":        {map[string]any{"clientId": secret + strings.Repeat("x", 245)}, "format /clientId"},
		"client an object":       {map[string]any{"clientId": map[string]any{}}, "type /clientId"},
		"version missing":        {map[string]any{"apiVersion": nil}, "required /apiVersion"},
		"version of others":      {map[string]any{"apiVersion": "v2"}, "enum /apiVersion"},
		"version unknown":        {map[string]any{"apiVersion": secret}, "enum /apiVersion"},
		"version a number":       {map[string]any{"apiVersion": 5}, "type /apiVersion"},
		"revision missing":       {map[string]any{"revision": nil}, "required /revision"},
		"revision a string":      {map[string]any{"revision": secret}, "type /revision"},
		"revision zero":          {map[string]any{"revision": 0}, "range /revision"},
		"revision negative":      {map[string]any{"revision": -12345678909}, "range /revision"},
		"revision fractional":    {map[string]any{"revision": 1.5}, "range /revision"},
		"revision 1.0":           {map[string]any{"revision": json.Number("1.0")}, "range /revision"},
		"revision over 64 bits":  {map[string]any{"revision": json.Number("9223372036854775808")}, "range /revision"},
		"occurredAt missing":     {map[string]any{"occurredAt": nil}, "required /occurredAt"},
		"occurredAt a number":    {map[string]any{"occurredAt": 12345678909}, "type /occurredAt"},
		"occurredAt no instant":  {map[string]any{"occurredAt": secret}, "format /occurredAt"},
		"occurredAt a date":      {map[string]any{"occurredAt": "2026-11-21"}, "format /occurredAt"},
		"occurredAt no offset":   {map[string]any{"occurredAt": "2026-11-21T12:00:00"}, "format /occurredAt"},
		"occurredAt one digit":   {map[string]any{"occurredAt": "2026-11-21T1:00:00Z"}, "format /occurredAt"},
		"occurredAt a comma":     {map[string]any{"occurredAt": "2026-11-21T12:00:00,5Z"}, "format /occurredAt"},
		"occurredAt offset 25 h": {map[string]any{"occurredAt": "2026-11-21T12:00:00+25:00"}, "format /occurredAt"},
		"occurredAt 30 February": {map[string]any{"occurredAt": "2026-02-30T12:00:00Z"}, "format /occurredAt"},
		"occurredAt year 0":      {map[string]any{"occurredAt": "0000-01-01T00:00:00Z"}, "format /occurredAt"},
		"occurredAt our zero":    {map[string]any{"occurredAt": "0001-01-01T00:00:00Z"}, "format /occurredAt"},
		"occurredAt before it":   {map[string]any{"occurredAt": "0001-01-01T00:00:00+01:00"}, "format /occurredAt"},
		"occurredAt past 9999":   {map[string]any{"occurredAt": "9999-12-31T23:59:59-10:00"}, "format /occurredAt"},
		"occurredAt too long":    {map[string]any{"occurredAt": "2026-11-21T12:00:00." + strings.Repeat("1", 64) + "Z"}, "format /occurredAt"},
		"notBefore no instant":   {map[string]any{"notBefore": secret}, "format /notBefore"},
		"notBefore a number":     {map[string]any{"notBefore": 1}, "type /notBefore"},
		"cause timer":            {map[string]any{"cause": "timer"}, "enum /cause"},
		"cause unknown":          {map[string]any{"cause": secret}, "enum /cause"},
		"cause empty":            {map[string]any{"cause": ""}, "enum /cause"},
		"cause a number":         {map[string]any{"cause": 1}, "type /cause"},
		"data missing":           {map[string]any{"data": nil}, "required /data"},
		"data a string":          {map[string]any{"data": secret}, "type /data"},
		"data a list":            {map[string]any{"data": []any{}}, "type /data"},
		"id missing":             {map[string]any{"data": map[string]any{"status": "ACSC"}}, "pattern /data/paymentId"},
		"id a number":            {map[string]any{"data": map[string]any{"paymentId": 1, "status": "ACSC"}}, "pattern /data/paymentId"},
		"id malformed":           {map[string]any{"data": map[string]any{"paymentId": "a/" + secret, "status": "ACSC"}}, "pattern /data/paymentId"},
		"status missing":         {map[string]any{"data": map[string]any{"paymentId": "p-1"}}, "enum /data/status"},
		"status of another kind": {map[string]any{"data": map[string]any{"paymentId": "p-1", "status": "AUTHORISED"}}, "enum /data/status"},
		"status unknown":         {map[string]any{"data": map[string]any{"paymentId": "p-1", "status": secret}}, "enum /data/status"},
	} {
		change := in.change(t, c.override)
		require.Equal(t, []string{c.want}, codes(change.Problems), name)
		p := change.Problems[0]
		require.NotEmpty(t, p.Detail, name)
		require.NotEmpty(t, p.DetailPT, name)
		require.NotEqual(t, p.Detail, p.DetailPT, name)
		require.NotContains(t, p.Detail+p.DetailPT, secret, name)

		// What is kept of it beside the line is ours: no text that was refused.
		kept := strings.Join([]string{change.APIVersion, string(change.Cause), string(change.State.Status), change.ResourceID, string(change.Client), change.Original}, " ")
		require.NotContains(t, kept, secret, name)
		require.Equal(t, notice.Quarantined, in.judge(change, &notice.Past{}).Verdict, name)
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	in := New(Config{Schema: anySchema{}, NewID: counter()})
	c, err := in.Read([]byte(`{}`), Origin{Source: "api", Actor: "core"})
	require.NoError(t, err)
	require.Equal(t, []string{
		"required /kind", "required /clientId", "required /apiVersion", "required /revision", "required /occurredAt", "required /data",
	}, codes(c.Problems))
	require.Equal(t, ofb.Holder, c.Cause)
}

func TestWhatTheSchemaFindsStandsAmongTheProblemsAndNothingIsSaidTwice(t *testing.T) {
	in := withSchemas(t)
	c := in.change(t, map[string]any{"data": document("p-1", "ACSC")})
	require.NotEmpty(t, c.Problems)
	for _, p := range c.Problems {
		require.True(t, strings.HasPrefix(p.Pointer, "/data/"), p.Pointer)
		require.NotEmpty(t, p.DetailPT)
	}
	c = in.change(t, map[string]any{"apiVersion": "v9", "data": json.RawMessage(openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, "p-1"))})
	require.Equal(t, []string{"enum /apiVersion"}, codes(c.Problems))
}

func TestADocumentOfEveryKindVersionAndStateIsReadWithoutProblems(t *testing.T) {
	in := withSchemas(t)
	for _, kind := range ofb.Kinds() {
		for _, version := range kind.Versions() {
			for n, status := range kind.Statuses() {
				id := openapitest.SampleID(kind, n)
				data := openapitest.Document(kind, version, status, id, openapitest.Complete(), openapitest.UnderConsent("urn:bancoexemplo:c"))
				c := in.change(t, map[string]any{"kind": kind.String(), "apiVersion": version, "data": json.RawMessage(data)})
				require.Empty(t, c.Problems, "%s %s %s", kind, version, status)
				require.Equal(t, notice.Key{Kind: kind, ID: id}, c.Key())
				require.Equal(t, status, c.State.Status)
				require.JSONEq(t, string(data), string(c.Document))
				require.Equal(t, ofb.Hash(numbered(t, data)), c.State.Data)
				_, timed := ofb.NextTimer(kind, numbered(t, data).(map[string]any))
				require.Equal(t, timed, c.Timer != nil, "%s %s", kind, status)
				if kind == ofb.PixPayment || kind == ofb.RecurringPayment {
					require.Equal(t, "urn:bancoexemplo:c", c.ConsentID)
				} else {
					require.Empty(t, c.ConsentID)
				}
			}
		}
	}
}

func TestAChangeCarriesItsOrigin(t *testing.T) {
	in := New(Config{Schema: anySchema{}, NewID: counter()})
	text := line(t, map[string]any{"cause": "initiator"})
	c, err := in.Read(text, Origin{Source: "quarantine", Actor: "ana", Quarantine: notice.ID{1}})
	require.NoError(t, err)
	require.Equal(t, "quarantine", c.Source)
	require.Equal(t, "ana", c.Actor)
	require.Equal(t, notice.ID{1}, c.Quarantine)
	require.Equal(t, ofb.Initiator, c.Cause)
	require.Equal(t, text, c.Line)
	require.False(t, c.ID.IsZero())
	require.NotEqual(t, c.ID, in.change(t, nil).ID)
}

func TestInstantsAreNormalisedAndTheOriginalIsKept(t *testing.T) {
	in := New(Config{Schema: anySchema{}, NewID: counter()})
	for original, want := range map[string]time.Time{
		"2026-11-21T09:00:00-03:00":         time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC),
		"2026-11-21T12:00:00.123456789Z":    time.Date(2026, 11, 21, 12, 0, 0, 123456000, time.UTC),
		"2026-11-21T23:30:00.5+14:00":       time.Date(2026, 11, 21, 9, 30, 0, 5e8, time.UTC),
		"1970-01-01T00:00:00Z":              time.Unix(0, 0).UTC(), // any age is accepted
		"0002-01-01T00:00:00Z":              time.Date(2, 1, 1, 0, 0, 0, 0, time.UTC),
		"2024-02-29T23:59:59.999999-23:59":  time.Date(2024, 3, 1, 23, 58, 59, 999999000, time.UTC),
		"2026-11-21T12:00:00.000000000000Z": time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC),
		"2026-11-21t12:00:00.5z":            time.Date(2026, 11, 21, 12, 0, 0, 500_000_000, time.UTC), // RFC 3339 §5.6
	} {
		c := in.change(t, map[string]any{"occurredAt": original})
		require.Empty(t, c.Problems, original)
		require.Equal(t, want, c.OccurredAt, original)
		require.Equal(t, original, c.Original)
		d := in.judge(c, &notice.Past{Push: true})
		require.Equal(t, want.Truncate(time.Second), d.Announce.EventAt, "whole seconds in the body")
		require.Equal(t, want, d.Announce.OccurredAt)
	}
}

func TestAnEventMoreThan60SecondsAheadIsRefusedAndNoneBefore(t *testing.T) {
	in := New(Config{Schema: anySchema{}, NewID: counter()})
	now := time.Now()
	for ahead, want := range map[time.Duration][]string{
		-25 * time.Hour: {}, 0: {}, 60 * time.Second: {}, 60*time.Second + time.Microsecond: {"future /occurredAt"}, 61 * time.Second: {"future /occurredAt"},
	} {
		now := now.Truncate(time.Microsecond)
		m, err := decode(line(t, map[string]any{"occurredAt": now.Add(ahead).UTC().Format(time.RFC3339Nano)}))
		require.NoError(t, err)
		require.Equal(t, want, codes(in.read(nil, m, Origin{}, now).Problems), ahead.String())
	}
}

func TestNotBeforeIsLoweredAndNeverRefused(t *testing.T) {
	in := New(Config{Schema: anySchema{}, NewID: counter()})
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for given, want := range map[string]time.Time{
		"2026-11-21T12:00:01Z":           at.Add(time.Second),
		"2026-11-21T12:00:01.5Z":         at.Add(1500 * time.Millisecond),
		"2026-11-21T12:00:01.500001Z":    at.Add(1500 * time.Millisecond),
		"2099-01-01T00:00:00Z":           at.Add(1500 * time.Millisecond),
		"2026-11-21T09:00:00.25-03:00":   at.Add(250 * time.Millisecond),
		"2020-01-01T00:00:00Z":           time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		"2026-11-21T12:00:01.499999999Z": at.Add(1499999 * time.Microsecond),
	} {
		c := in.change(t, map[string]any{"occurredAt": at.Format(time.RFC3339), "notBefore": given})
		require.Empty(t, c.Problems, given)
		require.Equal(t, want, c.NotBefore, given)
		require.Equal(t, want, in.judge(c, &notice.Past{Push: true}).Announce.NotBefore)
	}
	require.Zero(t, in.change(t, nil).NotBefore)

	arrived := time.Now().Truncate(time.Microsecond)
	text := func(ahead time.Duration) string { return arrived.Add(ahead).UTC().Format(time.RFC3339Nano) }
	m, err := decode(line(t, map[string]any{"occurredAt": text(50 * time.Second), "notBefore": text(55 * time.Second)}))
	require.NoError(t, err)
	require.Equal(t, arrived.Add(notice.FirstWithin).UTC(), in.read(nil, m, Origin{}, arrived).NotBefore.UTC(), "a core whose clock is ahead holds nothing for longer")
}

func TestWatchedValuesAreKeptAsDigestsBoundToTheirResource(t *testing.T) {
	in := withSchemas(t)
	read := func(id, limit string) *notice.Change {
		data := openapitest.Document(ofb.Enrollment, "v2", ofb.Authorised, id, openapitest.Created(time.Unix(1e9, 0)),
			openapitest.Edit(func(d map[string]any) { d["transactionLimit"] = limit }))
		c := in.change(t, map[string]any{"kind": "enrollment", "apiVersion": "v2", "data": json.RawMessage(data)})
		require.Empty(t, c.Problems)
		require.Len(t, c.State.Watched, 3)
		return c
	}
	one, two := openapitest.SampleID(ofb.Enrollment, 1), openapitest.SampleID(ofb.Enrollment, 2)
	a := read(one, "1234.00")
	for pointer, digest := range a.State.Watched {
		require.NotContains(t, digest, "1234")
		require.Len(t, digest, 24, pointer)
	}
	require.Equal(t, a.State.Watched, read(one, "1234.00").State.Watched)
	require.Equal(t, []string{"/transactionLimit"}, ofb.Enrollment.Differing(a.State, read(one, "1234.01").State))
	require.Len(t, ofb.Enrollment.Differing(a.State, read(two, "1234.00").State), 3, "the same value elsewhere looks different")
}

func TestTimersRunOnlyForTheKindsThatAreSwitchedOn(t *testing.T) {
	s, err := schemas()
	require.NoError(t, err)
	in := New(Config{Schema: s, NewID: counter(), Timers: []ofb.Kind{ofb.PaymentConsent}})
	for kind, want := range map[ofb.Kind]bool{ofb.PaymentConsent: true, ofb.RecurringConsent: false, ofb.Enrollment: false} {
		version := kind.Versions()[len(kind.Versions())-1]
		data := openapitest.Document(kind, version, kind.Initial(), openapitest.SampleID(kind, 1))
		c := in.change(t, map[string]any{"kind": kind.String(), "apiVersion": version, "data": json.RawMessage(data)})
		require.Empty(t, c.Problems)
		require.Equal(t, want, c.Timer != nil, kind.String())
	}
}
