package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/notice"
)

// SaveReceivers keeps certificates of receivers for all replicas and for the time after a restart. One that was seen before
// what is kept of its client changes nothing.
func (s *Store) SaveReceivers(ctx context.Context, seen []notice.SeenCertificate) error {
	batch := &pgx.Batch{}
	for i := range seen {
		c := &seen[i]
		batch.Queue(`INSERT INTO receiver_certificate (client_id, subject, issuer, serial, fingerprint, not_after, wrong, seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (client_id) DO UPDATE SET subject = excluded.subject, issuer = excluded.issuer, serial = excluded.serial, fingerprint = excluded.fingerprint,
  not_after = excluded.not_after, wrong = excluded.wrong, seen_at = excluded.seen_at WHERE receiver_certificate.seen_at < excluded.seen_at`,
			string(c.Client), c.Subject, c.Issuer, c.Serial, c.Fingerprint, ToTime(c.NotAfter), c.Wrong, ToTime(c.SeenAt))
	}
	return Unavailable("keep receivers' certificates", s.query.SendBatch(ctx, batch).Close())
}

// Receivers reads the certificates of receivers that any replica has seen last: at most so many, the latest first.
func (s *Store) Receivers(ctx context.Context, most int) ([]notice.SeenCertificate, error) {
	out, err := All(ctx, s.query, func(c *notice.SeenCertificate) []any {
		return []any{&c.Client, &c.Subject, &c.Issuer, &c.Serial, &c.Fingerprint, &c.NotAfter, &c.Wrong, &c.SeenAt}
	}, `SELECT client_id, subject, issuer, serial, fingerprint, not_after, wrong, seen_at FROM receiver_certificate ORDER BY seen_at DESC LIMIT $1`, most)
	return out, Unavailable("read receivers' certificates", err)
}
