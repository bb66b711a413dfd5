package store

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

// writeRoom is memory in which a batch is written. pgx begins each message of over 1 kB, and the parameters of each statement, in a new
// buffer, which grows by copying to the some 100 kB of a batch.
type writeRoom struct {
	message    []byte // of all statements
	before     []byte // what the connection writes in otherwise
	parameters []byte // of one statement, until they are part of the message
	written    int    // bytes of arrays in the batch
}

// rooms are those that no batch is written in.
var rooms = make(spares[writeRoom], mostSpares)

// spares are values that are used again, which is memory for what a batch writes. They are never given up. A sync.Pool forgets what nobody used
// between two collections of garbage, and at full speed there are several of these between two batches.
type spares[T any] chan *T

// mostSpares bounds each kind of spares: as many batches as are usually under way.
const mostSpares = 4

// take returns one, or a new one.
func (s spares[T]) take() *T {
	select {
	case v := <-s:
		return v
	default:
		return new(T)
	}
}

// give keeps one unless there are enough.
func (s spares[T]) give(v *T) {
	select {
	case s <- v:
	default:
	}
}

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
	room := rooms.take()
	place.room = room
	pg.Frontend().Send(room)
	results := conn.SendBatch(ctx, b)
	place.room = nil
	if !pg.IsClosed() {
		left := leftRoom{room: room}
		pg.Frontend().Send(&left)
		if left.gone {
			room.learn()
			rooms.give(room)
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
	r.before = before
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

// leftRoom makes a connection leave a room. After a message of over 1 kB is sent pgx forgets its buffer. It keeps it after a shorter one, and
// gets back the one before. While it holds bytes that were not sent the room stays the connection's.
type leftRoom struct {
	room *writeRoom
	gone bool
}

// Encode implements pgproto3.FrontendMessage. It writes nothing.
func (l *leftRoom) Encode(now []byte) ([]byte, error) {
	before := l.room.before
	l.room.before = nil
	if cap(l.room.message) == 0 || cap(now) == 0 || &now[:1][0] != &l.room.message[:1][0] {
		l.gone = true
		return now, nil
	}
	if l.gone = len(now) == 0; l.gone {
		return before[:0], nil
	}
	return now, nil
}

// Nobody sends a room to us, and both sides of the protocol are told apart by a method.

func (*writeRoom) Decode([]byte) error { return nil }
func (*writeRoom) Frontend()           {}
func (*leftRoom) Decode([]byte) error  { return nil }
func (*leftRoom) Frontend()            {}

var _, _ pgproto3.FrontendMessage = (*writeRoom)(nil), (*leftRoom)(nil)
