package intake

import (
	"context"
	"errors"
	"time"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// Reject puts aside what a source could not make a change of: a case of the quarantine with what is known of the
// resource. It waits for room as Enqueue does. Line is what is kept, and may be larger than a change; Problems must not
// be empty, or it would be taken for a change.
func (in *Intake) Reject(ctx context.Context, c notice.Change) (*Pending, error) {
	if len(c.Problems) == 0 {
		return nil, errors.New("reject a record: no problem is named")
	}
	c.ID, c.Cause, c.ReceivedAt = in.cfg.NewID(), ofb.Holder, time.Now()
	p, _, err := in.await(ctx, &c, nil)
	return p, err
}
