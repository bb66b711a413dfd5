package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// checkSize refuses a flag that cannot be the number of entries of a checkpoint; 0 stands for the newest.
func checkSize(flag string, size int64) error {
	if size < 0 {
		return wrongUse("%s: %d is not a number of entries; use the size of a checkpoint, 1 or more, or omit the flag for the newest", flag, size)
	}
	return nil
}

// noSize names the flag whose size no checkpoint has; any other error stays.
func noSize(flag string, err error) error {
	if missing, ok := errors.AsType[*store.NoCheckpoint](err); ok {
		return fmt.Errorf("%s: %w", flag, missing)
	}
	return err
}

// openLog opens the log as of the size that a flag says.
func openLog(ctx context.Context, url, flag string, size int64) (*auditlog.LogReader, error) {
	x, err := auditlog.OpenExport(ctx, url, size)
	return x, noSize(flag, err)
}
