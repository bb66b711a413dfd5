package status

import (
	"context"
	"regexp"
	"strings"
	"unicode"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// Acknowledgements keeps what clients say of their notifications; *auditlog.Log does.
type Acknowledgements interface {
	// Acknowledge records each that is the client's own and new, and tells the result of each, in their order.
	Acknowledge(ctx context.Context, client notice.ClientID, said []history.Acknowledgement) ([]history.AckResult, error)
}

// The bounds of acknowledgements.
const (
	acksMost       = 100 // of one call
	maxDescription = 256 // characters
)

// ackCode is what a code of a refusal looks like.
var ackCode = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

type acksAsked struct {
	Acks   []notice.ID `json:"acks"`
	Errors []ackError  `json:"errors"`
}

type ackError struct {
	ID          notice.ID `json:"id"`
	Code        string    `json:"code"`
	Description string    `json:"description"`
}

type acksJSON struct {
	Results []ackResult `json:"results"` // of acks, then of errors, in their order
}

type ackResult struct {
	ID     notice.ID         `json:"id"`
	Result history.AckResult `json:"result"`
}

// said judges the form of what a client says.
func (a *acksAsked) said() ([]history.Acknowledgement, error) {
	said := make([]history.Acknowledgement, 0, len(a.Acks)+len(a.Errors))
	for _, id := range a.Acks {
		said = append(said, history.Acknowledgement{Notification: id, Outcome: history.AckProcessed})
	}
	for _, e := range a.Errors {
		switch {
		case !ackCode.MatchString(e.Code):
			return nil, because(refParameter, "code of an error is not a word of up to 64 characters")
		case len([]rune(e.Description)) > maxDescription || strings.ContainsFunc(e.Description, unicode.IsControl):
			return nil, because(refParameter, "description of an error is too long or has control characters")
		}
		said = append(said, history.Acknowledgement{Notification: e.ID, Outcome: history.AckRefused, Code: e.Code, Description: e.Description})
	}
	if len(said) == 0 {
		return nil, because(refMissing, "neither acks nor errors")
	}
	if len(said) > acksMost {
		return nil, because(refParameter, "more acknowledgements than a call may have")
	}
	once := make(map[notice.ID]bool, len(said))
	for _, one := range said {
		if one.Notification.IsZero() || once[one.Notification] {
			return nil, because(refParameter, "an id is missing or stands twice")
		}
		once[one.Notification] = true
	}
	return said, nil
}

// postAcks keeps what the caller has processed or refused.
func (p *Public) postAcks(x *api.Exchange, op *extensionCall) error {
	var asked acksAsked
	who, self, err := p.openAct(x, op, &asked)
	if err != nil {
		return err
	}
	said, err := asked.said()
	if err != nil {
		return err
	}
	ctx, end, err := p.acting(x, who.OrganisationID)
	if err != nil {
		return err
	}
	defer end()
	results, err := p.cfg.Extension.Acknowledgements.Acknowledge(ctx, queryOf(x).poll.Client, said)
	if err != nil {
		return err
	}
	out := acksJSON{Results: make([]ackResult, len(said))}
	for i, one := range said {
		out.Results[i] = ackResult{one.Notification, results[i]}
	}
	queryOf(x).poll.Facts.Items = len(said)
	return p.tell(x, self, who.OrganisationID, out)
}
