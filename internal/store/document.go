package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// readDocument is one statement, so what it shows is of one instant, and now() is not before the question was put.
// Another client's document is never read: the owner is part of the query (status-apis §1.2).
const readDocument = `
SELECT now(), i.organisation_id, i.software_id, i.name, r.client_id = $1, r.api_version, r.status, CASE WHEN r.client_id = $1 THEN r.document END
FROM (SELECT) AS one
LEFT JOIN initiator i ON i.client_id = $1 AND NOT i.removed
LEFT JOIN resource r ON r.kind = $2 AND r.id = $3`

const readPayments = `
SELECT r.client_id = $1, r.id, r.api_version, r.status, CASE WHEN r.client_id = $1 THEN r.document END
FROM resource r WHERE r.kind = $2 AND r.consent_id = $3`

// readElsewhere finds what other brands have under the same id, or under the same consent.
const readElsewhere = `
SELECT EXISTS (SELECT FROM resource WHERE kind = $1 AND id = ANY($3)), $2 <> 0 AND EXISTS (SELECT FROM resource WHERE kind = $2 AND consent_id = ANY($3))`

// Read answers a status query from what is committed, in one round trip: who is asking, the resource with the owner
// compared, and the list that was asked for. ErrUnavailable when the database did not answer; there is no cache that
// could answer instead (design, Polls).
func (s *Store) Read(ctx context.Context, q notice.Question) (notice.PollReading, error) {
	batch := &pgx.Batch{}
	batch.Queue(readDocument, string(q.Client), int16(q.Kind), q.ID)
	if q.Under != 0 {
		batch.Queue(readPayments, string(q.Client), int16(q.Under), q.ID)
	}
	if len(q.Elsewhere) > 0 {
		batch.Queue(readElsewhere, int16(q.Kind), int16(q.Under), q.Elsewhere)
	}
	results := s.status.SendBatch(ctx, batch)
	defer results.Close()
	r, err := scanReading(results.QueryRow(), q)
	if err != nil {
		return notice.PollReading{}, Unavailable("read the resource", err)
	}
	if q.Under != 0 {
		if err := scanPayments(results, q, &r); err != nil {
			return notice.PollReading{}, Unavailable("read the payments of the consent", err)
		}
	}
	if len(q.Elsewhere) > 0 {
		if err := scanElsewhere(results, &r); err != nil {
			return notice.PollReading{}, Unavailable("read the resource", err)
		}
	}
	return r, Unavailable("read the resource", results.Close())
}

// scanElsewhere takes what another brand has for another client's.
func scanElsewhere(results pgx.BatchResults, r *notice.PollReading) error {
	var resource, payments bool
	if err := results.QueryRow().Scan(&resource, &payments); err != nil {
		return err
	}
	if !r.Known { // this brand's own payments decide, if there are any
		r.Found = r.Found || resource
	}
	r.Foreign = r.Foreign || payments
	return nil
}

func scanReading(row pgx.Row, q notice.Question) (notice.PollReading, error) {
	r := notice.PollReading{Stored: notice.Stored{Kind: q.Kind, ID: q.ID}}
	var organisation, software, name, version, status pgtype.Text
	var mine pgtype.Bool
	if err := row.Scan(Columns(&r.Now, &organisation, &software, &name, &mine, &version, &status, &r.Stored.Document)...); err != nil {
		return r, err
	}
	r.Found, r.Mine = mine.Valid, mine.Bool
	if organisation.Valid {
		r.Initiator = &notice.Initiator{Client: q.Client, OrganisationID: organisation.String, SoftwareID: software.String, Name: name.String}
	}
	if r.Mine {
		r.Stored.APIVersion, r.Stored.Status = version.String, ofb.Status(status.String)
	}
	var err error
	r.Stored.Document, err = Unpack(r.Stored.Document)
	return r, err
}

// scanPayments keeps what the question asks for while the rows pass, so that a long list costs only what it answers.
func scanPayments(results pgx.BatchResults, q notice.Question, r *notice.PollReading) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		one := notice.Stored{Kind: q.Under}
		var mine bool
		if err := rows.Scan(&mine, &one.ID, &one.APIVersion, (*string)(&one.Status), &one.Document); err != nil {
			return err
		}
		if one.Document, err = Unpack(one.Document); err != nil {
			return fmt.Errorf("resource %s: %w", one.ID, err)
		}
		switch {
		case !mine:
			r.Foreign = true
		case len(one.Document) == 0: // erased
		case len(r.Listed) <= q.Most && (q.Keep == nil || q.Keep(one.Document)):
			r.Listed = append(r.Listed, one)
		}
		r.Known = r.Known || mine
	}
	return rows.Err()
}
