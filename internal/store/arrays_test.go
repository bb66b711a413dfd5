package store

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"
)

// someColumns are columns of every type that statements send, with n rows each; some values are NULL or at the end of their range.
func someColumns(r *rand.Rand, n int) map[uint32][]any {
	var texts []string
	var words []pgtype.Text
	var bytes [][]byte
	var ids []pgtype.UUID
	var instants []pgtype.Timestamptz
	var longs []int64
	var revisions []pgtype.Int8
	var shorts []int16
	var numbers []pgtype.Int2
	var flags []bool
	edges := []int64{0, -1, math.MaxInt64, math.MinInt64, r.Int64()}
	for range n {
		valid, edge := r.IntN(3) > 0, edges[r.IntN(len(edges))]
		text := strings.Repeat("é{,\"\\}NULL ", r.IntN(4))
		texts, words = append(texts, text), append(words, pgtype.Text{String: text, Valid: valid})
		bytes = append(bytes, [][]byte{nil, {}, []byte(text + "\x00")}[r.IntN(3)])
		ids = append(ids, pgtype.UUID{Bytes: [16]byte{byte(edge), 15: byte(n)}, Valid: valid})
		instant := pgtype.Timestamptz{Time: time.Unix(r.Int64N(8_000_000_000)-4_000_000_000, r.Int64N(1e9)).In(time.FixedZone("x", -3*3600)), Valid: valid}
		if r.IntN(5) == 0 {
			instant.InfinityModifier = []pgtype.InfinityModifier{pgtype.Infinity, pgtype.NegativeInfinity}[r.IntN(2)]
		}
		instants = append(instants, instant)
		longs, revisions = append(longs, edge), append(revisions, pgtype.Int8{Int64: edge, Valid: valid})
		shorts, numbers = append(shorts, int16(edge)), append(numbers, pgtype.Int2{Int16: int16(edge), Valid: valid})
		flags = append(flags, valid)
	}
	return map[uint32][]any{
		pgtype.TextArrayOID: {texts, words}, pgtype.ByteaArrayOID: {bytes}, pgtype.UUIDArrayOID: {ids}, pgtype.TimestamptzArrayOID: {instants},
		pgtype.Int8ArrayOID: {longs, revisions}, pgtype.Int2ArrayOID: {shorts, numbers}, pgtype.BoolArrayOID: {flags},
	}
}

// TestArraysAreWrittenAsTheDriverWritesThem compares the bytes of every column, as NULL, empty and filled, behind other parameters.
func TestArraysAreWrittenAsTheDriverWritesThem(t *testing.T) {
	theirs, ours := pgtype.NewMap(), pgtype.NewMap()
	writeArraysWith(ours, &writePlace{})
	r := rand.New(rand.NewPCG(1, 2))
	same := func(oid uint32, column any) {
		before := []byte("before")
		want, err := theirs.Encode(oid, pgtype.BinaryFormatCode, column, before[:6:6])
		got, refusal := ours.Encode(oid, pgtype.BinaryFormatCode, column, before[:6:6])
		require.Equal(t, err == nil, refusal == nil, "%T of type %d: %v, and the driver %v", column, oid, refusal, err)
		require.Equal(t, want, got, "%T of type %d", column, oid)
	}
	for _, n := range []int{0, 1, 2, 3, 300} {
		for range 20 {
			for oid, columns := range someColumns(r, n) {
				for _, column := range columns {
					known, _ := ours.TypeForOID(oid)
					require.NotNil(t, planOf(known.Codec.(arrayCodec).ElementType.OID, column, &writePlace{}), "%T is written by us", column)
					same(oid, column)
				}
			}
		}
	}
	for oid, columns := range map[uint32][]any{
		pgtype.TextArrayOID: {[]string{}, []pgtype.Text{}}, pgtype.UUIDArrayOID: {[]pgtype.UUID{}, []string{"018f0000-0000-7000-8000-000000000001"}, [][16]byte{{1}}, nil},
		pgtype.Int8ArrayOID: {[]int64{}, []int{1, 2}, []int32{3}, []*int64{nil}}, pgtype.Int2ArrayOID: {[]int{4}, []int64{5}}, pgtype.ByteaArrayOID: {[][]byte{}},
		pgtype.TimestamptzArrayOID: {[]time.Time{time.Unix(1, 2)}}, pgtype.BoolArrayOID: {[]*bool{nil}},
	} {
		for _, column := range columns {
			same(oid, column)
		}
	}
}

// BenchmarkArrays writes the columns of two hundred rows, as one commit has them, by the driver and by us.
func BenchmarkArrays(b *testing.B) {
	columns := someColumns(rand.New(rand.NewPCG(1, 2)), 200)
	for name, prepare := range map[string]func(*pgtype.Map){"driver": func(*pgtype.Map) {}, "ours": func(m *pgtype.Map) { writeArraysWith(m, &writePlace{}) }} {
		b.Run(name, func(b *testing.B) {
			m := pgtype.NewMap()
			prepare(m)
			b.ReportAllocs()
			for b.Loop() {
				var buffer []byte
				for oid, all := range columns {
					for _, column := range all {
						out, err := m.Encode(oid, pgtype.BinaryFormatCode, column, buffer)
						if err != nil {
							b.Fatal(err)
						}
						buffer = out[:0]
					}
				}
			}
		})
	}
}
