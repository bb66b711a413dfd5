package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/history"
)

// How long a session of the console lives (console, "Sign-in").
const (
	SessionIdle = 30 * time.Minute // since the person did something last
	SessionMost = 8 * time.Hour    // since it was opened
)

// askEvery is how often the provider is asked again about the person of a session (case N2).
const askEvery = time.Minute

// seenEvery is how fine it is kept when a person did something last: a busy person writes once a minute.
const seenEvery = time.Minute

// errNoSession is the error of a session or a link that never was, or has ended.
const errNoSession = absent("session not found")

// OpenSession keeps a session of a person under the hash of its token, and what renews it, which must be encrypted; nil: nothing does.
func (s *Store) OpenSession(ctx context.Context, token string, p history.Person, renewal []byte) error {
	hash := sha256.Sum256([]byte(token))
	_, err := s.query.Exec(ctx, "INSERT INTO console_session (token_sha256, subject, name, roles, also, renewal) VALUES ($1, $2, $3, $4, $5, $6)",
		hash[:], p.Subject, p.Name, p.Roles, append([]string{}, p.Also...), renewal)
	return Unavailable("open a session", err)
}

// TakeRenewal returns what renews a session that is due to one caller, of all replicas; nil to the others.
func (s *Store) TakeRenewal(ctx context.Context, token string) (renewal []byte, err error) {
	hash := sha256.Sum256([]byte(token))
	err = s.query.QueryRow(ctx, `UPDATE console_session SET asked_at = now() WHERE token_sha256 = $1 AND renewal IS NOT NULL AND asked_at <= now() - $2::interval
RETURNING renewal`, hash[:], askEvery).Scan(&renewal)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return renewal, Unavailable("look whether a session is to be renewed", err)
}

// RenewSession keeps the roles that the provider told when it was asked again, and what renews the session next. kept is false when it has ended.
func (s *Store) RenewSession(ctx context.Context, token string, roles []string, renewal []byte) (kept bool, err error) {
	hash := sha256.Sum256([]byte(token))
	done, err := s.query.Exec(ctx, "UPDATE console_session SET roles = $2, renewal = $3 WHERE token_sha256 = $1", hash[:], roles, renewal)
	return done.RowsAffected() > 0, Unavailable("renew a session", err)
}

// Session finds the person of a session that has not ended; acts tells that the person does something, which prolongs it. due tells
// that the provider is to be asked again about the person. An error whose NotFound() answers true means that there is no session, or that it has ended.
func (s *Store) Session(ctx context.Context, token string, acts bool) (p history.Person, due bool, err error) {
	hash := sha256.Sum256([]byte(token))
	var quiet time.Duration
	err = s.query.QueryRow(ctx, `SELECT subject, name, roles, also, now() - seen_at, renewal IS NOT NULL AND asked_at <= now() - $4::interval FROM console_session
WHERE token_sha256 = $1 AND seen_at > now() - $2::interval AND opened_at > now() - $3::interval`, hash[:], SessionIdle, SessionMost, askEvery).
		Scan(&p.Subject, &p.Name, &p.Roles, &p.Also, &quiet, &due)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, false, errNoSession
	}
	if err == nil && acts && quiet > seenEvery {
		_, err = s.query.Exec(ctx, "UPDATE console_session SET seen_at = now() WHERE token_sha256 = $1", hash[:])
	}
	return p, due, Unavailable("read a session", err)
}

// EndSession ends a session, at once for every replica, and returns what renewed it; nil: nothing did. One that has ended is no error.
func (s *Store) EndSession(ctx context.Context, token string) (renewal []byte, err error) {
	hash := sha256.Sum256([]byte(token))
	err = s.query.QueryRow(ctx, "DELETE FROM console_session WHERE token_sha256 = $1 RETURNING renewal", hash[:]).Scan(&renewal)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return renewal, Unavailable("end a session", err)
}

// OfferLink keeps a link that opens one session within the time given.
func (s *Store) OfferLink(ctx context.Context, secret string, within time.Duration) error {
	hash := sha256.Sum256([]byte(secret))
	_, err := s.query.Exec(ctx, "INSERT INTO console_link (secret_sha256, expires_at) VALUES ($1, now() + $2::interval)", hash[:], within)
	return Unavailable("offer a link", err)
}

// TakeLink uses a link up. An error whose NotFound() answers true means that it never was, was used, or came too late.
func (s *Store) TakeLink(ctx context.Context, secret string) error {
	hash := sha256.Sum256([]byte(secret))
	done, err := s.query.Exec(ctx, "DELETE FROM console_link WHERE secret_sha256 = $1 AND expires_at > now()", hash[:])
	if err == nil && done.RowsAffected() == 0 {
		return errNoSession
	}
	return Unavailable("use a link", err)
}

// ForgetSessions deletes what has ended.
func (s *Store) ForgetSessions(ctx context.Context) error {
	_, err := s.query.Exec(ctx, "DELETE FROM console_session WHERE seen_at <= now() - $1::interval OR opened_at <= now() - $2::interval", SessionIdle, SessionMost)
	if err == nil {
		_, err = s.query.Exec(ctx, "DELETE FROM console_link WHERE expires_at <= now()")
	}
	return Unavailable("forget sessions", err)
}
