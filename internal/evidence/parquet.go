//go:build !lean

package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// columns are those of the Parquet file: seq, and an entry's in the order of audit.Columns, each with its real type.
// Only seq and at are there for a removed entry too. The struct is their schema; rows are made by hand, as a NULL is not
// the same as an empty text.
type columns struct {
	Seq            int64    `parquet:"seq"`
	ID             [16]byte `parquet:"id,uuid,optional"`
	At             int64    `parquet:"at,timestamp(microsecond:utc)"`
	XID            int64    `parquet:"xid,optional"`
	Kind           string   `parquet:"kind,dict,optional"`
	ClientID       string   `parquet:"clientId,dict,optional"`
	ResourceKind   int16    `parquet:"resourceKind,int(16),dict,optional"`
	ResourceID     string   `parquet:"resourceId,optional"`
	Revision       int64    `parquet:"revision,optional"`
	NotificationID [16]byte `parquet:"notificationId,uuid,optional"`
	ChangeID       [16]byte `parquet:"changeId,uuid,optional"`
	InteractionID  [16]byte `parquet:"interactionId,uuid,optional"`
	Number         int16    `parquet:"number,int(16),dict,optional"`
	Outcome        string   `parquet:"outcome,dict,optional"`
	Closes         string   `parquet:"closes,dict,optional"`
	CreatedAt      int64    `parquet:"createdAt,timestamp(microsecond:utc),optional"`
	Brand          string   `parquet:"brand,dict,optional"`
	Facts          string   `parquet:"facts,json,optional"`
	Private        string   `parquet:"private,json,optional"`
}

// cells is one row on its way to the file.
type cells struct{ row parquet.Row }

// add puts the value of the next column; required columns have no level of definition.
func (c *cells) add(v parquet.Value, level int) { c.row = append(c.row, v.Level(0, level, len(c.row))) }

// optional puts the value of the next optional column; nil is NULL.
func optional[T any](c *cells, v *T, value func(T) parquet.Value) {
	if v == nil {
		c.add(parquet.NullValue(), 0)
		return
	}
	c.add(value(*v), 1)
}

func (c *cells) text(s *string) {
	optional(c, s, func(s string) parquet.Value { return parquet.ByteArrayValue([]byte(s)) })
}

func (c *cells) uuid(u *notice.ID) {
	optional(c, u, func(u notice.ID) parquet.Value { return parquet.FixedLenByteArrayValue(u[:]) })
}

func (c *cells) short(n *int16) {
	optional(c, n, func(n int16) parquet.Value { return parquet.Int32Value(int32(n)) })
}

func (c *cells) long(n *int64) { optional(c, n, parquet.Int64Value) }

func (c *cells) fill(s *audit.Sealed) {
	var e audit.Entry // of a removed one everything but its time is NULL
	var id *notice.ID
	var xid *int64
	var kind, facts *string
	if s.Entry != nil {
		e = *s.Entry
		id, xid, kind, facts = &e.ID, &e.XID, &e.Kind, &e.Facts
	}
	c.row = c.row[:0]
	c.add(parquet.Int64Value(s.Seq), 0)
	c.uuid(id)
	c.add(parquet.Int64Value(int64(s.At)), 0)
	c.long(xid)
	c.text(kind)
	c.text(e.ClientID)
	c.short(e.ResourceKind)
	c.text(e.ResourceID)
	c.long(e.Revision)
	c.uuid(e.NotificationID)
	c.uuid(e.ChangeID)
	c.uuid(e.InteractionID)
	c.short(e.Number)
	c.text(e.Outcome)
	c.text(e.Closes)
	c.long((*int64)(e.CreatedAt))
	c.text(e.Brand)
	c.text(facts)
	c.text(e.Private)
}

// rowGroup is how many rows a row group has, which is what is held in memory: some 60 MB of usual entries at most.
const rowGroup = 50_000

// writeParquet is for analysis by columns; like CSV it proves nothing, so each entry is compared with its leaf first. The log's name, the checkpoint and the
// filter stand in the file's metadata.
func writeParquet(ctx context.Context, log SealedLog, s history.Search, version string, w io.Writer) (n int64, err error) {
	head := log.Head()
	filter, _ := json.Marshal(s.Filter()) // of strings alone it cannot fail; members in alphabetical order
	file := parquet.NewGenericWriter[columns](w,
		parquet.CreatedBy("arauto", version, ""), parquet.MaxRowsPerRowGroup(rowGroup), parquet.DataPageVersion(1),
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}), parquet.KeyValueMetadata("arauto.log", audit.Origin(head.Public)),
		parquet.KeyValueMetadata("arauto.checkpoint", string(head.Note)), parquet.KeyValueMetadata("arauto.filter", string(filter)))
	var c cells
	err = log.Each(ctx, s, func(e *audit.Sealed) error {
		if err := genuine(e); err != nil {
			return err
		}
		n++
		c.fill(e)
		_, err := file.WriteRows([]parquet.Row{c.row})
		return err
	})
	return n, errors.Join(err, file.Close())
}
