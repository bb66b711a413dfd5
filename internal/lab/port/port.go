// Package port keeps a port of the loopback interface for a program that is started later. It is for tests and instruments.
//
// A port that was found free by listening on it and closing can be somebody else's before the program comes to it: servers and
// clients of other tests take ports all the time. On Linux a port of this package is bound meanwhile, so that the kernel
// gives it to nobody who asks for any port, and a connection to it is refused. A program that names the port and sets SO_REUSEADDR, as
// nearly every server does, can listen on it all the same, and again after it has ended. Elsewhere the port was free a moment ago, and no more
// is promised.
package port

import (
	"net"
	"strconv"
	"sync"
	"testing"
)

// Kept is a port that is kept for a program.
type Kept struct {
	number  int
	release func() error
	once    sync.Once
}

// Number is the port's.
func (k *Kept) Number() int { return k.number }

// Address is the port on 127.0.0.1 as host:port.
func (k *Kept) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(k.number)) }

// Release gives the port back, once. A program that listens on it goes on.
func (k *Kept) Release() (err error) {
	k.once.Do(func() { err = k.release() })
	return err
}

// For keeps a port until the test ends.
func For(tb testing.TB) *Kept {
	tb.Helper()
	k, err := Keep()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := k.Release(); err != nil {
			tb.Error(err)
		}
	})
	return k
}
