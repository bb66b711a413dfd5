package mtls

import (
	"crypto"
	"crypto/rsa"
	"io"
	"runtime"
)

// turns are for handshakes: an RSA signature keeps a processor for a millisecond or two, and with hundreds of them
// runnable at once everything else in the process, attempts on warm connections above all, would wait behind them in
// the scheduler's queue. So at most one processor less than there are signs at a time, and handshakes take turns.
var turns = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))

// paced is a key whose signatures take turns.
type paced struct{ key *rsa.PrivateKey }

// Public implements crypto.Signer.
func (p paced) Public() crypto.PublicKey { return p.key.Public() }

// Sign implements crypto.Signer.
func (p paced) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	turns <- struct{}{}
	defer func() { <-turns }()
	return p.key.Sign(rand, digest, opts)
}
