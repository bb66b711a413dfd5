package history

import (
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// FeedPlace is a place in the feed of one client: the transaction that wrote an entry and the id of the entry, in the order
// in which the log is sealed. At is the database's instant of that transaction's beginning, by which the place is found. The zero
// value is the beginning of the feed.
type FeedPlace struct {
	XID int64
	ID  notice.ID
	At  time.Time
}

// FeedQuery asks for the notifications of one client that follow a place.
type FeedQuery struct {
	Client notice.ClientID
	After  FeedPlace
	Missed bool // those that ended undelivered, in the order of their ends; else all, in the order in which they were decided
	Limit  int  // at most so many, 1 or more
}

// FeedPage is an answer to a FeedQuery.
type FeedPage struct {
	Records []Record
	Next    FeedPlace // the place to continue after
	Through int64     // the transaction before which nothing is missing in this page, unless it is full or More
	More    bool      // the read ended before Through: go on after Next at once, also when there are no records
}

// FeedNews names the clients whose feeds may have grown, and those whose registrations have changed.
type FeedNews struct {
	Through    int64 // the transaction before which everything was looked at
	Announced  []notice.ClientID
	Missed     []notice.ClientID
	Registered []notice.ClientID // put or removed
}

// SentAttempt is an attempt as its receiver may see it, with the proofs that its entries are in the log.
type SentAttempt struct {
	Record      Record // of its notification, with all attempts
	Number      int    // of the attempt in Record
	Proof       []byte // of the entry that recorded the attempt before it was sent; nil: it is not sealed yet, or it is that of the change, which is the bank's alone
	ResultProof []byte // of the entry about its end; nil: it has not ended, or its end is not sealed yet
	LogKey      []byte // the log's public key, 32 bytes; nil: none is registered
}
