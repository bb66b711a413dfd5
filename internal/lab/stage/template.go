package stage

import (
	"context"
	"errors"

	"github.com/arauto/arauto/internal/lab/temppostgres"
	"github.com/arauto/arauto/internal/store"
)

// templateDatabase is the migrated database of a template and of the stages that copy it.
const templateDatabase = "arauto"

// Template is a halted database server with the product's schema, to be copied by stages of the same process. Its files are
// removed when the process ends.
type Template struct{ server *temppostgres.Server }

// NewTemplate makes a template.
func NewTemplate(ctx context.Context) (*Template, error) {
	server, err := temppostgres.Start(ctx, temppostgres.Options{Private: true})
	if err != nil {
		return nil, err
	}
	database, err := server.CreateDatabase(ctx, templateDatabase, "")
	if err == nil {
		err = store.Migrate(ctx, database)
	}
	if err = errors.Join(err, server.Halt()); err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	return &Template{server}, nil
}
