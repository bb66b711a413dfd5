package postgres

import (
	"context"
	"strings"

	"github.com/arauto/arauto/internal/watch"
	"github.com/jackc/pgx/v5/pgconn"
)

// shape is how rows of a table come: the columns in their order.
type shape struct {
	table string // as the mapping names it
	names []string
	forms []*form
	keys  []int // columns that name a row
}

// shape is how rows of a result come.
func (r *Reader) shape(ctx context.Context, fields []pgconn.FieldDescription) (*shape, error) {
	s := &shape{}
	for _, field := range fields {
		f, err := r.form(ctx, field.DataTypeOID)
		if err != nil {
			return nil, err
		}
		s.names, s.forms = append(s.names, field.Name), append(s.forms, f)
	}
	return s, nil
}

// values makes a record's values of a row's texts; nil is NULL.
func (s *shape) values(row [][]byte) map[string]any {
	values := make(map[string]any, len(s.names))
	for i, name := range s.names {
		if row[i] == nil {
			values[name] = nil
		} else {
			values[name] = s.forms[i].value(row[i])
		}
	}
	return values
}

// key names a row for people.
func (s *shape) key(row [][]byte) string {
	var b strings.Builder
	b.WriteString(s.table)
	for _, k := range s.keys {
		b.WriteByte(' ')
		b.WriteString(s.names[k])
		b.WriteByte('=')
		b.WriteString(printable(row[k]))
	}
	return b.String()
}

// described are the columns as a Hand is told them.
func (s *shape) described() []watch.Column {
	columns := make([]watch.Column, len(s.names))
	for i, name := range s.names {
		columns[i] = watch.Column{Name: name, Type: s.forms[i].column()}
	}
	for _, k := range s.keys {
		columns[k].Key = true
	}
	return columns
}
