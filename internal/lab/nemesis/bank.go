package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/temppostgres"
	"github.com/arauto/arauto/internal/ofb"
)

// bank is a core that the replicas follow by its database log: one table of payments in partitions, on a PostgreSQL of its
// own. Each state that it commits is written down here, outside of the product.
type bank struct {
	server  *temppostgres.Server
	url     string // of the owner
	mapping string // file
	client  *client

	mu       sync.Mutex
	branches []string                // those that have a partition
	in       map[string]int          // payments begun in a branch
	states   map[string][]ofb.Status // committed, by resource id
}

// bankStory is what each payment goes through, one commit a state.
var bankStory = []ofb.Status{ofb.RCVD, ofb.PDNG, ofb.ACSC}

// commitsEach is the distance between two commits of the bank.
const commitsEach = 140 * time.Millisecond

const (
	bankSource = "nemesis-bank"
	bankSlot   = "arauto_nemesis"
)

// bankSchema is what the bank has, and what its administrator made for us. Its publication names the root, and not
// publish_via_partition_root: each row is told as one of its partition.
const bankSchema = `
CREATE TABLE payments (
  branch text NOT NULL, id text NOT NULL, client_id text NOT NULL, status text NOT NULL, details jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(), updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (branch, id)
) PARTITION BY LIST (branch);
CREATE TABLE payments_0001 PARTITION OF payments FOR VALUES IN ('0001');
CREATE TABLE payments_0002 PARTITION OF payments FOR VALUES IN ('0002');
CREATE ROLE arauto_reader LOGIN REPLICATION PASSWORD 'reader';
GRANT SELECT ON payments TO arauto_reader;
CREATE PUBLICATION arauto FOR TABLE payments;`

const bankMapping = `source: ` + bankSource + `
type: postgres
postgres: {url_file: %s, publication: arauto, slot: ` + bankSlot + `, create: true}
tables:
  payments:
    kind: pix-payment
    brand: "'ouro'"
    id: id
    client: client_id
    version: v5
    status: status
    occurredAt: [updated_at, committed_at]
    data:
      consentId: details.consentId
      endToEndId: details.endToEndId
      creationDateTime: instant(created_at)
      statusUpdateDateTime: instant(updated_at)
      localInstrument: details.localInstrument
      proxy: details.proxy
      cnpjInitiator: details.cnpjInitiator
      payment: details.payment
      remittanceInformation: details.remittanceInformation
      authorisationFlow: details.authorisationFlow
      creditorAccount: details.creditorAccount
      debtorAccount: details.debtorAccount
`

// openBank starts the server, makes the tables and writes the mapping.
func openBank(ctx context.Context, dir string) (b *bank, err error) {
	b = &bank{branches: []string{"0001", "0002"}, in: map[string]int{}, states: map[string][]ofb.Status{}, mapping: filepath.Join(dir, "bank.yaml")}
	b.server, err = temppostgres.Start(ctx, temppostgres.Options{Private: true, Dir: dir, Settings: []string{"wal_level=logical", "shared_buffers=16MB"}})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.server.Stop())
		}
	}()
	if b.url, err = b.server.CreateDatabase(ctx, "bank", ""); err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, b.url)
	if err != nil {
		return nil, err
	}
	defer leave(ctx, conn)
	if _, err := conn.Exec(ctx, bankSchema); err != nil {
		return nil, err
	}
	reader, err := url.Parse(b.url)
	if err != nil {
		return nil, err
	}
	reader.User = url.UserPassword("arauto_reader", "reader")
	address := filepath.Join(dir, "bank.url")
	return b, errors.Join(os.WriteFile(address, []byte(reader.String()+"\n"), 0o600),
		os.WriteFile(b.mapping, fmt.Appendf(nil, bankMapping, strconv.Quote(address)), 0o600))
}

func canFollow(n *nemesis) error { return n.unfollowed }

// openBankClient registers the initiator of the bank's payments, whom no fault of registrations is about, and waits until
// the log is followed: what is committed from then on is news, and told.
func (n *nemesis) openBankClient(ctx context.Context) error {
	if n.bank == nil {
		return nil
	}
	c := &client{id: "itp-bank", brand: n.ouro.Name, facts: initiators[0], receiver: n.receivers[0], generation: 1}
	if err := n.replicas[0].core.Load().Register(ctx, c.id, c.registration()); err != nil {
		return fmt.Errorf("register %s: %w", c.id, err)
	}
	n.bank.client = c
	conn, err := pgx.Connect(ctx, n.bank.url)
	if err != nil {
		return err
	}
	defer leave(ctx, conn)
	for began := time.Now(); ; rest(ctx, 100*time.Millisecond) {
		var following bool
		err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1 AND active AND confirmed_flush_lsn IS NOT NULL)", bankSlot).Scan(&following)
		switch {
		case err != nil:
			return err
		case following:
			n.say("nemesis", "the replicas follow a bank's table of payments in partitions, %.1f commits a second", time.Second.Seconds()/commitsEach.Seconds())
			return nil
		case time.Since(began) > time.Minute:
			return errors.New("no replica follows the bank's log after a minute")
		}
	}
}

// payment is one that has states to come.
type payment struct {
	branch, id string
	reached    int // states committed
}

// work commits one state after the other until ctx ends, and then what is left of the payments that were begun. Every third
// commit begins a payment, half of them in the newest branch.
func (b *bank) work(ctx context.Context, r *rand.Rand) error {
	whole := context.WithoutCancel(ctx)
	conn, err := pgx.Connect(whole, b.url)
	if err != nil {
		return fmt.Errorf("connect to the bank: %w", err)
	}
	defer leave(whole, conn)
	var open []payment
	tick := time.NewTicker(commitsEach)
	defer tick.Stop()
	for number := 0; ; number++ {
		<-tick.C
		var p payment
		switch nextStep(ctx.Err() != nil, number, len(open)) {
		case begin:
			p = payment{branch: b.drawn(r), id: fmt.Sprintf("nemesis-bank-%06d-a", number)}
		case goOn:
			p, open = open[0], open[1:]
		case end:
			return nil
		}
		if err := b.commit(whole, conn, p); err != nil {
			return fmt.Errorf("the bank cannot commit: %w", err)
		}
		if p.reached++; p.reached < len(bankStory) {
			open = append(open, p)
		}
	}
}

// step is what the bank does next.
type step int

const (
	begin step = iota // a payment
	goOn              // with the payment that waits longest
	end               // all that was begun is ended
)

// nextStep tells it, with so many payments open.
func nextStep(over bool, number, open int) step {
	switch {
	case over && open == 0:
		return end
	case !over && (number%len(bankStory) == 0 || open == 0):
		return begin
	}
	return goOn
}

// drawn is a branch for a new payment.
func (b *bank) drawn(r *rand.Rand) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.IntN(2) == 0 {
		return b.branches[len(b.branches)-1]
	}
	return b.branches[r.IntN(len(b.branches))]
}

// commit writes the next state of a payment, and then its line of our book.
func (b *bank) commit(ctx context.Context, conn *pgx.Conn, p payment) error {
	state := bankStory[p.reached]
	var err error
	if p.reached == 0 {
		_, err = conn.Exec(ctx, b.insertion(p))
	} else {
		_, err = conn.Exec(ctx, "UPDATE payments SET status = $3, updated_at = clock_timestamp() WHERE branch = $1 AND id = $2", p.branch, p.id, string(state))
	}
	if err != nil {
		return err
	}
	b.note(p, state)
	return nil
}

// insertion is the statement that begins a payment. All that is in it is our own, and has no quotes.
func (b *bank) insertion(p payment) string {
	details := openapitest.Document(ofb.PixPayment, "v5", bankStory[0], p.id)
	return fmt.Sprintf("INSERT INTO payments (branch, id, client_id, status, details) VALUES ('%s', '%s', '%s', '%s', '%s')", p.branch, p.id, b.client.id, bankStory[0], details)
}

func (b *bank) note(p payment, state ofb.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.states[p.id] = append(b.states[p.id], state)
	if p.reached == 0 {
		b.in[p.branch]++
	}
}

// of are the states that were committed of a resource; nil: it is none of the bank's.
func (b *bank) of(id string) []ofb.Status {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.states[id])
}

// committed counts the states.
func (b *bank) committed() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, states := range b.states {
		n += len(states)
	}
	return n
}

// begun counts the payments of a branch.
func (b *bank) begun(branch string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.in[branch]
}

// partitionWays are how a bank adds a partition. None of the partitions has rows from before it was one: at such a partition
// the source stops, on purpose (docs/operations/core-postgresql.md, "When rows may be missing").
var partitionWays = []struct{ what, statements string }{
	{"in one transaction with its first row", "BEGIN; CREATE TABLE payments_%b PARTITION OF payments FOR VALUES IN ('%b'); %first; COMMIT"},
	{"as an empty table that is attached", "CREATE TABLE payments_%b (LIKE payments INCLUDING ALL); ALTER TABLE payments ATTACH PARTITION payments_%b FOR VALUES IN ('%b')"},
	{
		"with two partitions of its own", `BEGIN; CREATE TABLE payments_%b PARTITION OF payments FOR VALUES IN ('%b') PARTITION BY HASH (id);
		CREATE TABLE payments_%b_0 PARTITION OF payments_%b FOR VALUES WITH (MODULUS 2, REMAINDER 0);
		CREATE TABLE payments_%b_1 PARTITION OF payments_%b FOR VALUES WITH (MODULUS 2, REMAINDER 1); COMMIT`,
	},
}

// newBranch adds a partition in the way given, and has the load write to it.
func (b *bank) newBranch(ctx context.Context, way int) (branch string, err error) {
	conn, err := pgx.Connect(ctx, b.url)
	if err != nil {
		return "", err
	}
	defer leave(ctx, conn)
	b.mu.Lock()
	branch = fmt.Sprintf("%04d", len(b.branches)+1)
	b.mu.Unlock()
	first := payment{branch: branch, id: "nemesis-bank-first-" + branch + "-a"}
	statements := partitionWays[way].statements
	if _, err := conn.Exec(ctx, strings.NewReplacer("%b", branch, "%first", b.insertion(first)).Replace(statements)); err != nil {
		return "", fmt.Errorf("add a partition %s: %w", partitionWays[way].what, err)
	}
	if strings.Contains(statements, "%first") {
		for ; first.reached < len(bankStory); first.reached++ {
			if first.reached == 0 {
				b.note(first, bankStory[0])
			} else if err := b.commit(ctx, conn, first); err != nil {
				return "", err
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.branches = append(b.branches, branch)
	return branch, nil
}
