package notice_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

func TestTheSameLineIsTheSameCaseAndNoOtherIs(t *testing.T) {
	c := notice.Change{Kind: ofb.PixPayment, ResourceID: "p-1", Revision: 7, Line: []byte(`{"kind":"pix-payment"}`)}
	id := c.CaseID()
	require.Equal(t, "8341547f-bcf5-8709-b833-f8ff4770f7d8", id.String(), "stored: it never changes")
	require.Equal(t, byte(8), id[6]>>4, "UUID version 8")
	require.Equal(t, byte(2), id[8]>>6, "RFC 9562 variant")

	same := c
	same.ID, same.Client, same.Source, same.Actor, same.Problems = notice.ID{1}, "other", "bus", "ana", []notice.Problem{{Code: "x"}}
	require.Equal(t, id, same.CaseID(), "who hands it in is no matter")

	seen := map[notice.ID]string{id: "the case itself"}
	for name, edit := range map[string]func(*notice.Change){
		"kind": func(c *notice.Change) { c.Kind = ofb.RecurringPayment }, "no kind": func(c *notice.Change) { c.Kind = 0 },
		"id": func(c *notice.Change) { c.ResourceID = "p-2" }, "no id": func(c *notice.Change) { c.ResourceID = "" },
		"revision": func(c *notice.Change) { c.Revision = 8 }, "no revision": func(c *notice.Change) { c.Revision = 0 },
		"line": func(c *notice.Change) { c.Line = []byte(`{"kind":"pix-payment"} `) }, "no line": func(c *notice.Change) { c.Line = nil },
		"digits moved from id to revision": func(c *notice.Change) { c.ResourceID, c.Revision = "p-1 7", 0 },
		"line moved into the id":           func(c *notice.Change) { c.ResourceID, c.Line = "p-1 7 "+string(c.Line), nil },
	} {
		other := c
		edit(&other)
		require.Empty(t, seen[other.CaseID()], name)
		seen[other.CaseID()] = name
	}
}

func TestAChangesKeyIsItsKindAndID(t *testing.T) {
	c := notice.Change{Kind: ofb.Enrollment, ResourceID: "urn:b:1", Revision: 3}
	require.Equal(t, notice.Key{Kind: ofb.Enrollment, ID: "urn:b:1"}, c.Key())
}
