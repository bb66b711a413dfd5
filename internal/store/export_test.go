package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/notice"
)

// ClaimSQL and others let a test look at the plans of claim, settlement and rescue as the pools make them.
const (
	ClaimSQL                                      = claimSQL
	ReadRevision                                  = readRevision
	RescueSQL                                     = rescueSQL
	DueTimers, ArmedTimers, ForgetTimers          = dueTimersSQL, armedTimers, forgetTimers
	LockFlights, LockLost, FindLost, PlanFindLost = lockFlights, lockLost, findLost, planFindLost
	LockRows, Waiting, ForgetReplacedCases        = lockRows, waitingSQL, forgetReplacedCases
)

// SettleSQL and InsertPolls are like ClaimSQL.
var SettleSQL, InsertPolls = settleSQL, insertPolls

// SettleArguments are the arguments of SettleSQL for attempts that ended just now.
func SettleArguments(s *Store, outcome notice.Outcome, attempts ...notice.Attempt) ([]any, error) {
	var done []notice.Settlement
	for _, a := range attempts {
		done = append(done, notice.Settlement{Attempt: a, Result: notice.Result{Outcome: outcome}})
	}
	columns, err := s.settlements(done)
	if err != nil {
		return nil, err
	}
	columns.ago = make([]int64, len(done))
	return columns.arguments(), nil
}

// HotSession are the settings of the pools that carry the product.
var HotSession = hotSession

// ClaimWithin is Claim with another time than notice.FirstWithin.
func (s *Store) ClaimWithin(ctx context.Context, requests []notice.ClaimRequest, lease, within time.Duration) ([]notice.Attempt, error) {
	return s.claim(ctx, requests, lease, within)
}

// PrivateFacts is the private text of an attempt's end.
func (s *Store) PrivateFacts(r notice.Result) (string, error) { return s.privateFacts(r) }

// LookAgain makes the next looks of a store full ones, as time does.
func LookAgain(s *Store) {
	for _, k := range []*looks{&s.looks, &s.lost, &s.timers} {
		k.mu.Lock()
		k.next = time.Time{}
		k.mu.Unlock()
	}
}

// LookNoFurther makes none of the next looks of a store a full one, unless there was none before.
func LookNoFurther(s *Store) {
	for _, k := range []*looks{&s.looks, &s.lost, &s.timers} {
		k.mu.Lock()
		k.next = time.Now().Add(time.Hour)
		k.mu.Unlock()
	}
}

// SweepByQueue makes the next sweeps that are no full looks go by the queue, or by the registrations.
func SweepByQueue(s *Store, byQueue bool) {
	s.looks.mu.Lock()
	defer s.looks.mu.Unlock()
	s.looks.fullTook, s.looks.queuedTook = 0, 0
	s.looks.next = time.Now().Add(time.Hour)
	if byQueue {
		s.looks.fullTook = time.Hour
	}
}

// InRoom makes a connection write batches as those of the pools do, and returns what sends one.
func InRoom(conn *pgx.Conn) (send func(context.Context, *pgx.Batch) pgx.BatchResults) {
	place := &writePlace{}
	conn.PgConn().CustomData()[placeKey] = place
	writeArraysWith(conn.TypeMap(), place)
	return func(ctx context.Context, b *pgx.Batch) pgx.BatchResults { return sendBatch(ctx, unpooled{conn}, b) }
}

// unpooled is a connection of no pool.
type unpooled struct{ conn *pgx.Conn }

func (u unpooled) Conn() *pgx.Conn { return u.conn }

func (u unpooled) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	return u.conn.SendBatch(ctx, b)
}
