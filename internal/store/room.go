package store

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

// writeRoom is memory in which a connection writes what it sends. pgx begins each message of over 1 kB, and the parameters of each
// statement, in a new buffer, which grows by copying to the some 100 kB of a batch. A connection has one user at a time, and so has
// its room: parameters are in it until they are part of the message, and the message until it is sent.
type writeRoom struct {
	message    []byte // of a batch, all statements
	parameters []byte // of one statement
	written    int    // bytes of arrays since the last batch began
}

// roomMost is how much of either a connection keeps, in bytes.
const roomMost = 1 << 20

// roomKey is where a connection has its room.
const roomKey = "arauto.room"

// batchSender is a connection or a transaction.
type batchSender interface {
	Conn() *pgx.Conn
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// sendBatch is SendBatch in the room of the connection, for batches of many kilobytes. One that prepares a statement first has no room: pgx
// sends that alone.
func sendBatch(ctx context.Context, conn batchSender, b *pgx.Batch) pgx.BatchResults {
	pg := conn.Conn().PgConn()
	if room, has := pg.CustomData()[roomKey].(*writeRoom); has && !pg.IsClosed() { // one that closes writes its last message beside us
		pg.Frontend().Send(room)
	}
	return conn.SendBatch(ctx, b)
}

// Encode implements pgproto3.FrontendMessage: what is to be sent goes on in the room. It has what the last batch needed and a quarter more.
func (r *writeRoom) Encode(before []byte) ([]byte, error) {
	need := min(r.written+r.written/4, roomMost)
	r.written = 0
	if cap(r.message) < need {
		r.message = make([]byte, 0, need)
	}
	if cap(r.message) <= cap(before) {
		return before, nil
	}
	return append(r.message[:0], before...), nil
}

// Decode implements pgproto3.Message. Nobody sends a room to us.
func (*writeRoom) Decode([]byte) error { return nil }

// Frontend implements pgproto3.FrontendMessage.
func (*writeRoom) Frontend() {}

var _ pgproto3.FrontendMessage = (*writeRoom)(nil)

// grow returns parameters with room for n bytes more. Those that do not fit go on in the room of the connection.
func (r *writeRoom) grow(b []byte, n int) []byte {
	r.written += n
	need := len(b) + n
	if need <= cap(b) {
		return b
	}
	if cap(r.parameters) < need {
		if need > roomMost {
			return slices.Grow(b, n)
		}
		r.parameters = make([]byte, 0, min(2*need, roomMost))
	}
	return append(r.parameters[:0], b...)
}
