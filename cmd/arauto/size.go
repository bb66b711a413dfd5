package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

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

// sizeFlags gives a command the flags --size and --witnessed. What it returns reads them.
func sizeFlags(c *cobra.Command) func() (int64, error) {
	size := c.Flags().Int64("size", 0, "read the log as of the checkpoint of this many entries; 0: the newest")
	witnessed := c.Flags().Bool("witnessed", false, "read the log as of the newest checkpoint that a witness cosigned")
	return func() (int64, error) {
		switch {
		case *witnessed && *size != 0:
			return 0, wrongUse("--size and --witnessed are both given; use one of them")
		case *witnessed:
			return auditlog.NewestCosigned, nil
		}
		return *size, checkSize("--size", *size)
	}
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
	if size == 0 && errors.Is(err, store.ErrNoCheckpoint) {
		return nil, errNothingSealed
	}
	return x, noSize(flag, err)
}

// errNothingSealed says of a log without any checkpoint what to do.
var errNothingSealed = errors.New("nothing is sealed yet, so there is no log to read: start arauto serve with the key of the log (log.key), which seals entries within seconds, and try again; if it runs, see docs/operations/alarm-log-not-sealed.md")
