package stage

import (
	"context"
	"errors"

	"github.com/arauto/arauto/internal/lab/temppostgres"
	"github.com/arauto/arauto/internal/store"
)

// modelDatabase is the migrated database of a model and of the stages that copy it.
const modelDatabase = "arauto"

// Model is a halted database server with the product's schema, to be copied by stages of the same process. Its files are
// removed when the process ends.
type Model struct{ server *temppostgres.Server }

// NewModel makes a model.
func NewModel(ctx context.Context) (*Model, error) {
	server, err := temppostgres.Start(ctx, temppostgres.Options{Private: true})
	if err != nil {
		return nil, err
	}
	database, err := server.CreateDatabase(ctx, modelDatabase, "")
	if err == nil {
		err = store.Migrate(ctx, database)
	}
	if err = errors.Join(err, server.Halt()); err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	return &Model{server}, nil
}
