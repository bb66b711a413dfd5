package store

import (
	"context"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

// writeRoom is memory in which a batch is written. pgx begins each message of over 1 kB, and the parameters of each statement, in a new
// buffer, which grows by copying to the some 100 kB of a batch.
type writeRoom struct {
	message    []byte // of all statements
	parameters []byte // of one statement, until they are part of the message
	written    int    // bytes of arrays in the batch
}

// rooms are those that no batch is written in.
var rooms = sync.Pool{New: func() any { return new(writeRoom) }}

// roomMost is how many bytes of either kind a room has at the most.
const roomMost = 1 << 20

// writePlace is where a connection writes: in a room while it sends a batch, else nil.
type writePlace struct{ room *writeRoom }

// placeKey is where a connection has its place.
const placeKey = "arauto.place"

// batchSender is a connection or a transaction.
type batchSender interface {
	Conn() *pgx.Conn
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// sendBatch is SendBatch, written in a room, for batches of many kilobytes.
func sendBatch(ctx context.Context, conn batchSender, b *pgx.Batch) pgx.BatchResults {
	pg := conn.Conn().PgConn()
	place, has := pg.CustomData()[placeKey].(*writePlace)
	if !has || pg.IsClosed() { // one that closes writes its last message beside us
		return conn.SendBatch(ctx, b)
	}
	room := rooms.Get().(*writeRoom)
	place.room = room
	pg.Frontend().Send(room)
	results := conn.SendBatch(ctx, b)
	place.room = nil
	if !pg.IsClosed() {
		left := leftRoom{room: room}
		pg.Frontend().Send(&left)
		if left.gone {
			room.learn()
			rooms.Put(room)
		}
	}
	return results
}

// learn makes room for what the batch has needed and a quarter more.
func (r *writeRoom) learn() {
	if need := min(r.written+r.written/4, roomMost); cap(r.message) < need {
		r.message = make([]byte, 0, need)
	}
	r.written = 0
}

// Encode implements pgproto3.FrontendMessage: what is to be sent goes on in the room.
func (r *writeRoom) Encode(before []byte) ([]byte, error) {
	if cap(r.message) <= cap(before) {
		return before, nil
	}
	return append(r.message[:0], before...), nil
}

// grow returns parameters with room for n bytes more. Those that do not fit go on in the room, where there is one.
func (p *writePlace) grow(b []byte, n int) []byte {
	r, need := p.room, len(b)+n
	if r == nil {
		return slices.Grow(b, n)
	}
	r.written += n
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

// leftRoom looks whether a connection has left a room: after a message of over 1 kB is sent pgx forgets its buffer, and keeps it after a
// shorter one, or when nothing was sent.
type leftRoom struct {
	room *writeRoom
	gone bool
}

// Encode implements pgproto3.FrontendMessage. It writes nothing.
func (l *leftRoom) Encode(before []byte) ([]byte, error) {
	l.gone = cap(l.room.message) == 0 || cap(before) == 0 || &before[:1][0] != &l.room.message[:1][0]
	return before, nil
}

// Nobody sends a room to us, and both sides of the protocol are told apart by a method.

func (*writeRoom) Decode([]byte) error { return nil }
func (*writeRoom) Frontend()           {}
func (*leftRoom) Decode([]byte) error  { return nil }
func (*leftRoom) Frontend()            {}

var _, _ pgproto3.FrontendMessage = (*writeRoom)(nil), (*leftRoom)(nil)
