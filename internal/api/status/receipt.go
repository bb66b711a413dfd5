package status

import (
	"context"
	"encoding/base64"
	"slices"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// receiptJSON tells of one attempt, with the proofs that its entries are in the log.
type receiptJSON struct {
	Notification eventJSON        `json:"notification"`
	Attempt      sentJSON         `json:"attempt"`
	LogKey       *string          `json:"logKey"` // Ed25519 public key of the log, base64
	Proofs       receiptProofJSON `json:"proofs"`
}

// sentJSON is an attempt with where it went and what was shown there.
type sentJSON struct {
	eventAttempt
	ScheduledAt string    `json:"scheduledAt"`
	URL         *string   `json:"url"`  // null while it is under way
	Echo        *string   `json:"echo"` // of x-webhook-interaction-id in the answer: match, missing or different
	TLS         *shownTLS `json:"tls"`  // null when there was no complete handshake
}

type shownTLS struct {
	Version             string  `json:"version"`
	Cipher              string  `json:"cipher"`
	ReceiverFingerprint string  `json:"receiverFingerprint"` // SHA-256 of the certificate that answered, hex
	HolderSerial        *string `json:"holderSerial"`        // of the certificate we presented, hex; null when none was asked for
	HolderFingerprint   *string `json:"holderFingerprint"`   // null when that certificate is not in use any more
}

// receiptProofJSON are proofs of entries as docs/audit-format.md says; null: the entry is not there, or not sealed yet.
type receiptProofJSON struct {
	Attempt *string `json:"attempt"`
	Result  *string `json:"result"`
}

// getReceipt answers "did you send me this?" for one attempt.
func (p *Public) getReceipt(x *api.Exchange, op *extensionCall) error {
	who, self, values, err := p.opened(x, op)
	if err != nil {
		return err
	}
	if err := onlyNames(values); err != nil {
		return err
	}
	interaction, err := notice.ParseID(x.Segment("interactionId"))
	if err != nil {
		return because(refParameter, "interaction id is not a UUID")
	}
	ctx, cancel := context.WithTimeout(x.R.Context(), historyWithin)
	defer cancel()
	end, err := p.reads.begin(ctx, who.OrganisationID)
	if err != nil {
		return err
	}
	defer end()
	sent, err := p.cfg.Extension.Receipts.SentAttempt(ctx, queryOf(x).poll.Client, interaction)
	if failure.NotFound(err) {
		return because(refNotFound, "no attempt to this client has this interaction id")
	}
	if err != nil {
		return err
	}
	q := queryOf(x)
	q.poll.Kind, q.poll.ResourceID = sent.Record.Kind, sent.Record.ResourceID
	return p.tell(x, self, who.OrganisationID, p.receiptOf(&sent))
}

func (p *Public) receiptOf(sent *history.SentAttempt) receiptJSON {
	out := receiptJSON{
		Notification: eventOf(&sent.Record),
		Proofs:       receiptProofJSON{known(string(sent.Proof)), known(string(sent.ResultProof))},
		LogKey:       known(base64.StdEncoding.EncodeToString(sent.LogKey)),
	}
	at := slices.IndexFunc(sent.Record.Attempts, func(a history.AttemptRecord) bool { return a.Number == sent.Number })
	if at < 0 {
		return out // its entry was read a moment ago
	}
	a := &sent.Record.Attempts[at]
	out.Attempt = sentJSON{eventAttempt: attemptOf(a), ScheduledAt: micros(a.ScheduledAt), URL: known(a.URL), Echo: known(string(a.Echo))}
	if t := a.TLS; t != nil {
		out.Attempt.TLS = &shownTLS{
			Version: t.Version, Cipher: t.Cipher, ReceiverFingerprint: t.PeerFingerprint, HolderSerial: known(t.OwnSerial),
			HolderFingerprint: known(p.cfg.Extension.Receipts.OwnFingerprint(sent.Record.Client, t.OwnSerial)),
		}
	}
	return out
}
