// Package mockbank is a core that was not made for us, played on a real PostgreSQL: the tables of
// docs/samples/mockbank, written as the programs of such a bank write them. An ORM saves whole rows, many new payments go
// into one insert, an instant that was never set is that of the year 1, and a deadline that passed changes nothing until
// somebody reads.
//
// A Bank can keep a ledger: which states it committed, in the same transaction that committed them. So what must have
// been told can be known whatever was killed.
package mockbank

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/arauto/arauto/internal/ofb"
)

// URN stands before the ids of consents and enrolments when they are answered.
const (
	consentURN    = "urn:mockbank:consent:"
	recurringURN  = "urn:mockbank:recurring-consent:"
	enrollmentURN = "urn:mockbank:enrollment:"
)

// tables are where the kinds live, and what stands before their ids.
var tables = map[ofb.Kind]struct{ name, urn string }{
	ofb.PaymentConsent:   {"payment_consents", consentURN},
	ofb.PixPayment:       {"payments", ""},
	ofb.RecurringConsent: {"recurring_payment_consents", recurringURN},
	ofb.RecurringPayment: {"recurring_payments", ""},
	ofb.Enrollment:       {"enrollments", enrollmentURN},
}

// Table is where a kind lives.
func Table(kind ofb.Kind) string { return tables[kind].name }

// ResourceID is the id that the APIs show for a row.
func ResourceID(kind ofb.Kind, id string) string { return tables[kind].urn + id }

// Row is a row as the ORM holds it.
type Row map[string]any

// Bank is the core.
type Bank struct {
	pool    *pgxpool.Pool
	account string
	ledger  bool
}

// Open connects to an empty database, runs the statements given (schema.sql, access.sql) and opens an account.
func Open(ctx context.Context, url string, statements ...string) (*Bank, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect to the bank: %w", err)
	}
	b := &Bank{pool: pool, account: uuid.NewString()}
	for _, text := range append(statements, ledgerSchema) {
		if _, err := pool.Exec(ctx, text); err != nil {
			pool.Close()
			return nil, fmt.Errorf("make the bank's tables: %w", err)
		}
	}
	if err := b.Insert(ctx, "accounts", Row{"id": b.account, "number": "94088392", "branch_code": "0001", "type": "CONTA_DEPOSITO_A_VISTA", "created_at": now()}); err != nil {
		pool.Close()
		return nil, err
	}
	return b, nil
}

// Close ends its connections.
func (b *Bank) Close() { b.pool.Close() }

// Pool is for tests that look into the bank's own tables, or break its sessions.
func (b *Bank) Pool() *pgxpool.Pool { return b.pool }

const ledgerSchema = `CREATE TABLE IF NOT EXISTS told_by_core (n bigserial PRIMARY KEY, kind smallint NOT NULL, id text NOT NULL, status text NOT NULL)`

// KeepLedger writes down every state from now on.
func (b *Bank) KeepLedger() { b.ledger = true }

// Ledger is what was committed: the states of each resource, by kind and resource id, in order.
func (b *Bank) Ledger(ctx context.Context) (map[ofb.Kind]map[string][]ofb.Status, error) {
	rows, _ := b.pool.Query(ctx, "SELECT kind, id, status FROM told_by_core ORDER BY n")
	out := map[ofb.Kind]map[string][]ofb.Status{}
	var kind int16
	var id, status string
	_, err := pgx.ForEachRow(rows, []any{&kind, &id, &status}, func() error {
		k := ofb.Kind(kind)
		if out[k] == nil {
			out[k] = map[string][]ofb.Status{}
		}
		out[k][id] = append(out[k][id], ofb.Status(status))
		return nil
	})
	return out, err
}

func now() string { return time.Now().UTC().Format(time.RFC3339Nano) }

// Insert writes rows in one statement. Columns that a row does not name are null: an ORM sends them all.
func (b *Bank) Insert(ctx context.Context, table string, rows ...Row) error {
	text, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	return b.commit(ctx, table, rows, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, fmt.Sprintf("INSERT INTO %[1]s SELECT * FROM jsonb_populate_recordset(NULL::%[1]s, $1::jsonb)", table), string(text))
		return err
	})
}

// Save reads a row, lets change edit it, and writes all its columns back.
func (b *Bank) Save(ctx context.Context, table, id string, change func(Row)) error {
	var text []byte
	if err := b.pool.QueryRow(ctx, fmt.Sprintf("SELECT to_jsonb(t) FROM %s t WHERE id = $1", table), id).Scan(&text); err != nil {
		return fmt.Errorf("read %s: %w", table, err)
	}
	var row Row
	if err := json.Unmarshal(text, &row); err != nil {
		return err
	}
	columns := make([]string, 0, len(row))
	for name := range row {
		columns = append(columns, name)
	}
	slices.Sort(columns)
	change(row)
	row["updated_at"] = now()
	text, err := json.Marshal(row)
	if err != nil {
		return err
	}
	list := strings.Join(columns, ", ")
	return b.commit(ctx, table, []Row{row}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, fmt.Sprintf("UPDATE %[1]s SET (%[2]s) = (SELECT %[2]s FROM jsonb_populate_record(NULL::%[1]s, $1::jsonb)) WHERE id = $2", table, list),
			string(text), id)
		return err
	})
}

// commit writes in one transaction, with the ledger's lines where one is kept.
func (b *Bank) commit(ctx context.Context, table string, rows []Row, write func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		if err := write(tx); err != nil {
			return err
		}
		for kind, t := range tables {
			if t.name != table || !b.ledger {
				continue
			}
			for _, row := range rows {
				_, err := tx.Exec(ctx, "INSERT INTO told_by_core (kind, id, status) VALUES ($1, $2, $3)", int16(kind), t.urn+fmt.Sprint(row["id"]), row["status"])
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", table, err)
	}
	return nil
}

// Client registers an initiator, or changes its registration; without addresses it wants no push.
func (b *Bank) Client(ctx context.Context, id, organisation, software string, uris ...string) error {
	row := Row{
		"id": id, "data": Row{"client_name": "Iniciadora " + id, "custom_attributes": Row{"org_id": organisation, "software_id": software}}, "webhook_uris": uris,
		"created_at": now(), "updated_at": now(),
	}
	var there bool
	if err := b.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM oauth_clients WHERE id = $1)", id).Scan(&there); err != nil {
		return fmt.Errorf("find a client: %w", err)
	}
	if !there {
		return b.Insert(ctx, "oauth_clients", row)
	}
	return b.Save(ctx, "oauth_clients", id, func(r Row) { r["webhook_uris"], r["data"] = uris, row["data"] })
}

// endToEnd is a Pix identifier of a settlement at t.
func endToEnd(t time.Time) string {
	return "E99999004" + t.UTC().Format("200601021504") + rand.Text()[:11]
}
