package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// TestPollsStandToPushes asks before, between and after pushes, and cuts the log at each step.
func TestPollsStandToPushes(t *testing.T) {
	for name, cut := range map[string]func(*figured){
		"in one stretch":           func(*figured) {},
		"each step by itself":      func(f *figured) { f.seal(); f.fold() },
		"by a process that is new": func(f *figured) { f.seal(); f.fold(); f.log = auditlog.New(f.store.Access()) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFigured(t)
			f.register("itp", "https://itp.example/hook")
			f.accept(payment("itp", "p", 1, "RCVD"))
			cut(f)
			f.query("itp", "p", 200)
			cut(f)
			f.accept(payment("itp", "p", 2, "ACSC"))
			cut(f)
			f.query("itp", "p", 200)
			cut(f)
			attempts := f.claim("itp", 10, 0)
			cut(f)
			f.query("itp", "p", 404)
			f.query("itp", "p", 200) // between the attempt and the record of its end: it has been told
			cut(f)
			f.sent(notice.OutcomeDelivered, time.Millisecond, 0, attempts...)
			cut(f)
			f.query("itp", "p", 200)
			f.accept(payment("itp", "ignored", 1, "ACSC"))
			f.sent(notice.OutcomeDelivered, time.Millisecond, 0, f.claim("itp", 10, 0)...)
			f.accept(payment("itp", "later", 1, "ACSC"))
			cut(f)
			f.sent(notice.OutcomeDelivered, time.Millisecond, 0, f.claim("itp", 10, 0)...)
			cut(f)
			f.seal()
			s, _ := f.read("itp")
			require.Equal(t, []int64{1, 2}, []int64{s.Fetched, s.Ignored})
			f.query("itp", "later", 200)
			f.query("itp", "later", 200)
			f.seal()
			f.fold()
			s, _ = f.read("itp")
			require.Equal(t, []int64{1, 2, 3}, []int64{s.Polls.Without, s.Polls.Before, s.Polls.After})
			require.Equal(t, []int64{2, 1}, []int64{s.Fetched, s.Ignored})
			require.Zero(t, f.rebuild().Differ)
		})
	}
}

// TestAResourceThatTheFoldSawMadeIsNotReadAgain: neither when its attempt ends in the next stretch, nor when it is asked for.
func TestAResourceThatTheFoldSawMadeIsNotReadAgain(t *testing.T) {
	f := newFigured(t)
	f.register("itp", "https://itp.example/hook")
	attempts := f.fly(20*time.Second, "p", "asked")
	f.seal()
	f.fold()
	f.do("SET session_replication_role = replica")
	f.do("DELETE FROM entry WHERE kind = 'change'")
	f.do("SET session_replication_role = origin")
	f.query("itp", "asked", 200)
	f.sent(notice.OutcomeDelivered, time.Millisecond, 0, attempts...)
	f.seal()
	f.fold()
	s, _ := f.read("itp")
	require.Equal(t, []int64{1, 1}, []int64{s.Fetched, s.Ignored})
	require.Equal(t, []int64{0, 1, 0}, []int64{s.Polls.Without, s.Polls.Before, s.Polls.After})
}

// TestAReceiptIsNoQueryForItsResource: who asked for the proof of an attempt has not asked for the resource, in any cut of the log.
func TestAReceiptIsNoQueryForItsResource(t *testing.T) {
	for name, cut := range map[string]func(*figured){
		"by the same process":      func(*figured) {},
		"by a process that is new": func(f *figured) { f.log = auditlog.New(f.store.Access()) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFigured(t)
			f.register("itp", "https://itp.example/hook")
			f.accept(payment("itp", "p", 1, "ACSC"))
			f.sent(notice.OutcomeDelivered, time.Millisecond, 0, f.claim("itp", 10, 0)...)
			f.call("extension-notification", "itp", "p", 200)
			f.seal()
			f.fold()
			s, _ := f.read("itp")
			require.Equal(t, []int64{0, 1, 0}, []int64{s.Fetched, s.Ignored, s.Polls.Total})
			cut(f)
			f.query("itp", "p", 200)
			f.seal()
			f.fold()
			s, _ = f.read("itp")
			require.Equal(t, []int64{1, 0, 1, 1}, []int64{s.Fetched, s.Ignored, s.Polls.After, s.Polls.Total})
			require.Zero(t, f.rebuild().Differ)
		})
	}
}
