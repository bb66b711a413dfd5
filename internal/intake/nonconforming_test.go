package intake

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// TestNoMemberButIdAndStateCostsANotification breaks each member of each document in each way: it is told as long as id and status are
// sound, and says what does not conform.
func TestNoMemberButIdAndStateCostsANotification(t *testing.T) {
	documents, err := schemas()
	require.NoError(t, err)
	telling := New(Config{Schema: documents, NewID: counter(), Timers: ofb.Kinds(), TellNonconforming: true})
	refusing := New(Config{Schema: documents, NewID: counter(), Timers: ofb.Kinds()})
	states := map[ofb.Kind]ofb.Status{
		ofb.PaymentConsent: ofb.Rejected, ofb.PixPayment: ofb.ACSC, ofb.RecurringConsent: ofb.Revoked, ofb.RecurringPayment: ofb.RJCT, ofb.Enrollment: ofb.Rejected,
	}
	read := func(in *Intake, kind ofb.Kind, version string, data map[string]any) *notice.Change {
		text, err := json.Marshal(map[string]any{
			"kind": kind.String(), "clientId": "itp", "apiVersion": version, "revision": 1, "occurredAt": "2026-11-21T12:00:00Z", "data": data,
		})
		require.NoError(t, err)
		c, err := in.Read(text, Origin{Source: "core", Keep: func() []byte { return []byte("the row") }})
		require.NoError(t, err)
		return c
	}
	broken := 0
	for _, kind := range ofb.Kinds() {
		for _, version := range kind.Versions() {
			good := openapitest.Data(kind, version, states[kind], openapitest.SampleID(kind, 1), openapitest.Complete())
			require.Empty(t, read(telling, kind, version, good).Nonconforming)
			for member := range maps.Keys(good) {
				for what, value := range map[string]any{"missing": "", "null": nil, "another type": 7, "an object": map[string]any{}, "a list": []any{nil}} {
					data := maps.Clone(good)
					if data[member] = value; value == "" {
						delete(data, member)
					}
					c, strict := read(telling, kind, version, data), read(refusing, kind, version, data)
					if member == kind.IDMember() || member == "status" {
						require.NotEmpty(t, c.Problems, "%s %s %s: %s", kind, version, member, what)
						require.Empty(t, c.Nonconforming)
						continue
					}
					require.Empty(t, c.Problems, "%s %s %s: %s", kind, version, member, what)
					require.Equal(t, strict.Problems, c.Nonconforming, "%s %s %s: %s", kind, version, member, what)
					d := telling.judge(c, &notice.Past{Push: true, Epoch: 1})
					require.Equal(t, notice.Applied, d.Verdict)
					require.NotNil(t, d.Announce, "%s %s %s: %s", kind, version, member, what)
					if len(c.Nonconforming) > 0 {
						broken++
					}
				}
			}
			data := maps.Clone(good)
			data["unknownMember"] = "x"
			require.Equal(t, []string{"unknown-member /data/unknownMember"}, codes(read(telling, kind, version, data).Nonconforming))
			delete(data, "status")
			require.Len(t, codes(read(telling, kind, version, data).Problems), 2, "each problem is told where the change is refused")
		}
	}
	require.Greater(t, broken, 200)
}

// TestALineThatIsRefusedSaysAllOfItsDocumentToo is about members beside data: they are needed.
func TestALineThatIsRefusedSaysAllOfItsDocumentToo(t *testing.T) {
	in := New(Config{Schema: oddSchema{}, NewID: counter(), TellNonconforming: true})
	c := in.change(t, map[string]any{"revision": 0})
	require.Equal(t, []string{"range /revision", "length /data/name"}, codes(c.Problems))
	require.Empty(t, c.Nonconforming)
}

// oddSchema finds one fault in every document.
type oddSchema struct{}

func (oddSchema) Check(ofb.Kind, string, map[string]any) []notice.Problem {
	return []notice.Problem{{Pointer: "/data/name", Code: "length", Detail: "name is too long", DetailPT: "name é longo demais"}}
}

func TestANonconformingChangeIsAnsweredAndCountedOnce(t *testing.T) {
	bubble(t, Config{Schema: oddSchema{}, TellNonconforming: true}, func(t *testing.T, d *desk) {
		odd := d.change(1, 1, ofb.ACSC)
		first, err := d.in.Accept(t.Context(), odd, Origin{})
		require.NoError(t, err)
		require.Equal(t, notice.Applied, first.Verdict)
		require.Len(t, first.Notifications, 1)
		require.Equal(t, []string{"length /data/name"}, codes(first.Nonconforming))
		again, err := d.in.Accept(t.Context(), odd, Origin{})
		require.NoError(t, err)
		require.Equal(t, notice.Duplicate, again.Verdict)
		require.Equal(t, first.Nonconforming, again.Nonconforming)
		backwards, err := d.in.Accept(t.Context(), d.change(1, 2, ofb.RCVD), Origin{})
		require.NoError(t, err)
		require.Equal(t, notice.Quarantined, backwards.Verdict, "a sound document or not: the step is illegal")
		require.Empty(t, backwards.Nonconforming)
		d.seen.mu.Lock()
		defer d.seen.mu.Unlock()
		require.Equal(t, map[ofb.Kind]int{ofb.PixPayment: 1}, d.seen.nonconforming)
	})
}

// TestALimitThatADocumentDoesNotTellIsNoEdit: neither the document that does not tell it, nor the one that tells it again.
func TestALimitThatADocumentDoesNotTellIsNoEdit(t *testing.T) {
	documents, err := schemas()
	require.NoError(t, err)
	in := New(Config{Schema: documents, NewID: counter(), TellNonconforming: true})
	revision, created := 0, time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) // from which the sample computes its expiry, which is watched
	change := func(kind ofb.Kind, edit func(data map[string]any), before *notice.Change) (*notice.Change, notice.Decision) {
		revision++
		text, err := json.Marshal(map[string]any{
			"kind": kind.String(), "clientId": "itp", "apiVersion": "v2", "revision": revision, "occurredAt": "2026-11-21T12:00:00Z",
			"data": openapitest.Data(kind, "v2", ofb.Authorised, openapitest.SampleID(kind, 1), openapitest.Complete(), openapitest.Created(created), openapitest.Edit(edit)),
		})
		require.NoError(t, err)
		c, err := in.Read(text, Origin{Source: "core"})
		require.NoError(t, err)
		require.Empty(t, c.Problems)
		past := &notice.Past{Push: true, Epoch: 1}
		if before != nil {
			state := notice.Revision{Number: before.Revision, ChangeID: before.ID, State: before.State, OccurredAt: before.OccurredAt}
			past.Before, past.Resource = &state, &notice.Resource{Client: c.Client, APIVersion: "v2", Revision: before.Revision, State: before.State}
		}
		return c, in.judge(c, past)
	}
	limit := func(value any) func(map[string]any) {
		return func(data map[string]any) {
			if data["transactionLimit"] = value; value == "" {
				delete(data, "transactionLimit")
			}
		}
	}
	for what, wrong := range map[string]any{"null": nil, "a number": 100, "another form": "100,00"} {
		first, _ := change(ofb.Enrollment, limit("100.00"), nil)
		odd, d := change(ofb.Enrollment, limit(wrong), first)
		require.NotEmpty(t, odd.Nonconforming, what)
		require.Nil(t, d.Announce, "%s: nobody edited it", what)
		require.Equal(t, first.State.Watched, odd.State.Watched, what)
		_, d = change(ofb.Enrollment, limit("100.00"), odd)
		require.Nil(t, d.Announce, "%s: the correction is no edit", what)
		_, d = change(ofb.Enrollment, limit("200.00"), odd)
		require.NotNil(t, d.Announce, "%s: this is one", what)
		require.Equal(t, ofb.DataChanged, d.Announce.Event)
	}
	whole := func(value any) func(map[string]any) {
		return func(data map[string]any) { data["recurringConfiguration"] = value }
	}
	first, _ := change(ofb.RecurringConsent, func(map[string]any) {}, nil)
	odd, d := change(ofb.RecurringConsent, whole("x"), first)
	require.Nil(t, d.Announce, "what holds them is no object")
	require.Equal(t, first.State.Watched, odd.State.Watched)
	one, _ := change(ofb.Enrollment, limit("100.00"), nil)
	_, d = change(ofb.Enrollment, func(data map[string]any) { limit("300.00")(data); data["odd"] = 1 }, one)
	require.NotNil(t, d.Announce, "a fault elsewhere costs no edit")
}

// TestWhatIsNoIdOfAConsentIsSearchedByNobody: it would stand in an index.
func TestWhatIsNoIdOfAConsentIsSearchedByNobody(t *testing.T) {
	in := New(Config{Schema: oddSchema{}, NewID: counter(), TellNonconforming: true})
	for _, id := range []any{"urn:x:\x00", "beta urn:bank:1", strings.Repeat("urn:bank:", 1000), "", 7, nil} {
		c := in.change(t, map[string]any{"data": map[string]any{"paymentId": "p", "status": "ACSC", "consentId": id}})
		require.NotEmpty(t, c.Nonconforming)
		require.Empty(t, c.ConsentID, "%v", id)
	}
	c := in.change(t, map[string]any{"data": map[string]any{"paymentId": "p", "status": "ACSC", "consentId": "urn:bank:1"}})
	require.Equal(t, "urn:bank:1", c.ConsentID)
}
