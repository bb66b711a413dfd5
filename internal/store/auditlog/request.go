package auditlog

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// Bounds of requests that wait for a second person.
const (
	requestsWaiting = 1000         // at once
	requestsOfOne   = 500          // at once, so that one asker does not take the place of all others
	requestLease    = "30 seconds" // of the replica that carries one out
	requestKept     = "1 year"     // after its end; the log keeps its entries for as long as all others
)

// requestFacts are what an entry keeps of a request.
type requestFacts struct {
	System  string `json:"system"`
	Actor   string `json:"actor"`
	Role    string `json:"role"`
	Source  string `json:"source"`
	Act     string `json:"act"`
	Object  string `json:"object"` // the request
	Reason  string `json:"reason,omitempty"`
	What    string `json:"what"` // the act that was asked for
	Call    string `json:"call"` // method and path
	AskedBy string `json:"askedBy"`
	Status  int    `json:"status,omitempty"` // of the answer, once it is carried out
	Answer  string `json:"answer,omitempty"`
}

func (l *Log) requestEntry(act string, who history.Actor, reason string, r *history.ActRequest) plainEntry {
	f := requestFacts{
		System: l.system, Actor: who.Subject, Role: who.Role, Source: who.Source, Act: act, Object: r.ID.String(), Reason: reason,
		What: r.Act, Call: r.Method + " " + r.Path, AskedBy: r.AskedBy.Subject,
	}
	if act == "request-done" || act == "request-failed" {
		f.Status, f.Answer = r.Status, r.Answer
	}
	return plainEntry{store.NewID(), history.FactAdmin, act, f}
}

// RequestAct keeps an act until another person decides, and writes down who asked. Its id, times and state are the
// database's. The error is ErrRequests when too many wait, and ErrRequestsOfOne when too many of this asker do.
func (l *Log) RequestAct(ctx context.Context, r history.ActRequest) (history.ActRequest, error) {
	r.ID = store.NewID()
	if r.Body == nil {
		r.Body = []byte{}
	}
	err := pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		var many, mine int
		err := tx.QueryRow(ctx, "SELECT count(*), count(*) FILTER (WHERE asked_by = $1) FROM act_request WHERE state = 'waiting' AND expires_at > now()",
			r.AskedBy.Subject).Scan(&many, &mine)
		switch {
		case err != nil:
			return err
		case many >= requestsWaiting:
			return store.ErrRequests
		case mine >= requestsOfOne:
			return store.ErrRequestsOfOne
		}
		_, err = tx.Exec(ctx, `INSERT INTO act_request (id, act, method, path, body, roles, reason, asked_by, asked_role, asked_source)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			store.ToUUID(r.ID), r.Act, r.Method, r.Path, r.Body, r.Roles, r.Reason, r.AskedBy.Subject, r.AskedBy.Role, r.AskedBy.Source)
		if err != nil {
			return err
		}
		return l.requestEntry("request-asked", r.AskedBy, r.Reason, &r).add(ctx, tx)
	})
	if err != nil {
		return history.ActRequest{}, store.Unavailable("keep a request", err)
	}
	return l.ActRequest(ctx, r.ID)
}

const requestColumns = `id, act, method, path, body, roles, reason, asked_by, asked_role, asked_source, asked_at, expires_at,
  CASE WHEN state = 'waiting' AND expires_at <= now() THEN 'expired' ELSE state END,
  coalesce(decided_by, ''), coalesce(decided_role, ''), coalesce(decided_source, ''), coalesce(decided_reason, ''), decided_at, starts,
  coalesce(status, 0), coalesce(answer, ''), ended_at, token`

func requestPlaces(r *history.ActRequest) []any {
	return []any{
		&r.ID, &r.Act, &r.Method, &r.Path, &r.Body, &r.Roles, &r.Reason, &r.AskedBy.Subject, &r.AskedBy.Role, &r.AskedBy.Source, &r.AskedAt, &r.ExpiresAt,
		&r.State, &r.DecidedBy.Subject, &r.DecidedBy.Role, &r.DecidedBy.Source, &r.Decision, &r.DecidedAt, &r.Starts, &r.Status, &r.Answer, &r.EndedAt, &r.Token,
	}
}

// ActRequest reads one; ErrNotFound when there is none.
func (l *Log) ActRequest(ctx context.Context, id notice.ID) (history.ActRequest, error) {
	return readRequest(ctx, l.query, id, "")
}

func readRequest(ctx context.Context, q querier, id notice.ID, lock string) (history.ActRequest, error) {
	r, err := store.One(ctx, q, requestPlaces, "SELECT "+requestColumns+" FROM act_request WHERE id = $1 "+lock, store.ToUUID(id))
	return r, store.Unavailable("read request "+id.String(), err)
}

// ActRequests lists requests in a state ("" for all), newest first, those after a position (zero: from the newest), at most limit.
func (l *Log) ActRequests(ctx context.Context, state string, after history.Position, limit int) ([]history.ActRequest, error) {
	out, err := store.All(ctx, l.query, requestPlaces, "SELECT * FROM (SELECT "+requestColumns+` FROM act_request) r (id, act, method, path, body, roles, reason,
  asked_by, asked_role, asked_source, asked_at, expires_at, state, decided_by, decided_role, decided_source, decided_reason, decided_at, starts, status, answer, ended_at, token)
WHERE ($1 = '' OR state = $1) AND ($2::timestamptz IS NULL OR (asked_at, id) < ($2, $3)) ORDER BY asked_at DESC, id DESC LIMIT $4`, state, store.ToTime(after.At), store.ToUUID(after.ID), limit)
	return out, store.Unavailable("list requests", err)
}

// DecideRequest approves or refuses a request, and writes down who did and why. An approved one is returned with the token
// and the lease of 30 s under which the caller carries it out. Errors: ErrNotFound, ErrOwnRequest, ErrRequestOver.
func (l *Log) DecideRequest(ctx context.Context, id notice.ID, by history.Actor, approve bool, reason string) (r history.ActRequest, err error) {
	state, act := history.RequestRefused, "request-refused"
	if approve {
		state, act = history.RequestApproved, "request-approved"
	}
	err = pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		if r, err = readRequest(ctx, tx, id, "FOR UPDATE"); err != nil {
			return err
		}
		switch {
		case r.State != history.RequestWaiting:
			return store.ErrRequestOver
		case r.AskedBy.Subject == by.Subject:
			return store.ErrOwnRequest
		}
		_, err := tx.Exec(ctx, `UPDATE act_request SET state = $2, decided_by = $3, decided_role = $4, decided_source = $5, decided_reason = $6, decided_at = now(),
  ended_at = CASE WHEN $2 = 'refused' THEN now() END, starts = CASE WHEN $2 = 'approved' THEN 1 ELSE 0 END,
  token = CASE WHEN $2 = 'approved' THEN gen_random_uuid() END, lease_until = CASE WHEN $2 = 'approved' THEN now() + interval '`+requestLease+`' END
WHERE id = $1`, store.ToUUID(id), state, by.Subject, by.Role, by.Source, reason)
		if err != nil {
			return err
		}
		if err := l.requestEntry(act, by, reason, &r).add(ctx, tx); err != nil {
			return err
		}
		r, err = readRequest(ctx, tx, id, "")
		return err
	})
	return r, store.Unavailable("decide about a request", err)
}

// ClaimRequest takes up an approved request whose replica did not end it within its lease; nil when there is none.
func (l *Log) ClaimRequest(ctx context.Context) (*history.ActRequest, error) {
	var id notice.ID
	err := l.query.QueryRow(ctx, `UPDATE act_request SET token = gen_random_uuid(), lease_until = now() + interval '`+requestLease+`', starts = starts + 1
WHERE id = (SELECT id FROM act_request WHERE state = 'approved' AND lease_until < now() ORDER BY asked_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id`).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // nothing to do is no error
	}
	if err != nil {
		return nil, store.Unavailable("take up a request", err)
	}
	r, err := l.ActRequest(ctx, id)
	return &r, err
}

// RequestStep reads what an approved request has done about an item; false when nothing is done yet.
func (l *Log) RequestStep(ctx context.Context, id notice.ID, item string) (result string, done bool, err error) {
	return requestStep(ctx, l.query, id, item)
}

func requestStep(ctx context.Context, q querier, id notice.ID, item string) (result string, done bool, err error) {
	err = q.QueryRow(ctx, "SELECT result FROM act_request_step WHERE request = $1 AND item = $2", store.ToUUID(id), item).Scan(&result)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, store.Unavailable("read the step of a request", err)
	}
	return result, true, nil
}

// EndRequest keeps what became of an approved request, and writes it down; r has its token, state, status and answer. A
// request that is over, or whose lease another replica has, stays as it is.
func (l *Log) EndRequest(ctx context.Context, r *history.ActRequest) error {
	act := "request-done"
	if r.State == history.RequestFailed {
		act = "request-failed"
	}
	err := pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		if _, err := readRequest(ctx, tx, r.ID, "FOR UPDATE"); err != nil { // waits for an act that is being committed
			return err
		}
		if result, carriedOut, err := requestStep(ctx, tx, r.ID, ""); err != nil {
			return err
		} else if carriedOut && r.State == history.RequestFailed { // a replica that was slower than its lease did it
			r.State, r.Status, r.Answer, act = history.RequestDone, 0, result, "request-done"
		}
		done, err := tx.Exec(ctx, `UPDATE act_request SET state = $3, status = $4, answer = $5, ended_at = now(), token = NULL, lease_until = NULL
WHERE id = $1 AND token = $2 AND state = 'approved'`, store.ToUUID(r.ID), store.ToUUID(r.Token), r.State, r.Status, r.Answer)
		if err != nil || done.RowsAffected() == 0 {
			return err
		}
		return l.requestEntry(act, r.AskedBy, r.Reason, r).add(ctx, tx)
	})
	return store.Unavailable("end a request", err)
}

// ExpireRequests ends what nobody decided about within 24 h, writes that down, and removes requests that ended a year ago.
func (l *Log) ExpireRequests(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		gone, err := store.All(ctx, tx, requestPlaces, `UPDATE act_request SET state = 'expired', ended_at = expires_at
WHERE id IN (SELECT id FROM act_request WHERE state = 'waiting' AND expires_at <= now() LIMIT 100 FOR UPDATE SKIP LOCKED) RETURNING `+requestColumns)
		if err != nil {
			return err
		}
		for i := range gone {
			if err := l.requestEntry("request-expired", history.Actor{Subject: "arauto"}, "", &gone[i]).add(ctx, tx); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, "DELETE FROM act_request WHERE ended_at < now() - interval '"+requestKept+"'")
		return err
	})
	return store.Unavailable("expire requests", err)
}
