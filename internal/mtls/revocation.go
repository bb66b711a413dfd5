package mtls

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Two ways in which a certificate that verifies is refused; both are ErrPeer as well.
var (
	// ErrRevoked says that its authority took it back.
	ErrRevoked = errors.New("certificate revoked")
	// ErrNoEvidence says that nothing valid is known about it, and that the soft-fail window is over.
	ErrNoEvidence = errors.New("no valid evidence that the certificate is not revoked")
)

// Bounds of the soft-fail window: the guideline asks for a limited window of at least 1 h (webhook §7.4).
const (
	MinSoftFail = time.Hour
	MaxSoftFail = 24 * time.Hour
)

// RevocationOptions say where evidence comes from. OCSP, when on, is the primary mechanism and the lists its
// fallback; without OCSP the lists are the primary one. In both cases the soft-fail window is what remains.
type RevocationOptions struct {
	CRLFiles []string // lists in files, PEM or DER, kept fresh by somebody else; read again by Watch
	CRLURLs  []string // lists to fetch, http or https (they are signed)

	Keep string // folder in which fetched lists are kept for the next start; "": none

	OCSP          bool   // ask responders
	OCSPResponder string // this one rather than the one named in the certificate

	// Show is the form in which people are shown an address, without what may be secret in it; nil: as it is. Errors, events and lists name addresses so.
	Show func(address string) string

	// HTTP fetches lists and answers. Its dialer must be guarded as every dialer of the product is, its TLS
	// configuration come from PublicConfig. Required with CRLURLs or OCSP.
	HTTP *http.Client

	OCSPTTL  time.Duration // an answer is used at most this long, and never beyond its own end (1h)
	CRLTTL   time.Duration // a list is used at most this long after its source last offered it, nor beyond its end (24h)
	Refresh  time.Duration // lists are fetched this often (15m)
	SoftFail time.Duration // how long evidence serves after its end when nothing newer can be had (1h; 1h…24h)

	Observe func(RevocationDecision) // every decision, from the goroutine of the handshake; nil: nobody
	Events  func(ReloadEvent)        // lists that were taken into force or refused; nil: nobody
}

// Evidence is the kind of proof behind a decision.
type Evidence string

// The kinds of evidence, best first.
const (
	Stapled    Evidence = "ocsp-stapled" // sent by the peer within the handshake
	OCSPFetch  Evidence = "ocsp"         // the responder's answer, fetched for this handshake
	OCSPCache  Evidence = "ocsp-cache"   // the responder's answer, remembered
	CRL        Evidence = "crl"          // a list in force
	StaleOCSP  Evidence = "soft-fail-ocsp"
	StaleCRL   Evidence = "soft-fail-crl"
	NoEvidence Evidence = "none"
)

// RevocationVerdict is the result of a judgement on revocation.
type RevocationVerdict string

// The verdicts. Unchecked is given to intermediates whose issuer publishes no list that we were told of.
const (
	Good      RevocationVerdict = "good"
	Revoked   RevocationVerdict = "revoked"
	Refused   RevocationVerdict = "refused" // no evidence
	Unchecked RevocationVerdict = "unchecked"
)

// RevocationDecision is the record of one judgement on one certificate, for the logs that the guideline asks for.
type RevocationDecision struct {
	Subject, Serial, Issuer string // see Subject; serial in hexadecimal
	Verdict                 RevocationVerdict
	Evidence                Evidence
	Source                  string    // of a list: its file, or its URL as Show shows it
	Fallback                bool      // the primary mechanism gave nothing
	Reason                  string    // why it did not; "" otherwise
	ValidUntil              time.Time // of the evidence; in the past within the soft-fail window
	Took                    time.Duration
}

// Revocation judges whether certificates that verify have been taken back since (security §4.5, webhook §7.4). One
// serves one direction: receivers and initiators have different authorities. It is safe for concurrent use.
//
// It works without being Run, from files and questions asked in handshakes; Run keeps fetched lists fresh, and Watch those
// in files.
type Revocation struct {
	opts  RevocationOptions
	now   func() time.Time
	shown map[string]string // by the URL of a list
	lists crlStore
	ocsp  *ocspClient // nil when off

	mu         sync.Mutex                   // of taken, and one list taken at a time
	taken      map[string][sha256.Size]byte // by source: what its lists in force were read from
	generation atomic.Uint64
}

// NewRevocation reads the files of lists; it fetches nothing. A file that is not a list is a FileError; an
// expired list is accepted, because it may serve the soft-fail window and be replaced later.
func NewRevocation(opts RevocationOptions) (*Revocation, error) {
	opts.OCSPTTL = cmp.Or(opts.OCSPTTL, time.Hour)
	opts.CRLTTL = cmp.Or(opts.CRLTTL, 24*time.Hour)
	opts.Refresh = cmp.Or(opts.Refresh, 15*time.Minute)
	opts.SoftFail = cmp.Or(opts.SoftFail, MinSoftFail)
	if opts.SoftFail < MinSoftFail || opts.SoftFail > MaxSoftFail {
		return nil, fmt.Errorf("a soft-fail window of %v: it must be between %v and %v (webhook §7.4)", opts.SoftFail, MinSoftFail, MaxSoftFail)
	}
	if len(opts.CRLFiles)+len(opts.CRLURLs) == 0 && !opts.OCSP {
		return nil, errors.New("no source of revocation: name lists or switch OCSP on")
	}
	if opts.HTTP == nil && (opts.OCSP || len(opts.CRLURLs) > 0) {
		return nil, errors.New("revocation from the network needs an HTTP client")
	}
	if opts.Show == nil {
		opts.Show = func(address string) string { return address }
	}
	for _, text := range append([]string{opts.OCSPResponder}, opts.CRLURLs...) {
		if u, err := url.Parse(text); text != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			return nil, fmt.Errorf("%.200q is not an http or https URL", opts.Show(text))
		}
	}
	r := &Revocation{opts: opts, now: time.Now, taken: map[string][sha256.Size]byte{}, shown: shownAddresses(opts.CRLURLs, opts.Show)}
	r.lists = crlStore{ttl: opts.CRLTTL, lists: map[crlKey]*crl{}}
	if opts.OCSP {
		r.ocsp = &ocspClient{
			http: opts.HTTP, responder: opts.OCSPResponder, show: opts.Show, ttl: opts.OCSPTTL, keep: opts.SoftFail, now: func() time.Time { return r.now() },
			answers: map[string]*ocspAnswer{}, asking: map[string]*ocspQuestion{}, restTill: map[string]time.Time{},
		}
	}
	if _, err := r.Reload(); err != nil {
		return nil, err
	}
	if opts.Keep != "" {
		r.recallKept()
	}
	return r, nil
}

// Check is the hook for ServerConfig and ClientConfig: nil when nothing in the chain is revoked, as far as valid
// evidence goes.
func (r *Revocation) Check(cs tls.ConnectionState) error {
	_, err := r.Judge(cs)
	return err
}

// Judge decides on every certificate of the verified chain below its anchor, and says on what it rests. The leaf needs
// evidence; an intermediate needs it once its issuer's list is configured, since roots publish theirs rarely and not
// every one. Of several verified chains one must pass; a revoked certificate in any of them ends it.
func (r *Revocation) Judge(cs tls.ConnectionState) ([]RevocationDecision, error) {
	var decisions []RevocationDecision
	var failed error
	for _, chain := range cs.VerifiedChains {
		decided, err := r.judgeChain(chain, cs.OCSPResponse)
		decisions = append(decisions, decided...)
		if err == nil {
			return decisions, nil
		}
		if errors.Is(err, ErrRevoked) {
			return decisions, err
		}
		failed = err
	}
	if failed == nil {
		failed = fmt.Errorf("no verified chain: %w: %w", ErrNoEvidence, ErrPeer)
	}
	return decisions, failed
}

func (r *Revocation) judgeChain(chain []*x509.Certificate, stapled []byte) ([]RevocationDecision, error) {
	var out []RevocationDecision
	for i := range len(chain) - 1 { // the anchor is judged by nobody
		cert, issuer := chain[i], chain[i+1]
		if i > 0 {
			stapled = nil
		}
		began := time.Now()
		d := r.judge(cert, issuer, stapled, i == 0)
		d.Subject, d.Serial, d.Issuer = Subject(cert), serialText(cert), Subject(issuer)
		d.Took = time.Since(began)
		out = append(out, d)
		if r.opts.Observe != nil {
			r.opts.Observe(d)
		}
		switch d.Verdict {
		case Revoked:
			return out, fmt.Errorf("serial %s: %w: %w", d.Serial, ErrRevoked, ErrPeer)
		case Refused:
			return out, fmt.Errorf("serial %s: %w: %w", d.Serial, ErrNoEvidence, ErrPeer)
		}
	}
	return out, nil
}

// judge weighs the evidence on one certificate, from the best kind to the last resort.
func (r *Revocation) judge(cert, issuer *x509.Certificate, stapled []byte, leaf bool) RevocationDecision {
	now := r.now()
	list, listFresh := r.lists.find(cert, issuer, now)
	if !leaf && list == nil {
		return RevocationDecision{Verdict: Unchecked, Evidence: NoEvidence}
	}
	if list != nil && !listFresh && !r.serves(list.end(r.opts.CRLTTL), now) {
		list = nil // too old even for the window
	}
	reason := ""
	if r.ocsp != nil && leaf {
		answer, kind, err := r.primary(cert, issuer, stapled, list != nil)
		if err == nil {
			if listFresh && list.thisUpdate.After(answer.thisUpdate) && list.names(cert) {
				return list.decision(cert, CRL, r.opts.CRLTTL) // the list knows more than an older answer
			}
			return answer.decision(kind)
		}
		reason = err.Error()
	}
	fall := func(d RevocationDecision) RevocationDecision {
		d.Fallback, d.Reason = reason != "", reason
		return d
	}
	if listFresh {
		return fall(list.decision(cert, CRL, r.opts.CRLTTL))
	}
	reason = cmp.Or(reason, "no list of the issuer is in force")
	return fall(r.softFail(cert, list, now))
}

// primary is OCSP: stapled, remembered, or asked for.
func (r *Revocation) primary(cert, issuer *x509.Certificate, stapled []byte, haveList bool) (*ocspAnswer, Evidence, error) {
	now := r.now()
	if len(stapled) > 0 {
		if answer, err := readOCSP(stapled, cert, issuer, now, r.opts.OCSPTTL); err == nil {
			return r.ocsp.learn(cert, answer), Stapled, nil
		} // a bad staple proves nothing, for or against: ask
	}
	remembered, fresh := r.ocsp.recall(cert)
	if fresh {
		if now.Sub(remembered.obtained) > remembered.end.Sub(remembered.obtained)/2 {
			_, _ = r.ocsp.begin(cert, issuer, true) // renew it while it still serves; nobody waits
		}
		return remembered, OCSPCache, nil
	}
	patience := ocspAlone
	fallback := haveList || remembered != nil && r.serves(remembered.end, now)
	if fallback {
		patience = ocspPatience
	}
	answer, err := r.ocsp.ask(cert, issuer, patience, fallback)
	return answer, OCSPFetch, err
}

// softFail falls back on evidence whose time is over by less than the window, the most recent of it. What it says
// about a revocation holds in any case.
func (r *Revocation) softFail(cert *x509.Certificate, list *crl, now time.Time) RevocationDecision {
	var answer *ocspAnswer
	if r.ocsp != nil {
		if answer, _ = r.ocsp.recall(cert); answer != nil && !r.serves(answer.end, now) {
			answer = nil
		}
	}
	switch {
	case list == nil && answer == nil:
		return RevocationDecision{Verdict: Refused, Evidence: NoEvidence}
	case list == nil, answer != nil && answer.thisUpdate.After(list.thisUpdate):
		return answer.decision(StaleOCSP)
	default:
		return list.decision(cert, StaleCRL, r.opts.CRLTTL)
	}
}

// serves says whether evidence that ended then may still be used now.
func (r *Revocation) serves(end, now time.Time) bool { return now.Before(end.Add(r.opts.SoftFail)) }

func (a *ocspAnswer) decision(kind Evidence) RevocationDecision {
	d := RevocationDecision{Verdict: Good, Evidence: kind, ValidUntil: a.end}
	if a.revoked {
		d.Verdict = Revoked
	}
	return d
}

func (l *crl) names(cert *x509.Certificate) bool {
	_, listed := l.revoked[string(cert.SerialNumber.Bytes())]
	return listed
}

func (l *crl) decision(cert *x509.Certificate, kind Evidence, ttl time.Duration) RevocationDecision {
	d := RevocationDecision{Verdict: Good, Evidence: kind, Source: l.source, ValidUntil: l.end(ttl)}
	if l.names(cert) {
		d.Verdict = Revoked
	}
	return d
}
