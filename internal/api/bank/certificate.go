package bank

import (
	"net/http"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/trust"
)

// Calendar knows when what we trust and show comes to its end; *trust.Trust does. Its methods return at once.
type Calendar interface {
	// Certificates are our own and our authorities', as they are in force.
	Certificates() []trust.Certificate
	// Receivers are those of initiators' webhook endpoints, as a replica last saw them in a handshake, also in one that failed.
	Receivers() []trust.ReceiverCertificate
	// RevocationLists are the lists in force, and those that were named and never came.
	RevocationLists() []trust.RevocationList
}

// certificatesPath is where the calendar of expiry is read.
const certificatesPath = "/internal/v1/certificates"

type certificatesJSON struct {
	Certificates    []certificateJSON    `json:"certificates"`
	Receivers       []receiverJSON       `json:"receivers"`
	RevocationLists []revocationListJSON `json:"revocationLists"`
}

type certificateJSON struct {
	Role     string  `json:"role"`
	Source   string  `json:"source"`
	Subject  string  `json:"subject"`
	Serial   string  `json:"serial"`
	NotAfter instant `json:"notAfter"`
	DaysLeft int     `json:"daysLeft"`
}

type receiverJSON struct {
	ClientID    notice.ClientID `json:"clientId"`
	Subject     string          `json:"subject"`
	Serial      string          `json:"serial"`
	Fingerprint string          `json:"fingerprint"`
	NotAfter    instant         `json:"notAfter"`
	DaysLeft    int             `json:"daysLeft"`
	SeenAt      instant         `json:"seenAt"`
	Issuer      string          `json:"issuer"`
	Wrong       *string         `json:"wrong"` // why the handshake failed; null: it did not
}

type revocationListJSON struct {
	Direction     string   `json:"direction"`
	Source        string   `json:"source"`
	Issuer        string   `json:"issuer"`
	ThisUpdate    *instant `json:"thisUpdate"`
	NextUpdate    *instant `json:"nextUpdate"`
	ValidUntil    *instant `json:"validUntil"`
	SoftFailUntil *instant `json:"softFailUntil"`
	Entries       int      `json:"entries"`
	Proven        bool     `json:"proven"`
}

func certificatesOf(c Calendar, now time.Time) (out []certificateJSON) {
	if c == nil {
		return nil
	}
	for _, c := range c.Certificates() {
		out = append(out, certificateJSON{c.Role, c.Source, c.Subject, c.Serial, instant(c.NotAfter), c.Days(now)})
	}
	return out
}

func receiversOf(c Calendar, now time.Time) (out []receiverJSON) {
	if c == nil {
		return nil
	}
	for _, r := range c.Receivers() {
		out = append(out, receiverJSON{r.Client, r.Subject, r.Serial, r.Fingerprint, instant(r.NotAfter), r.Days(now), instant(r.SeenAt), r.Issuer, orNull(r.Wrong)})
	}
	return out
}

// listCertificates is the calendar of expiry, of this replica.
func (in *Internal) listCertificates(x *api.Exchange) error {
	if in.cfg.Calendar == nil {
		return errNotFound
	}
	out := certificatesJSON{Certificates: []certificateJSON{}, Receivers: []receiverJSON{}, RevocationLists: []revocationListJSON{}}
	out.Certificates = append(out.Certificates, certificatesOf(in.cfg.Calendar, x.Began)...)
	out.Receivers = append(out.Receivers, receiversOf(in.cfg.Calendar, x.Began)...)
	for _, l := range in.cfg.Calendar.RevocationLists() {
		out.RevocationLists = append(out.RevocationLists, revocationListJSON{
			l.Direction, l.Source, l.Issuer, instantOrNull(l.ThisUpdate), instantOrNull(l.NextUpdate), instantOrNull(l.ValidUntil),
			instantOrNull(l.SoftFailUntil), l.Entries, l.Proven,
		})
	}
	return answer(x, http.StatusOK, out)
}
