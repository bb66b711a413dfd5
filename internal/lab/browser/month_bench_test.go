package browser

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/internal/uuid"
)

const (
	monthSpan     = 28 * 24 * time.Hour // for which there are always partitions
	monthShare    = 64                  // notifications whose entries one transaction has, which are about two hundred
	monthWriters  = 3                   // connections that write entries
	monthUpToDate = 90 * time.Second
)

// month makes the history of the last 28 days faster than the gateway and its sealer could: entries are copied by the
// transactions that they name, and their positions, the tree and signed checkpoints come from the entries as they were
// made. The log that results is an ordinary one: the sealer goes on with it, and verification accepts it.
type month struct {
	b             *testing.B
	database      string
	began         time.Time // of the run
	first         time.Time // of the entries
	notifications int

	mu   sync.Mutex // gives transactions their ids in the order of their numbers
	next int
	made chan share
}

// share is what one transaction wrote, in the order of sealing.
type share struct {
	number  int
	entries []audit.Entry
}

// makeMonth makes at least so many entries.
func makeMonth(b *testing.B, database string, entries int) {
	b.Helper()
	m := &month{b: b, database: database, began: time.Now(), notifications: entries / 3, made: make(chan share, 2*monthWriters)}
	m.first = m.began.Add(-monthSpan)
	owner := m.connect()
	indexes := m.dropIndexes(owner)
	var writers sync.WaitGroup
	for range monthWriters {
		writers.Go(m.write)
	}
	go func() {
		writers.Wait()
		close(m.made)
	}()
	m.seal(owner)
	for _, definition := range indexes { // at once, which takes a fraction of the time
		_, err := owner.Exec(b.Context(), definition)
		require.NoError(b, err)
	}
	b.Logf("made in %s", time.Since(m.began).Round(time.Second))
}

func (m *month) connect() *pgx.Conn {
	conn, err := pgx.Connect(m.b.Context(), m.database)
	require.NoError(m.b, err)
	m.b.Cleanup(func() { _ = conn.Close(context.WithoutCancel(m.b.Context())) })
	_, err = conn.Exec(m.b.Context(), "SET search_path = arauto; SET synchronous_commit = off; SET maintenance_work_mem = '512MB'")
	require.NoError(m.b, err)
	return conn
}

// dropIndexes drops the indexes of the history and returns what makes them again.
func (m *month) dropIndexes(owner *pgx.Conn) []string {
	rows, err := owner.Query(m.b.Context(), "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'entry'::regclass")
	require.NoError(m.b, err)
	var names, definitions []string
	var name, definition string
	_, err = pgx.ForEachRow(rows, []any{&name, &definition}, func() error {
		names, definitions = append(names, name), append(definitions, strings.Replace(definition, " ON ONLY ", " ON ", 1))
		return nil
	})
	require.NoError(m.b, err)
	require.NotEmpty(m.b, names)
	_, err = owner.Exec(m.b.Context(), "DROP INDEX "+strings.Join(names, ", "))
	require.NoError(m.b, err)
	return definitions
}

// entryColumns are the columns that writers fill.
var entryColumns = []string{
	"id", "at", "xid", "kind", "client_id", "resource_kind", "resource_id", "revision", "notification_id", "interaction_id",
	"number", "outcome", "closes", "created_at", "facts",
}

// write writes transactions until all are made.
func (m *month) write() {
	conn, ctx := m.connect(), m.b.Context()
	for {
		n, xid := m.begin(conn)
		if n < 0 {
			return
		}
		s := share{n, m.entriesOf(n, xid)}
		_, err := conn.CopyFrom(ctx, pgx.Identifier{"entry"}, entryColumns, pgx.CopyFromSlice(len(s.entries), func(i int) ([]any, error) {
			e := &s.entries[i]
			var created *time.Time
			if e.CreatedAt != nil {
				at := e.CreatedAt.Time()
				created = &at
			}
			return []any{
				[16]byte(e.ID), e.At.Time(), e.XID, e.Kind, e.ClientID, e.ResourceKind, e.ResourceID, e.Revision, (*[16]byte)(e.NotificationID), (*[16]byte)(e.InteractionID),
				e.Number, e.Outcome, e.Closes, created, e.Facts,
			}, nil
		}))
		if err == nil {
			_, err = conn.Exec(ctx, "COMMIT")
		}
		if err != nil {
			m.b.Errorf("make entries: %s", err)
			return
		}
		m.made <- s
	}
}

// begin begins the next transaction, and returns its number and its id; a number below 0: no more is to be made.
func (m *month) begin(conn *pgx.Conn) (n int, xid int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n = m.next
	if n*monthShare >= m.notifications || m.b.Failed() {
		return -1, 0
	}
	if _, err := conn.Exec(m.b.Context(), "BEGIN"); err != nil {
		m.b.Errorf("begin: %s", err)
		return -1, 0
	}
	if err := conn.QueryRow(m.b.Context(), "SELECT pg_current_xact_id()::text::bigint").Scan(&xid); err != nil {
		m.b.Errorf("begin: %s", err)
		return -1, 0
	}
	m.next++
	return n, xid
}

// seal gives entries their positions, batch by batch, as they come.
func (m *month) seal(owner *pgx.Conn) {
	waiting, next := map[int]share{}, 0
	p := positions{b: m.b, owner: owner, key: pageKey(), began: m.began}
	for s := range m.made {
		for waiting[s.number] = s; ; next++ {
			s, there := waiting[next]
			if !there {
				break
			}
			delete(waiting, next)
			p.add(s.entries)
		}
	}
	require.False(m.b, m.b.Failed())
	require.Empty(m.b, waiting)
	p.flush()
}

// positions are positions that are to be stored, and the tree up to them.
type positions struct {
	b     *testing.B
	owner *pgx.Conn
	key   *audit.Signer
	began time.Time
	tree  audit.Range
	rows  [][]any
	nodes [][]any
}

func (p *positions) add(entries []audit.Entry) {
	var record []byte
	for i := range entries {
		e := &entries[i]
		record = e.AppendRecord(record[:0], p.tree.Size())
		leaf := audit.Leaf(record)
		p.rows = append(p.rows, []any{p.tree.Size(), e.XID, [16]byte(e.ID), e.At.Time(), leaf[:]})
		p.tree.Append(leaf, func(level int, n int64, h audit.Hash) {
			if level > 0 && level%audit.TileLevels == 0 {
				p.nodes = append(p.nodes, []any{int16(level), n, slices.Clone(h[:])})
			}
		})
	}
	if len(p.rows) >= auditlog.SealBatch {
		p.flush()
	}
}

// flush stores positions with the tree and a signed checkpoint, in one transaction as the sealer does.
func (p *positions) flush() {
	at := time.Now().Truncate(time.Microsecond)
	signed, err := p.key.Sign(audit.Checkpoint{Size: p.tree.Size(), Root: p.tree.Root(), At: audit.At(at)})
	require.NoError(p.b, err)
	require.NoError(p.b, pgx.BeginFunc(p.b.Context(), p.owner, func(tx pgx.Tx) error {
		if _, err := tx.CopyFrom(p.b.Context(), pgx.Identifier{"log_position"}, []string{"seq", "xid", "id", "at", "leaf"}, pgx.CopyFromRows(p.rows)); err != nil {
			return err
		}
		if _, err := tx.CopyFrom(p.b.Context(), pgx.Identifier{"log_node"}, []string{"level", "n", "hash"}, pgx.CopyFromRows(p.nodes)); err != nil {
			return err
		}
		_, err := tx.Exec(p.b.Context(), "INSERT INTO log_checkpoint (size, at, note) VALUES ($1, $2, $3)", p.tree.Size(), at, string(signed))
		return err
	}))
	tellProgress(p.b, "made and sealed", p.tree.Size()-int64(len(p.rows)), p.tree.Size(), p.began)
	p.rows, p.nodes = p.rows[:0], p.nodes[:0]
}

// entriesOf makes the entries of a transaction, in the order of sealing, which is that of their ids and times.
func (m *month) entriesOf(n int, xid int64) []audit.Entry {
	t := teller{b: m.b, xid: xid, random: rand.New(rand.NewPCG(1, uint64(n)))}
	for i := n * monthShare; i < min((n+1)*monthShare, m.notifications); i++ {
		t.notification(m.first.Add(time.Duration(float64(monthSpan-monthUpToDate) * float64(i) / float64(m.notifications))))
	}
	slices.SortFunc(t.entries, func(a, b audit.Entry) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return t.entries
}

// teller makes entries of one transaction.
type teller struct {
	b       *testing.B
	xid     int64
	random  *rand.Rand
	entries []audit.Entry
	client  string
	kind    int16
	id      string // of the resource
	note    uuid.UUID
	created audit.Instant // of the notification
}

// monthKinds are how often resources of each kind are.
var monthKinds = []ofb.Kind{2, 2, 2, 2, 2, 2, 1, 1, 3, 4, 5}

// notification makes the entries of one notification: of a change that records its first attempt unless that was late, of
// its attempts, of which 3 of 100 first ones fail, and of a status query. Some initiators are told more than others, and
// one of a thousand cannot be reached.
func (t *teller) notification(at time.Time) {
	number := int(pageInitiators * t.random.Float64() * t.random.Float64())
	resource, attempt := t.uuid(at), t.uuid(at)
	t.client, t.kind, t.id, t.note = "client-"+strconv.Itoa(number), int16(monthKinds[t.random.IntN(len(monthKinds))]), resource.String(), t.uuid(at)
	down, fails, late := number%1000 == 999, t.random.IntN(100) < 3, t.random.IntN(200) == 0
	t.created = audit.At(at)
	base := "https://" + t.client + ".example.com/hook"
	change := history.ChangeFacts{
		System: "replica-1 1.0", Source: "api", Actor: "core", Remote: "10.0.0.17:41234", APIVersion: "v5", Status: "ACSC", From: "ACPD", Cause: "holder",
		OccurredAt: at, WaitedUS: 900, DataHash: strings.Repeat(resource.String()[:8], 8), EventAt: at, Clause: "webhook §3.1", Epoch: 1,
	}
	e := audit.Entry{Kind: history.FactChange, Revision: new(int64), NotificationID: t.of(), Outcome: new(string)}
	*e.Revision, *e.Outcome = 1, "applied"
	if !late {
		change.First, e.InteractionID = &history.FirstFacts{Number: 1, Base: base}, &attempt
	}
	begun := t.add(at, e, change)
	if late {
		begun = t.attempt(at.Add(2*time.Second), 1, history.AttemptFacts{ScheduledAt: at, Late: true, Base: base})
		at = at.Add(2 * time.Second)
	}
	for n := int16(1); ; n++ {
		outcome, closes := "delivered", "delivered"
		if down || fails && n == 1 || fails && t.random.IntN(3) == 0 {
			if outcome, closes = "timeout", ""; n == notice.MaxAttempts {
				closes = "exhausted"
			}
		}
		t.result(at.Add(90*time.Millisecond), n, begun, outcome, closes, base)
		if closes != "" {
			break
		}
		at = at.Add([]time.Duration{10 * time.Second, 60 * time.Second}[n-1])
		begun = t.attempt(at, n+1, history.AttemptFacts{ScheduledAt: at, Base: base})
	}
	t.poll(at.Add(5 * time.Second))
}

// of is the notification's id.
func (t *teller) of() *uuid.UUID {
	id := t.note
	return &id
}

func (t *teller) attempt(at time.Time, number int16, facts history.AttemptFacts) uuid.UUID {
	interaction := t.uuid(at)
	return t.add(at, audit.Entry{Kind: history.FactAttempt, NotificationID: t.of(), InteractionID: &interaction, Number: &number}, facts)
}

func (t *teller) result(at time.Time, number int16, attempt uuid.UUID, outcome, closes, base string) {
	facts := history.ResultFacts{
		System: "replica-1 1.0", Number: int(number), Attempt: attempt.String(), URL: base + "/open-banking/webhook/v1/payments/v5/pix/payments/" + t.id, HTTPStatus: 202, Echo: "match",
		TLS:   &notice.TLSFacts{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", PeerSubject: "CN=" + t.client + ".example.com,O=Initiator,C=BR", PeerFingerprint: strings.Repeat("ab", 32), PeerSerial: "1f2e", PeerNotAfter: at.Truncate(24 * time.Hour).Add(90 * 24 * time.Hour), OwnSerial: "2d"},
		Local: "10.0.0.9:51234", Remote: "203.0.113.9:443", WaitedUS: 300, FirstByteUS: 900, AnsweredUS: 900 + int64(t.random.ExpFloat64()*65_000), ElapsedUS: 90_000,
	}
	if outcome != "delivered" {
		facts.HTTPStatus, facts.Echo, facts.AnsweredUS = 0, "", 0
	}
	e := audit.Entry{Kind: history.FactResult, NotificationID: t.of(), Number: &number, Outcome: &outcome}
	if closes != "" {
		e.Closes = &closes
	}
	if closes == "exhausted" {
		created := t.created
		e.CreatedAt = &created
	}
	t.add(at, e, facts)
	text := &t.entries[len(t.entries)-1].Facts // as the database adds it
	*text = strings.TrimSuffix(*text, "}") + `,"endedAt":"` + at.UTC().Format(time.RFC3339Nano) + `"}`
}

func (t *teller) poll(at time.Time) {
	outcome, interaction := "200", t.uuid(at)
	if t.random.IntN(50) == 0 {
		outcome = "404"
	}
	status, _ := strconv.Atoi(outcome)
	t.add(at, audit.Entry{Kind: history.FactPoll, InteractionID: &interaction, Outcome: &outcome}, pollFacts{
		System: "replica-1 1.0", Operation: "getPixPayment", Organisation: "org", Software: "software", Certificate: "0123456789abcdef", Issuer: "CN=AC,O=ICP,C=BR",
		Fingerprint: strings.Repeat("cd", 32), TokenHash: strings.Repeat("ef", 16), TokenID: interaction.String(), Source: "198.51.100.7:40404", ReceivedAt: at, DurationUS: 8000,
		HTTPStatus: status, Status: "ACSC", JTI: interaction.String(), KID: "key-1", Digest: strings.Repeat("09", 32),
	})
}

// textual are facts that write themselves.
type textual interface {
	AppendJSON(b []byte) ([]byte, error)
}

// pollFacts are written by the standard library.
type pollFacts notice.PollFacts

func (f pollFacts) AppendJSON(b []byte) ([]byte, error) {
	text, err := json.Marshal(notice.PollFacts(f))
	return append(b, text...), err
}

// add completes an entry of the notification, and returns its id.
func (t *teller) add(at time.Time, e audit.Entry, facts textual) uuid.UUID {
	text, err := facts.AppendJSON(nil)
	if err != nil {
		t.b.Errorf("write facts: %s", err)
	}
	client, kind, id := t.client, t.kind, t.id
	e.ID, e.At, e.XID, e.Facts = t.uuid(at), audit.At(at), t.xid, string(text)
	e.ClientID, e.ResourceKind, e.ResourceID = &client, &kind, &id
	t.entries = append(t.entries, e)
	return e.ID
}

// uuid is a UUID of version 7.
func (t *teller) uuid(at time.Time) (id uuid.UUID) {
	binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16|0x7000|uint64(t.random.IntN(1<<12)))
	binary.BigEndian.PutUint64(id[8:], t.random.Uint64()>>2|1<<63)
	return id
}
