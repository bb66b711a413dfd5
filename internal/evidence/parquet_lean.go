//go:build lean

package evidence

import (
	"context"
	"errors"
	"io"

	"github.com/arauto/arauto/internal/history"
)

// writeParquet refuses: the library of Parquet and what it needs are an eighth of what a build compiles, and the demo writes
// no such file.
func writeParquet(context.Context, SealedLog, history.Search, string, io.Writer) (int64, error) {
	return 0, errors.New("this build cannot write Parquet, because it was made with the tag lean; use the one that make build makes, or another format")
}
