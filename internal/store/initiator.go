package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// initiatorRow is the table initiator as gorm reads and writes it.
type initiatorRow struct {
	ClientID        string `gorm:"primaryKey"`
	OrganisationID  string
	SoftwareID      string
	Name            string
	WebhookURIs     []string `gorm:"column:webhook_uris;serializer:json"`
	Push            bool
	PushEpoch       int64
	Removed         bool
	StatementDigest []byte
	CreatedAt       time.Time
	UpdatedAt       time.Time
}

// TableName is gorm's way to ask.
func (initiatorRow) TableName() string { return "initiator" }

func (r initiatorRow) initiator() notice.Initiator {
	return notice.Initiator{
		Client: notice.ClientID(r.ClientID), OrganisationID: r.OrganisationID, SoftwareID: r.SoftwareID, Name: r.Name,
		WebhookURIs: r.WebhookURIs, Push: r.Push, StatementDigest: r.StatementDigest, UpdatedAt: r.UpdatedAt.UTC(),
	}
}

type registrationFacts struct {
	System          string    `json:"system"`
	Actor           string    `json:"actor"`
	Role            string    `json:"role,omitempty"`
	Source          string    `json:"source,omitempty"` // address and port it was asked from
	Act             string    `json:"act"`              // "put" or "delete"
	OrganisationID  string    `json:"organisationId,omitempty"`
	SoftwareID      string    `json:"softwareId,omitempty"`
	WebhookURIs     []string  `json:"webhookUris"`
	Before          []string  `json:"before"`
	Push            bool      `json:"push"`
	PushEpoch       int64     `json:"pushEpoch"`
	StatementDigest string    `json:"statementDigest,omitempty"`
	Basis           string    `json:"basis,omitempty"` // of one that was followed
	EffectiveAt     time.Time `json:"effectiveAt"`
}

// PutInitiator stores a registration and its entry, and tells whether the client is new (or was removed before). A
// switch-off raises the push epoch: what waits under the old one is never sent again, at no replica, from this commit
// on. When only the address changes, what waits goes to the new one.
func (s *Store) PutInitiator(ctx context.Context, in notice.Initiator, actor string) (stored notice.Initiator, created bool, err error) {
	err = s.orm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		row, known, err := lockInitiator(tx, in.Client)
		if err != nil {
			return err
		}
		created = !known || row.Removed
		before := row.WebhookURIs
		push := len(in.WebhookURIs) > 0
		if row.Push && !push {
			row.PushEpoch++
		}
		row.OrganisationID, row.SoftwareID, row.Name = in.OrganisationID, in.SoftwareID, in.Name
		row.WebhookURIs, row.Push, row.Removed, row.StatementDigest = in.WebhookURIs, push, false, in.StatementDigest
		stored.Basis = in.Basis
		return s.saveInitiator(tx, &row, registrationAct{"put", actor, before}, &stored)
	})
	if err != nil {
		return notice.Initiator{}, false, Unavailable("store the registration", err)
	}
	return stored, created, nil
}

// DeleteInitiator ends a registration. The row stays, so that its epoch goes on rising; ErrNotFound if there is none.
func (s *Store) DeleteInitiator(ctx context.Context, client notice.ClientID, actor string) error {
	var gone notice.Initiator
	err := s.orm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		row, known, err := lockInitiator(tx, client)
		if err != nil {
			return err
		}
		if !known || row.Removed {
			return ErrNotFound
		}
		before := row.WebhookURIs
		if row.Push {
			row.PushEpoch++
		}
		row.Push, row.Removed, row.WebhookURIs = false, true, nil
		return s.saveInitiator(tx, &row, registrationAct{"delete", actor, before}, &gone)
	})
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("initiator %s: %w", client, ErrNotFound)
	}
	return Unavailable("remove the registration", err)
}

// lockInitiator makes the row if need be and locks it, so that two writers of one client take turns.
func lockInitiator(tx *gorm.DB, client notice.ClientID) (row initiatorRow, known bool, err error) {
	made := tx.Exec(`INSERT INTO initiator (client_id, organisation_id, software_id, name, push, removed) VALUES (?, '', '', '', false, true)
ON CONFLICT (client_id) DO NOTHING`, string(client))
	if made.Error != nil {
		return row, false, made.Error
	}
	err = tx.Raw("SELECT * FROM initiator WHERE client_id = ? FOR UPDATE", string(client)).Scan(&row).Error
	return row, made.RowsAffected == 0, err
}

// registrationAct is what was done to a registration.
type registrationAct struct {
	name   string   // put or delete
	actor  string   // the subject of the token
	before []string // the addresses until then
}

func (s *Store) saveInitiator(tx *gorm.DB, row *initiatorRow, act registrationAct, out *notice.Initiator) error {
	list, err := json.Marshal(uris(row.WebhookURIs))
	if err != nil {
		return err
	}
	err = tx.Raw(`UPDATE initiator SET organisation_id = ?, software_id = ?, name = ?, webhook_uris = ?, push = ?, push_epoch = ?, removed = ?,
  statement_digest = ?, updated_at = clock_timestamp() WHERE client_id = ? RETURNING *`,
		row.OrganisationID, row.SoftwareID, row.Name, string(list), row.Push, row.PushEpoch, row.Removed, row.StatementDigest, row.ClientID).Scan(row).Error
	if err != nil {
		return err
	}
	basis := out.Basis
	*out = row.initiator()
	caller := CallerOf(tx.Statement.Context)
	text, err := Facts(registrationFacts{
		System: s.system, Actor: act.actor, Role: caller.Role, Source: caller.Source, Act: act.name, OrganisationID: row.OrganisationID, SoftwareID: row.SoftwareID,
		WebhookURIs: uris(row.WebhookURIs), Before: uris(act.before), Push: row.Push, PushEpoch: row.PushEpoch,
		StatementDigest: fmt.Sprintf("%x", row.StatementDigest), Basis: string(basis), EffectiveAt: row.UpdatedAt.UTC(),
	})
	if err != nil {
		return err
	}
	err = tx.Exec("INSERT INTO entry (id, kind, client_id, outcome, facts) VALUES (?, ?, ?, ?, ?::json)",
		NewID().String(), history.FactRegistered, row.ClientID, act.name, text).Error
	return errors.Join(err, s.step(tx))
}

// uris makes an absent list an empty one.
func uris(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// Initiator reads one registration; ErrNotFound when there is none or it was removed.
func (s *Store) Initiator(ctx context.Context, client notice.ClientID) (notice.Initiator, error) {
	var rows []initiatorRow
	if err := s.orm.WithContext(ctx).Where("client_id = ? AND NOT removed", string(client)).Find(&rows).Error; err != nil {
		return notice.Initiator{}, Unavailable("read the registration", err)
	}
	if len(rows) == 0 {
		return notice.Initiator{}, fmt.Errorf("initiator %s: %w", client, ErrNotFound)
	}
	return rows[0].initiator(), nil
}

// Brands lists the brands that have registrations, as they stand in keys.
func (s *Store) Brands(ctx context.Context) ([]brand.Prefix, error) {
	rows, err := s.query.Query(ctx, `SELECT DISTINCT CASE WHEN position(' ' IN client_id) > 0 THEN split_part(client_id, ' ', 1) ELSE '' END FROM initiator WHERE NOT removed ORDER BY 1`)
	if err != nil {
		return nil, Unavailable("list the brands", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[brand.Prefix])
	return names, Unavailable("list the brands", err)
}

// Letters with accents, and what they are compared as: a search minds neither case nor accents, whatever the locale of the database.
const accents, letters = "ÁÀÂÃÄáàâãäÉÈÊËéèêëÍÌÎÏíìîïÓÒÔÕÖóòôõöÚÙÛÜúùûüÇçÑñ", "aaaaaaaaaaeeeeeeeeiiiiiiiioooooooooouuuuuuuuccnn"

// hasText tells whether a registration has a text, which fold has prepared: ids are ASCII, and so are most names.
const hasText = `(strpos(lower(concat_ws(E'\n', organisation_id, software_id, client_id) COLLATE "C"), ?) > 0
  OR strpos(CASE WHEN octet_length(name) = char_length(name) THEN lower(name COLLATE "C") ELSE translate(lower(name COLLATE "C"), '` + accents + `', '` + letters + `') END, ?) > 0)`

// fold removes case and accents.
func fold(text string) string {
	from, to := []rune(accents), []rune(letters)
	return strings.Map(func(r rune) rune {
		if i := slices.Index(from, r); i >= 0 {
			return to[i]
		}
		return unicode.ToLower(r)
	}, text)
}

// Initiators reads the registrations that a query selects, ordered by client id.
func (s *Store) Initiators(ctx context.Context, q notice.InitiatorQuery) ([]notice.Initiator, error) {
	var rows []initiatorRow
	list := s.orm.WithContext(ctx).Where("NOT removed AND client_id > ?", string(q.After)).Order("client_id").Limit(q.Limit)
	if q.Text != "" {
		text := fold(q.Text)
		list = list.Where(hasText, text, text)
	}
	if err := list.Find(&rows).Error; err != nil {
		return nil, Unavailable("list the registrations", err)
	}
	out := make([]notice.Initiator, len(rows))
	for i, r := range rows {
		out[i] = r.initiator()
	}
	return out, nil
}
