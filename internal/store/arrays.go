package store

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"
)

// arrayCodec writes the columns of many rows as arrays in PostgreSQL's binary form, in one pass. The bytes are those of pgtype.ArrayCodec,
// which plans each element and puts it on the heap. Slices of other types, other formats, and all reading are left to it.
type arrayCodec struct {
	*pgtype.ArrayCodec
	place *writePlace
}

// writeArraysWith makes the connection of a type map write arrays by arrayCodec, at its place.
func writeArraysWith(m *pgtype.Map, place *writePlace) {
	for _, oid := range []uint32{
		pgtype.BoolArrayOID, pgtype.ByteaArrayOID, pgtype.Int2ArrayOID, pgtype.Int8ArrayOID, pgtype.TextArrayOID, pgtype.TimestamptzArrayOID, pgtype.UUIDArrayOID,
	} {
		t, known := m.TypeForOID(oid)
		if !known {
			continue
		}
		if codec, is := t.Codec.(*pgtype.ArrayCodec); is {
			m.RegisterType(&pgtype.Type{Name: t.Name, OID: oid, Codec: arrayCodec{codec, place}})
		}
	}
}

// PlanEncode implements pgtype.Codec. A slice is written by us only where its elements are those of the array's type: pgx converts others.
func (c arrayCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if format == pgtype.BinaryFormatCode {
		if plan := planOf(c.ElementType.OID, value, c.place); plan != nil {
			return plan
		}
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

// planOf is how a slice is written as an array of elements of a type; nil when it is not one of ours.
func planOf(element uint32, value any, place *writePlace) pgtype.EncodePlan {
	switch value.(type) {
	case []string:
		return only(element == pgtype.TextOID, arrayOf[string]{place, element, func(s *string) int { return len(*s) }, func(b []byte, s *string) ([]byte, bool) { return append(b, *s...), true }})
	case []pgtype.Text:
		return only(element == pgtype.TextOID, arrayOf[pgtype.Text]{place, element, func(s *pgtype.Text) int { return len(s.String) }, func(b []byte, s *pgtype.Text) ([]byte, bool) { return append(b, s.String...), s.Valid }})
	case [][]byte:
		return only(element == pgtype.ByteaOID, arrayOf[[]byte]{place, element, func(s *[]byte) int { return len(*s) }, func(b []byte, s *[]byte) ([]byte, bool) { return append(b, *s...), *s != nil }})
	case []pgtype.UUID:
		return only(element == pgtype.UUIDOID, arrayOf[pgtype.UUID]{place, element, fixed[pgtype.UUID](16), func(b []byte, u *pgtype.UUID) ([]byte, bool) { return append(b, u.Bytes[:]...), u.Valid }})
	case []pgtype.Timestamptz:
		return only(element == pgtype.TimestamptzOID, arrayOf[pgtype.Timestamptz]{place, element, fixed[pgtype.Timestamptz](8), appendInstant})
	case []int64:
		return only(element == pgtype.Int8OID, arrayOf[int64]{place, element, fixed[int64](8), func(b []byte, n *int64) ([]byte, bool) { return appendInt8(b, *n), true }})
	case []pgtype.Int8:
		return only(element == pgtype.Int8OID, arrayOf[pgtype.Int8]{place, element, fixed[pgtype.Int8](8), func(b []byte, n *pgtype.Int8) ([]byte, bool) { return appendInt8(b, n.Int64), n.Valid }})
	case []int16:
		return only(element == pgtype.Int2OID, arrayOf[int16]{place, element, fixed[int16](2), func(b []byte, n *int16) ([]byte, bool) { return appendInt2(b, *n), true }})
	case []pgtype.Int2:
		return only(element == pgtype.Int2OID, arrayOf[pgtype.Int2]{place, element, fixed[pgtype.Int2](2), func(b []byte, n *pgtype.Int2) ([]byte, bool) { return appendInt2(b, n.Int16), n.Valid }})
	case []bool:
		return only(element == pgtype.BoolOID, arrayOf[bool]{place, element, fixed[bool](1), appendBool})
	}
	return nil
}

// rowsOf is a subquery whose rows are made of arrays: column n, written as its name and its type, of parameter n. Arrays that are shorter
// than the longest are filled up with NULL, as by unnest of several in FROM. There PostgreSQL writes each array into a tuplestore and reads
// it again: 3.7 µs in place of 0.4 µs for a row of thirteen columns (docs/benchmarks.md). So statements of many columns use this one.
func rowsOf(columns ...string) string {
	var list []string
	for i, column := range columns {
		name, kind, _ := strings.Cut(column, " ")
		list = append(list, fmt.Sprintf("unnest($%d::%s[]) AS %s", i+1, kind, name))
	}
	return "(SELECT " + strings.Join(list, ", ") + ")"
}

// only is a plan, or none.
func only(fits bool, plan pgtype.EncodePlan) pgtype.EncodePlan {
	if !fits {
		return nil
	}
	return plan
}

// fixed is the size of each element, in bytes, of a type whose elements have one size.
func fixed[T any](n int) func(*T) int { return func(*T) int { return n } }

// arrayOf writes a []T. size is the most bytes that an element has; add appends one, and what it appended is taken back where it tells
// that the element is NULL.
type arrayOf[T any] struct {
	place   *writePlace
	element uint32
	size    func(*T) int
	add     func(b []byte, value *T) (out []byte, valid bool)
}

// headLen is the length of an array's head: dimensions, whether there is a NULL, the type of the elements, how many, and the first index.
const headLen = 20

// Encode implements pgtype.EncodePlan. A nil slice is NULL.
func (a arrayOf[T]) Encode(value any, b []byte) ([]byte, error) {
	all := value.([]T)
	if all == nil {
		return nil, nil
	}
	head, size := len(b), headLen
	for i := range all {
		size += 4 + a.size(&all[i])
	}
	b = append(a.place.grow(b, size), make([]byte, headLen)...)
	null := uint32(0)
	for i := range all {
		at := len(b)
		var valid bool
		if b, valid = a.add(append(b, 0, 0, 0, 0), &all[i]); valid {
			binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
		} else {
			null = 1
			b = append(b[:at], 0xff, 0xff, 0xff, 0xff)
		}
	}
	for n, field := range [...]uint32{1, null, a.element, uint32(len(all)), 1} {
		binary.BigEndian.PutUint32(b[head+4*n:], field)
	}
	return b, nil
}

func appendInt8(b []byte, n int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(n)) }

func appendInt2(b []byte, n int16) []byte { return binary.BigEndian.AppendUint16(b, uint16(n)) }

func appendBool(b []byte, is *bool) ([]byte, bool) {
	if *is {
		return append(b, 1), true
	}
	return append(b, 0), true
}

// epoch is where PostgreSQL's instants begin, 1 January 2000, in microseconds since 1970.
const epoch = 946_684_800_000_000

// appendInstant appends microseconds since epoch; the largest and the smallest number are infinity and -infinity.
func appendInstant(b []byte, t *pgtype.Timestamptz) ([]byte, bool) {
	switch t.InfinityModifier {
	case pgtype.Infinity:
		return appendInt8(b, 1<<63-1), t.Valid
	case pgtype.NegativeInfinity:
		return appendInt8(b, -1<<63), t.Valid
	default:
		return appendInt8(b, t.Time.Unix()*1_000_000+int64(t.Time.Nanosecond())/1000-epoch), t.Valid
	}
}
