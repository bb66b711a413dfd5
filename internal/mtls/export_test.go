package mtls

import (
	"crypto/x509"
	"time"
)

// SetClock lets a test be at another instant than the machine.
func (id *Identity) SetClock(now func() time.Time) { id.now = now }

// SetClock lets a test be at another instant than the machine.
func (a *Anchors) SetClock(now func() time.Time) { a.now = now }

// ParseCRLs counts the lists in a file.
func ParseCRLs(content []byte) (int, error) {
	lists, err := parseCRLs("fuzz", content, time.Now())
	return len(lists), err
}

// Kept is how many connections it knows the State of.
func (h *Handshakes) Kept() (n int) {
	h.made.Range(func(any, any) bool { n++; return true })
	return n
}

// AddressOf is what shares of handshakes belong to.
var AddressOf = addressOf

// OneLine is how reasons are made safe to print.
var OneLine = oneLine

// ReadPresented reads a header as a proxy of a preset sends it.
func ReadPresented(name, value string) (*x509.Certificate, error) {
	p, err := presetOf(name)
	if err != nil {
		return nil, err
	}
	return p.read([]string{value})
}
