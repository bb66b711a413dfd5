package history

import (
	"regexp"
	"time"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// Hold keeps entries of the history beyond their time, for as long as it stands: those of a client, those of a resource,
// or all. Several may concern the same; each is lifted by itself.
type Hold struct {
	Name       string          // the bank's own reference, such as the number of a lawsuit
	Client     notice.ClientID // "" and no resource: everything
	Kind       ofb.Kind
	ResourceID string
	Reason     string
	PlacedBy   string
	PlacedAt   time.Time
	Months     []string // partitions that would have been dropped and stay because of it
}

// SameScope tells whether two holds keep the same.
func (h Hold) SameScope(o Hold) bool {
	return h.Client == o.Client && h.Kind == o.Kind && h.ResourceID == o.ResourceID
}

var holdName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// ValidHoldName tells whether a name can be a hold's: 1 to 100 letters, digits, dots, low lines and hyphens.
func ValidHoldName(s string) bool { return holdName.MatchString(s) }
