package intake

import (
	"context"
	"fmt"

	"github.com/arauto/arauto/internal/notice"
)

// Pasts reads the stored state of a change's resource, without a lock.
type Pasts interface {
	Past(ctx context.Context, c *notice.Change) (notice.Past, error)
}

// Foresight is the verdict on a change that is not stored.
type Foresight struct {
	Answer
	Past     notice.Past
	Decision notice.Decision
}

// Foresee returns the answer that Accept would give to a line now, and stores nothing. It reads from pasts; nil: the change
// is judged as the first of its resource, of a client with an address. The error is a *LineError, or that of pasts.
func (in *Intake) Foresee(ctx context.Context, line []byte, from Origin, pasts Pasts) (Foresight, error) {
	c, err := in.Read(line, from)
	if err != nil {
		return Foresight{}, err
	}
	f := Foresight{Past: notice.Past{Push: true, Epoch: 1}}
	if pasts != nil {
		if f.Past, err = pasts.Past(ctx, c); err != nil {
			return Foresight{}, fmt.Errorf("foresee a change: %w", err)
		}
	}
	f.Decision = in.judge(c, &f.Past)
	f.Answer = answerOf(c, &f.Decision)
	return f, nil
}
