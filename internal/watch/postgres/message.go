package postgres

import (
	stdbinary "encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
)

// errShort says that a message ends before it should.
var errShort = errors.New("the message is shorter than it says")

// byteCursor reads a message of pgoutput (PostgreSQL manual, "Logical Replication Message Formats"). The first read past the
// end makes all later ones empty, so that one look at bad suffices. The bytes are the connection's: they hold until the
// next message.
type byteCursor struct {
	rest []byte
	bad  bool
}

func (c *byteCursor) bytes(n int) []byte {
	if n < 0 || n > len(c.rest) {
		c.bad, c.rest = true, nil
		return nil
	}
	taken := c.rest[:n]
	c.rest = c.rest[n:]
	return taken
}

func (c *byteCursor) uint8() uint8 {
	if b := c.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *byteCursor) uint16() uint16 {
	if b := c.bytes(2); b != nil {
		return stdbinary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *byteCursor) uint32() uint32 {
	if b := c.bytes(4); b != nil {
		return stdbinary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *byteCursor) uint64() uint64 {
	if b := c.bytes(8); b != nil {
		return stdbinary.BigEndian.Uint64(b)
	}
	return 0
}

func (c *byteCursor) lsn() pglogrepl.LSN { return pglogrepl.LSN(c.uint64()) }

// y2k is where the server's clock counts from.
const y2k = 946684800 * 1_000_000

func (c *byteCursor) time() time.Time { return time.UnixMicro(int64(c.uint64()) + y2k).UTC() }

// text reads up to a zero byte.
func (c *byteCursor) text() string {
	for i, b := range c.rest {
		if b == 0 {
			return string(c.bytes(i + 1)[:i])
		}
	}
	c.bytes(len(c.rest) + 1)
	return ""
}

// begin opens a transaction. All of it follows, up to its commit; transactions come in the order of their commits.
type begin struct {
	final  pglogrepl.LSN // where its commit record begins
	commit time.Time
	xid    uint32
}

func readBegin(c *byteCursor) (begin, error) {
	b := begin{final: c.lsn(), commit: c.time(), xid: c.uint32()}
	return b, c.end("begin")
}

// readCommit returns where a transaction's commit record ends: what is acknowledged.
func readCommit(c *byteCursor) (pglogrepl.LSN, error) {
	c.uint8()
	c.lsn()
	end := c.lsn()
	c.time()
	return end, c.end("commit")
}

// described is a table as the stream describes it, before its first row and after each change of its columns.
type described struct {
	id           uint32
	schema, name string
	identity     byte // d: primary key, f: full, i: an index, n: nothing
	columns      []describedColumn
}

type describedColumn struct {
	name string
	key  bool
	oid  uint32
}

// mostColumns is the server's own limit, MaxTupleAttributeNumber.
const mostColumns = 1664

func readRelation(c *byteCursor) (described, error) {
	d := described{id: c.uint32(), schema: c.text(), name: c.text(), identity: c.uint8()}
	for range min(int(c.uint16()), mostColumns) {
		if c.bad {
			break
		}
		column := describedColumn{key: c.uint8()&1 != 0, name: c.text(), oid: c.uint32()}
		c.uint32() // type modifier
		d.columns = append(d.columns, column)
	}
	return d, c.end("relation")
}

// What a tuple says about a column.
const (
	isNull      = 'n'
	isUnchanged = 'u' // stored out of line, and not touched by this change
	isText      = 't'
)

// tuple is a row: what each column is, and its text.
type tuple struct {
	what []byte
	text [][]byte
}

// read fills a tuple, reusing its slices.
func (t *tuple) read(c *byteCursor) error {
	t.what, t.text = t.what[:0], t.text[:0]
	n := int(c.uint16())
	if n > mostColumns {
		return fmt.Errorf("a row of %d columns", n)
	}
	for range n {
		what, text := c.uint8(), []byte(nil)
		switch what {
		case isNull, isUnchanged:
		case isText:
			text = c.bytes(int(c.uint32()))
		default:
			if c.bad {
				return errShort
			}
			return fmt.Errorf("a column in the unknown form %q", what)
		}
		t.what, t.text = append(t.what, what), append(t.text, text)
	}
	if c.bad {
		return errShort
	}
	return nil
}

// change is an insert, update or delete. The tuples are reused by the next one.
type change struct {
	relation uint32
	old, new tuple
	before   byte // what old is: K, the key; O, the whole row; 0, absent
	after    bool // new is there
}

// read fills a change from the message of the kind I, U or D.
func (ch *change) read(c *byteCursor) error {
	ch.relation, ch.before, ch.after = c.uint32(), 0, false
	for len(c.rest) > 0 {
		switch what := c.uint8(); what {
		case 'K', 'O':
			if err := ch.old.read(c); err != nil {
				return err
			}
			ch.before = what
		case 'N':
			if err := ch.new.read(c); err != nil {
				return err
			}
			ch.after = true
		default:
			return fmt.Errorf("a row of the unknown kind %q", what)
		}
	}
	if c.bad || !ch.after && ch.before == 0 {
		return errShort
	}
	return nil
}

// end refuses a message that was cut, or that says more than we know how to read.
func (c *byteCursor) end(what string) error {
	if c.bad {
		return fmt.Errorf("read a %s message: %w", what, errShort)
	}
	return nil
}
