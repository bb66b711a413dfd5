package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arauto/arauto/internal/notice"
)

// follow runs a source in the bubble until the function it returns is called.
func follow(ctx context.Context, t require.TestingT, c Config) (*Source, func()) {
	s, err := New(c)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		s.Run(ctx)
	}()
	return s, func() {
		cancel()
		<-over
	}
}

func TestALostOriginIsReadAgainLaterAndLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		o := &origin{before: func(int) error { return errLost }}
		w := &witness{}
		s, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: newVault(), Registrar: newVault(), Observer: w})
		<-time.After(20 * time.Second)
		stop()
		var at []time.Duration
		for _, r := range o.readTimes() {
			at = append(at, r.Sub(began))
		}
		const ms = time.Millisecond
		require.Equal(t, []time.Duration{0, 200 * ms, 600 * ms, 1400 * ms, 3000 * ms, 6200 * ms, 11200 * ms, 16200 * ms}, at)
		require.Equal(t, "waiting", w.story())
		require.Equal(t, "the origin is lost", s.Status().LastError)
		require.Equal(t, began.Add(16200*ms), s.Status().LastErrorAt)
	})
}

func TestABackOffBeginsAnewAfterACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		o := &origin{records: numbered(3)}
		o.before = func(read int) error {
			if read <= 4 {
				return errLost
			}
			return nil
		}
		o.during = func(read, told int) error {
			if told == 2 && read < 7 {
				<-time.After(time.Second) // what was told before is committed meanwhile
				return errLost
			}
			return nil
		}
		_, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: newVault(), Registrar: newVault()})
		<-time.After(time.Minute)
		stop()
		reads := o.readTimes()
		require.Equal(t, 3*time.Second, reads[4].Sub(began))
		require.Equal(t, 1200*time.Millisecond, reads[5].Sub(reads[4]), "a second of reading, then the first pause")
		require.Equal(t, 1400*time.Millisecond, reads[6].Sub(reads[5]), "nothing was committed: the second pause")
		require.Equal(t, 3, o.ackedNow())
	})
}

func TestAStandbyTakesOverSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		free := began.Add(60*time.Second + 300*time.Millisecond)
		o := &origin{records: numbered(1)}
		o.before = func(int) error {
			if time.Now().Before(free) {
				return fmt.Errorf("lease: %w", ErrElsewhere)
			}
			return nil
		}
		w := &witness{}
		s, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: newVault(), Registrar: newVault(), Observer: w})
		<-time.After(30 * time.Second)
		require.Equal(t, Standby, s.Status().State)
		require.False(t, s.Status().Reading())
		require.Empty(t, s.Status().LastError, "it is no fault")
		<-time.After(31500 * time.Millisecond)
		require.Equal(t, 1, o.ackedNow())
		require.Equal(t, "standby, running", w.story())
		stop()
		require.Less(t, o.readTimes()[len(o.readTimes())-1].Sub(free), time.Second)
	})
}

func TestAnOperatorPausesAndResumesASource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, who, w := &origin{records: numbered(2)}, &operator{}, &witness{}
		s, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: newVault(), Registrar: newVault(), Control: who, Observer: w})
		<-time.After(10 * time.Second)
		require.Equal(t, Running, s.Status().State)
		who.set(true, nil)
		<-time.After(controlEvery + time.Millisecond)
		synctest.Wait()
		require.Equal(t, Paused, s.Status().State)
		<-time.After(time.Hour)
		require.Len(t, o.readTimes(), 1)
		who.set(false, nil)
		<-time.After(controlEvery + time.Millisecond)
		synctest.Wait()
		require.Equal(t, Running, s.Status().State)
		require.Len(t, o.readTimes(), 2)
		require.Empty(t, s.Status().LastError)
		who.set(true, errors.New("the database is away"))
		<-time.After(time.Minute)
		require.Equal(t, Running, s.Status().State, "while nobody can be asked, what was said last holds")
		stop()
		require.Equal(t, "running, paused, running", w.story())
		require.Greater(t, len(who.reports), 3600, "it tells how it stands each second, paused or not")
	})
}

func TestNothingIsReadBeforeItIsKnownWhetherItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, who := &origin{}, &operator{paused: true, err: errors.New("away")}
		s, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: newVault(), Registrar: newVault(), Control: who})
		<-time.After(time.Minute)
		require.Empty(t, o.readTimes())
		require.Equal(t, Waiting, s.Status().State)
		require.Contains(t, s.Status().LastError, "ask whether the source is paused: away")
		who.set(true, nil)
		<-time.After(time.Minute)
		require.Empty(t, o.readTimes())
		require.Equal(t, Paused, s.Status().State)
		who.set(false, nil)
		<-time.After(controlEvery)
		synctest.Wait()
		require.Len(t, o.readTimes(), 1)
		stop()
	})
}

func TestNothingIsAcknowledgedPastAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, v := &origin{records: numbered(10), batch: 2}, newVault()
		v.takes = 10 * time.Millisecond
		failed, acked := 0, -1
		v.commit = func(id string) error {
			if id == "p-5" && failed < 2 {
				failed++
				return errors.New("unavailable")
			}
			return nil
		}
		can := func(context.Context) error {
			if failed == 2 && acked < 0 {
				acked = o.ackedNow()
			}
			return nil
		}
		s, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: v, Registrar: v, Storable: can})
		<-time.After(time.Minute)
		stop()
		require.Empty(t, o.faults)
		require.Equal(t, 4, acked, "p-4 was committed, but not with p-5, which was taken together with it")
		require.Equal(t, 10, o.ackedNow())
		require.Equal(t, 1, v.committed["p-4"], "what was told once is handed on again by us, and not told again")
		require.Len(t, o.readTimes(), 1)
		for i := range 10 {
			require.NotZero(t, v.committed[fmt.Sprint("p-", i)])
		}
		st := s.Status()
		require.Equal(t, "commit of payments id=5: unavailable", st.LastError)
		require.EqualValues(t, 10, st.Counts.Stored)
		require.Zero(t, st.Counts.Duplicates)
		require.Equal(t, "0/9", st.Position)
	})
}

func TestOnlySoMuchIsUncommittedAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, v := &origin{records: numbered(5000), batch: 500}, newVault()
		v.stuck = true
		_, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: v, Registrar: v})
		<-time.After(time.Minute)
		require.Zero(t, o.ackedNow())
		require.InDelta(t, window, v.most(), 5)
		require.LessOrEqual(t, v.most(), window)
		stop()
	})
}

func TestATableThatDoesNotFitStopsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		columns := bankColumns()
		o, v, w := &origin{schemas: columns}, newVault(), &witness{}
		s, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: v, Registrar: v, Observer: w})
		synctest.Wait()
		require.Empty(t, s.Status().Stopped)

		take := func(rec SourceRecord) {
			done := make(chan struct{})
			require.NoError(t, o.hand.Take(t.Context(), []SourceRecord{rec}, func() { close(done) }))
			<-done
		}
		consent := SourceRecord{Table: "app.consents", Op: Insert, Key: "app.consents urn=urn:b:1", Revision: 9, CommittedAt: time.Now(), Values: map[string]any{
			"urn": "urn:b:1", "type": json.Number("1"), "client_id": "itp", "status": "AUTHORISED", "version": json.Number("12"), "extra": nil,
		}}
		o.hand.Schema("payments", columns["payments"][:14])
		require.Equal(t, "payments", s.Status().Stopped[0].Table)
		require.Contains(t, s.Status().Stopped[0].Why[0], "unknown name extra")
		take(numbered(1)[0])
		take(consent)
		require.Equal(t, map[string]int{"payments id=0": 1}, v.rejected)
		require.Equal(t, "schema-changed", v.last[0].Problems[0].Code)
		require.Equal(t, map[string]int{"": 1}, v.committed, "the consent")

		o.hand.Schema("payments", nil)
		require.Contains(t, s.Status().Stopped[0].Why[0], "there is no table payments")
		o.hand.Schema("payments", columns["payments"])
		require.Empty(t, s.Status().Stopped)
		take(numbered(1)[0])
		require.Equal(t, 1, v.committed["p-0"])
		require.Equal(t, "running, payments stopped=true, payments stopped=false", w.story())

		e, err := ParseEnvelope(v.last[0].Line)
		require.NoError(t, err)
		again, err := s.Map(t.Context(), e)
		require.NoError(t, err)
		require.Equal(t, "p-0", member(t, again.Line, "data.paymentId"), "what was put aside can be mapped now")
		stop()
	})
}

// TestTheSinkIsToldWhenTheOriginCommitted: from then on the change was ours. A first load says nothing of when.
func TestTheSinkIsToldWhenTheOriginCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, v := &origin{schemas: bankColumns()}, newVault()
		_, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: v, Registrar: v})
		synctest.Wait()
		records := numbered(2) // committed at noon
		records[1].Op = Snapshot
		done := make(chan struct{})
		require.NoError(t, o.hand.Take(t.Context(), records, func() { close(done) }))
		<-done
		require.Len(t, v.told, 2)
		require.Equal(t, noon, v.told[0].CommittedAt)
		require.Zero(t, v.told[1].CommittedAt)
		stop()
	})
}

func TestATableWithoutItsLookupsTableStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, v := &origin{schemas: bankColumns()}, newVault()
		s, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: v, Registrar: v})
		synctest.Wait()
		o.hand.Schema("payment_consents", []Column{{Name: "id", Type: Text, Key: true}})
		require.Len(t, s.Status().Stopped, 1)
		require.Contains(t, s.Status().Stopped[0].Why[0], "unknown field client_ref")
		stop()
	})
}

func TestALineThatIsNoChangeIsPutAsideWithItsRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, v := &origin{records: numbered(3)}, newVault()
		v.submit = func(id string) error {
			if id == "p-1" {
				return fmt.Errorf("submit: %w", &RefusedRecord{[]notice.Problem{{Code: "number_range"}}})
			}
			return nil
		}
		s, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: v, Registrar: v})
		<-time.After(time.Second)
		stop()
		require.Equal(t, 3, o.ackedNow())
		require.Equal(t, map[string]int{"p-1": 1}, v.rejected)
		require.Equal(t, notice.ClientID("itp-88"), v.last[0].Client)
		require.Equal(t, Counts{Read: 3, Stored: 2, Quarantined: 1}, s.Status().Counts)
		e, err := ParseEnvelope(v.records[0])
		require.NoError(t, err)
		require.Equal(t, "payments id=0", e.Record.Key, "what is submitted carries its record along")
	})
}

func TestRegistrationsAreKeptBeforeWhatFollowsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := func(name string, op Op) SourceRecord {
			return SourceRecord{Table: "clients", Op: op, Key: "clients client_id=" + name, Revision: 1, CommittedAt: noon, Values: map[string]any{
				"id": json.Number("1"), "client_id": name, "role": "ITP", "active": true, "org": "o", "software": "s", "name": "N", "uris": nil, "ssa": nil,
			}}
		}
		records := numbered(3)
		o, v := &origin{batch: 10}, newVault()
		o.records = []SourceRecord{client("a", Insert), records[0], client("bad", Update), client("b", Update), records[1], client("a", Delete), records[2]}
		tries := 0
		v.put = func(r Registration) error {
			switch r.Client {
			case "bad":
				return &RefusedRecord{[]notice.Problem{{Code: "pattern", Pointer: "/webhookUris/0"}}}
			case "b":
				if tries++; tries == 1 {
					return errors.New("database away")
				}
			}
			return nil
		}
		s, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: v, Registrar: v})
		<-time.After(time.Second)
		stop()
		require.Equal(t, 7, o.ackedNow())
		require.Equal(t, []string{"client a", "p-0", "clients client_id=bad", "client b", "p-1", "gone a", "p-2"}, v.order)
		require.Len(t, o.readTimes(), 1)
		require.Equal(t, "pattern", v.last[0].Problems[0].Code)
		require.Equal(t, "keep the registration of clients client_id=b: database away", s.Status().LastError)
	})
}

func TestWhatIsPassedOverIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, v, w := &origin{records: numbered(2), batch: 5}, newVault(), &witness{}
		o.records[0].Values["kind"] = "TED"
		o.records = append(o.records, SourceRecord{Table: "elsewhere", Op: Insert})
		s, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: v, Registrar: v, Observer: w})
		<-time.After(time.Second)
		stop()
		require.Equal(t, Counts{Read: 3, Stored: 1, Skipped: 2}, s.Status().Counts)
		require.Equal(t, map[RecordOutcome]int{Skipped: 2, Stored: 1}, w.counts)
	})
}

func TestAPanicCostsNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, v := &origin{records: numbered(2)}, newVault()
		panicked := false
		v.submit = func(string) error {
			if !panicked {
				panicked = true
				panic("poison")
			}
			return nil
		}
		s, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: v, Registrar: v})
		<-time.After(time.Second)
		stop()
		require.Equal(t, 2, o.ackedNow())
		require.Contains(t, s.Status().LastError, "panic while storing: poison")
		require.Len(t, o.readTimes(), 1)
	})
}

// poisoned runs a source of five payments until all are acknowledged.
func poisoned(t *testing.T, m *Mapping, v *vault) (*Source, *witness) {
	o, w := &origin{records: numbered(5), batch: 5}, &witness{}
	s, stop := follow(t.Context(), t, Config{Mapping: m, Reader: o, Sink: v, Registrar: v, Observer: w})
	<-time.After(time.Minute)
	stop()
	require.Empty(t, o.faults)
	require.Equal(t, 5, o.ackedNow(), "what is behind it goes on")
	require.Len(t, o.readTimes(), 1, "no delivery is spent on it")
	return s, w
}

func TestARecordThatPanicsWhileItIsMappedIsPutAsideAfterThreeTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, v := mustParse(t, bank), newVault()
		broken := *m.rules["payments"][0]
		alone := mustParse(t, strings.Replace(bank, `when: 'kind != "TED"'`, `when: 'external_id == "p-2"'`, 1)).rules["payments"][0]
		broken.when, broken.uses, broken.joins, broken.id, broken.part = alone.when, alone.when.uses, nil, nil, 1
		m.rules["payments"] = append(m.rules["payments"], &broken)
		s, w := poisoned(t, m, v)
		require.Equal(t, map[string]int{"payments id=2": 1}, v.rejected)
		require.Equal(t, "failed", v.last[0].Problems[0].Code)
		require.Contains(t, v.last[0].Problems[0].Detail, "mapping it failed 3 times")
		require.Equal(t, 3, strings.Count(w.story(), "payments failed"))
		require.EqualValues(t, 1, s.Status().Counts.Quarantined)
		require.Empty(t, s.faults, "it is forgotten")
		e, err := ParseEnvelope(v.last[0].Line)
		require.NoError(t, err)
		require.Equal(t, "payments id=2", e.Record.Key)
		again, err := s.Map(t.Context(), e)
		require.NoError(t, err)
		require.Equal(t, "failed", again.Problems[0].Code, "while the defect is there it is not mapped again, and nobody panics")
	})
}

func TestARecordThatIsNeverStoredIsPutAsideAfterThreeTries(t *testing.T) {
	refuse := func(id string) error {
		if id == "p-2" {
			return fmt.Errorf("store: %w", ErrAlone)
		}
		return nil
	}
	for name, poison := range map[string]func(v *vault){
		"the commit fails": func(v *vault) { v.commit = func(id string) error { return refuse(id) } },
		"intake panics": func(v *vault) {
			v.submit = func(id string) error {
				if refuse(id) != nil {
					panic("poison")
				}
				return nil
			}
		},
		"intake refuses": func(v *vault) { v.submit = refuse },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVault()
				if poison(v); v.commit != nil { // what is put aside has the id as well
					tries := 0
					v.commit = func(id string) error {
						if tries++; refuse(id) != nil && !strings.Contains(fmt.Sprint(v.last), "failed") {
							return refuse(id)
						}
						return nil
					}
				}
				s, w := poisoned(t, mustParse(t, bank), v)
				require.Len(t, v.rejected, 1)
				require.Equal(t, "failed", v.last[0].Problems[0].Code)
				require.Contains(t, v.last[0].Problems[0].Detail, "storing it failed 3 times")
				require.Equal(t, 3, strings.Count(w.story(), "payments failed"))
				require.EqualValues(t, 1, s.Status().Counts.Quarantined)
				require.Zero(t, v.committed["p-2"])
			})
		})
	}
}

func TestAFailureOfTheDatabasePutsNothingAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, times := newVault(), 0
		v.commit = func(id string) error {
			if times++; id == "p-2" && times < 10 {
				return errors.New("the database is away")
			}
			return nil
		}
		_, w := poisoned(t, mustParse(t, bank), v)
		require.Empty(t, v.rejected)
		require.NotContains(t, w.story(), "failed")
	})
}

func TestARecordThatCannotEvenBePutAsideIsKeptWithoutItsValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault()
		v.commit = func(id string) error {
			if n := len(v.last); id == "p-2" && (n == 0 || !strings.Contains(string(v.last[n-1].Line), `"cut":true`)) {
				return ErrAlone
			}
			return nil
		}
		_, w := poisoned(t, mustParse(t, bank), v)
		require.Equal(t, map[string]int{"p-2": 1}, v.rejected)
		require.Equal(t, 6, strings.Count(w.story(), "payments failed"))
	})
}

func TestALookupThatFailsIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, v := &origin{records: numbered(4), batch: 2}, newVault()
		asked := 0
		o.find = func(l Lookup) (map[string]map[string]any, error) {
			if asked++; asked == 3 {
				return nil, errLost
			}
			return rows(t.Context(), l)
		}
		s, stop := follow(t.Context(), t, Config{Mapping: mustParse(t, bank), Reader: o, Sink: v, Registrar: v})
		<-time.After(time.Second)
		stop()
		require.Equal(t, 4, o.ackedNow())
		require.Empty(t, v.rejected, "the rows are not at fault")
		require.Contains(t, s.Status().LastError, "look up 1 rows of payment_consents by id: the origin is lost")
	})
}

func TestASourceNeedsWhatItsMappingUses(t *testing.T) {
	_, err := New(Config{Mapping: mustParse(t, bank), Reader: &origin{}, Sink: newVault()})
	require.EqualError(t, err, "watch: source core has a table of initiators, and no Registrar is set")
	_, err = New(Config{})
	require.Error(t, err)
}

func TestARecordIsMappedAgainByTheMappingAsItIs(t *testing.T) {
	s, err := New(Config{Mapping: mustParse(t, bank), Reader: &origin{}, Sink: newVault(), Registrar: newVault()})
	require.NoError(t, err)
	got, err := s.Map(t.Context(), Envelope{Record: payment(nil)})
	require.NoError(t, err)
	require.NotNil(t, got.Line)
	got, err = s.Map(t.Context(), Envelope{Record: payment(nil), Part: 1})
	require.NoError(t, err)
	require.Contains(t, got.Skipped, "no such table or part")
	got, err = s.Map(t.Context(), Envelope{Record: payment(nil), Cut: true})
	require.NoError(t, err)
	require.Equal(t, "too-large", got.Problems[0].Code)
	got, err = s.Map(t.Context(), Envelope{Record: payment(map[string]any{"status": "?"})})
	require.NoError(t, err)
	require.Equal(t, "unmapped-status", got.Problems[0].Code)
}

// halting is an origin that stops until a person decides.
type halting struct{ origin }

func (h *halting) Halted() bool { return true }

// TestWhatNobodyMeasuresIsNoLagOfZero: a source that is not read has no lag that anybody knows, neither in its status nor
// in what observers are told; a halted one is told from one that only waits.
func TestWhatNobodyMeasuresIsNoLagOfZero(t *testing.T) {
	mapping := mustParse(t, bank)
	synctest.Test(t, func(t *testing.T) {
		o := &halting{origin{records: numbered(1)}}
		o.during = func(read, _ int) error {
			if read == 1 {
				return errLost
			}
			return nil
		}
		w := &witness{}
		s, err := New(Config{Mapping: mapping, Reader: o, Sink: newVault(), Registrar: newVault(), Observer: w})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); s.Run(ctx) }()
		synctest.Wait()
		require.Zero(t, s.Behind(), "the reader told a lag of 0 before it stopped")
		st := s.Status()
		require.Equal(t, Waiting, st.State)
		require.True(t, st.Halted)
		require.Nil(t, st.LagSeconds)
		require.EqualValues(t, -1, st.LagBytes)
		require.Equal(t, []time.Duration{0, unknownTime}, w.lags())

		time.Sleep(firstPause)
		synctest.Wait()
		st = s.Status()
		require.Equal(t, Running, st.State)
		require.NotNil(t, st.LagSeconds)
		require.Zero(t, *st.LagSeconds, "now it is known")
		o.hand.Lag(0, 3*time.Second)
		time.Sleep(time.Second)
		require.Equal(t, 4*time.Second, s.Behind())
		o.hand.Lag(23936, -1)
		st = s.Status()
		require.Nil(t, st.LagSeconds)
		require.EqualValues(t, 23936, st.LagBytes)
		require.Equal(t, 4*time.Second, s.Behind(), "a lag that nobody knows is not taken for having caught up")
		cancel()
		<-ended
	})
}

func TestTheStatusIsToldAsJSON(t *testing.T) {
	s, err := New(Config{Mapping: mustParse(t, bank), Reader: &origin{}, Sink: newVault(), Registrar: newVault()})
	require.NoError(t, err)
	st := s.Status()
	st.UpdatedAt = noon
	text, err := json.Marshal(st)
	require.NoError(t, err)
	require.JSONEq(t, `{"source":"core","type":"postgres","state":"connecting","position":"","halted":false,"lagBytes":-1,"lagSeconds":null,"stopped":[],"lastError":"",
		"counts":{"read":0,"stored":0,"duplicates":0,"conflicts":0,"skipped":0,"quarantined":0,"registrations":0},"updatedAt":"2026-11-21T12:00:00Z"}`, string(text))
}

// TestWhateverFailsEveryRecordIsCommittedAndNoneAcknowledgedBefore lets everything fail at random, again and again.
func TestWhateverFailsEveryRecordIsCommittedAndNoneAcknowledgedBefore(t *testing.T) {
	mapping := mustParse(t, bank)
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(r *rapid.T) { // without a deadline, which no bubble has
			n := rapid.IntRange(1, 60).Draw(r, "records")
			o, v, who := &origin{records: numbered(n), batch: rapid.IntRange(1, 25).Draw(r, "batch")}, newVault(), &operator{}
			bad := map[string]bool{}
			for i := range o.records {
				if rapid.IntRange(0, 9).Draw(r, "bad") == 0 {
					o.records[i].Values["status"], bad[fmt.Sprint("p-", i)] = "?", true
				}
			}
			v.takes = time.Duration(rapid.IntRange(0, 30).Draw(r, "takes")) * time.Millisecond
			// Drawn beforehand: the schedule of goroutines must not decide what is drawn. An operation that finds none left succeeds.
			fails := rapid.SliceOfN(rapid.IntRange(0, 5), 0, 100).Draw(r, "fails")
			chance := func(why string) error {
				if len(fails) == 0 {
					return nil
				}
				now := fails[0]
				if fails = fails[1:]; now == 0 {
					return errors.New(why)
				}
				return nil
			}
			v.submit = func(string) error { return chance("submit") }
			v.commit = func(string) error { return chance("commit") }
			o.during = func(int, int) error {
				v.mu.Lock()
				defer v.mu.Unlock()
				return chance("read")
			}
			o.find = func(l Lookup) (map[string]map[string]any, error) {
				v.mu.Lock()
				defer v.mu.Unlock()
				if err := chance("find"); err != nil {
					return nil, err
				}
				return rows(t.Context(), l)
			}
			pauses := rapid.SliceOfN(rapid.IntRange(0, 3000), 0, 6).Draw(r, "pauses")
			_, stop := follow(t.Context(), r, Config{Mapping: mapping, Reader: o, Sink: v, Registrar: v, Control: who})
			for i, ms := range pauses {
				<-time.After(time.Duration(ms) * time.Millisecond)
				who.set(i%2 == 0, nil)
			}
			who.set(false, nil)
			for range 600 {
				acked := o.ackedNow()
				v.mu.Lock()
				for i := range acked {
					id := fmt.Sprint("p-", i)
					require.NotZero(r, v.committed[id]+v.rejected[id], "%s is acknowledged and was never committed", id)
				}
				v.mu.Unlock()
				if acked == n {
					break
				}
				<-time.After(100 * time.Millisecond)
			}
			stop()
			require.Empty(r, o.faults)
			require.Equal(r, n, o.ackedNow(), "not every record was told until it was committed")
			for i := range n {
				id := fmt.Sprint("p-", i)
				require.Equal(r, bad[id], v.rejected[id] > 0)
				require.Equal(r, !bad[id], v.committed[id] > 0)
			}
		})
	})
}
