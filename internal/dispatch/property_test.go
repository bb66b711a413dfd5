package dispatch

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/arauto/arauto/internal/notice"
)

// episode is a time in which the database is away.
type episode struct{ from, lasting time.Duration }

// history is everything that chance decides in one run of the property below.
type history struct {
	slots, perLane, replicas int
	lag                      time.Duration
	events                   []time.Duration // when each happens
	lanes                    []int           // whose each is
	answers                  [][3]answer     // what each of its attempts meets
	away                     []episode
	hidden                   int  // one commit in so many is hidden by an error; 0: none
	reserves                 bool // first attempts are recorded with their change where a slot is free
}

func drawHistory(t *rapid.T) history {
	outcome := rapid.SampledFrom([]notice.Outcome{
		notice.OutcomeDelivered, notice.OutcomeNonconformant, notice.OutcomeRefused, notice.OutcomeRefused, notice.OutcomeConnect, notice.OutcomeUnknown,
	})
	millis := func(from, to int, name string) time.Duration {
		return time.Duration(rapid.IntRange(from, to).Draw(t, name)) * time.Millisecond
	}
	h := history{
		slots: rapid.SampledFrom([]int{1, 3, 7, 64, 4096}).Draw(t, "slots"), perLane: rapid.SampledFrom([]int{1, 3, 512}).Draw(t, "perLane"),
		replicas: rapid.IntRange(1, 3).Draw(t, "replicas"), lag: millis(0, 80, "lag"),
		hidden: rapid.SampledFrom([]int{0, 0, 3, 10}).Draw(t, "hidden"), reserves: rapid.Bool().Draw(t, "reserves"),
	}
	for range rapid.IntRange(1, 40).Draw(t, "events") {
		h.events = append(h.events, millis(0, 20000, "at"))
		h.lanes = append(h.lanes, rapid.IntRange(0, 5).Draw(t, "lane"))
		var answers [3]answer
		for i := range answers {
			answers[i] = answer{rapid.SampledFrom([]time.Duration{0, time.Millisecond, 700 * time.Millisecond, 14990 * time.Millisecond, 15 * time.Second, time.Minute}).Draw(t, "after"), outcome.Draw(t, "outcome")}
		}
		h.answers = append(h.answers, answers)
	}
	for range rapid.IntRange(0, 3).Draw(t, "outages") {
		h.away = append(h.away, episode{millis(0, 90000, "from"), millis(1, 40000, "lasting")})
	}
	return h
}

// play lives through a history and tells what was wrong with it.
func (h history) play(t *testing.T) (faults []string) {
	answers := make(map[notice.ID][3]answer)
	w := newWorld(t, nil)
	w.farm.receive = func(a notice.Attempt) answer {
		w.queue.mu.Lock()
		defer w.queue.mu.Unlock()
		return answers[a.Notification][a.Number-1]
	}
	w.queue.setLag(h.lag)
	begin := time.Now()
	w.queue.before = func(context.Context, string) error {
		for _, e := range h.away {
			if since := time.Since(begin); since >= e.from && since < e.from+e.lasting {
				return errAway
			}
		}
		return nil
	}
	commits := 0
	w.queue.after = func(_ context.Context, call string) error {
		w.queue.mu.Lock()
		defer w.queue.mu.Unlock()
		// Not for ever: one row that is hidden each time would rightly be put aside.
		if commits++; h.hidden > 0 && commits%h.hidden == 0 && call != "waiting" && time.Since(begin) < time.Minute {
			return errAway
		}
		return nil
	}
	for range h.replicas {
		w.start(Config{Slots: h.slots, PerLane: h.perLane})
	}
	var accepted atomic.Int64
	for i, at := range h.events {
		go func() {
			defer accepted.Add(1)
			<-time.After(at)
			client := notice.ClientID(fmt.Sprint("itp-", h.lanes[i]))
			prepare := func(c *chain) {
				w.queue.mu.Lock()
				defer w.queue.mu.Unlock()
				answers[c.id] = h.answers[i]
			}
			if h.reserves {
				w.accept(w.replicas[i%h.replicas], client, prepare)
				return
			}
			prepare(w.queue.add(client, 0, 0))
			w.replicas[i%h.replicas].Wake(client)
		}()
	}
	pass(25 * time.Second)
	for time.Since(begin) < 2*time.Hour && (int(accepted.Load()) < len(h.events) || !w.queue.settled()) {
		pass(10 * time.Second)
	}
	pass(2 * time.Minute) // for what must not come
	for _, r := range w.replicas {
		r.stop()
		if err := <-r.done; err != nil {
			faults = append(faults, err.Error())
		}
	}
	faults = append(faults, w.faults(2*time.Hour)...)
	for _, c := range w.queue.chains {
		posts := w.farm.of(c.id)
		if c.state == notice.Pending {
			faults = append(faults, fmt.Sprintf("%s: lost", c.id))
		}
		for _, p := range posts {
			e := c.entries[p.Number-1]
			if e.rescued || e.interaction != p.Interaction || len(c.strays) > 0 {
				faults = append(faults, fmt.Sprintf("%s: the end of number %d was seen and not kept", c.id, p.Number))
			}
			if e.started.Before(e.scheduled) {
				faults = append(faults, fmt.Sprintf("%s: number %d was early", c.id, p.Number))
			}
		}
		if h.hidden == 0 && len(posts) != len(c.entries) {
			faults = append(faults, fmt.Sprintf("%s: %d posts, %d recorded", c.id, len(posts), len(c.entries)))
		}
	}
	return faults
}

func TestNeverAFourthNeverEarlyNeverDoubledWhateverHappens(t *testing.T) {
	onTwoProcessors(t)
	rapid.Check(t, func(rt *rapid.T) {
		h := drawHistory(rt)
		var faults []string
		synctest.Test(t, func(t *testing.T) { faults = h.play(t) })
		for _, fault := range faults {
			rt.Errorf("%s", fault)
		}
	})
}
