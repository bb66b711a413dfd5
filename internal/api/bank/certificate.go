package bank

import (
	"net/http"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/trust"
)

// Calendar knows when what we trust and show comes to its end; *trust.Trust does. Its methods return at once.
type Calendar interface {
	// Certificates are our own and our authorities', as they are in force.
	Certificates() []trust.Certificate
	// Receivers are those of initiators' webhook endpoints, as this replica last saw them in a handshake.
	Receivers() []trust.ReceiverCertificate
	// RevocationLists are the lists in force, and those that were named and never came.
	RevocationLists() []trust.RevocationList
}

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

// listCertificates is the calendar of expiry, of this replica.
func (in *Internal) listCertificates(x *api.Exchange) error {
	if _, err := parameters(x.R.URL.RawQuery); err != nil {
		return err
	}
	if in.cfg.Calendar == nil {
		return errNotFound
	}
	out := certificatesJSON{Certificates: []certificateJSON{}, Receivers: []receiverJSON{}, RevocationLists: []revocationListJSON{}}
	for _, c := range in.cfg.Calendar.Certificates() {
		out.Certificates = append(out.Certificates, certificateJSON{c.Role, c.Source, c.Subject, c.Serial, instant(c.NotAfter), c.Days(x.Began)})
	}
	for _, r := range in.cfg.Calendar.Receivers() {
		out.Receivers = append(out.Receivers, receiverJSON{
			r.Client, r.Subject, r.Serial, r.Fingerprint, instant(r.NotAfter), r.Days(x.Began), instant(r.SeenAt),
		})
	}
	for _, l := range in.cfg.Calendar.RevocationLists() {
		out.RevocationLists = append(out.RevocationLists, revocationListJSON{
			l.Direction, l.Source, l.Issuer, instantOrNull(l.ThisUpdate), instantOrNull(l.NextUpdate), instantOrNull(l.ValidUntil),
			instantOrNull(l.SoftFailUntil), l.Entries, l.Proven,
		})
	}
	return answer(x, http.StatusOK, out)
}
