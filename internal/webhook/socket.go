package webhook

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
)

// socket is the TCP connection below TLS. It counts the bytes that the kernel took, and sees, without taking a byte
// from the reader, whether the receiver has said anything.
type socket struct {
	net.Conn
	out atomic.Int64 // bytes handed to the kernel
}

// Write counts the bytes that the kernel accepted.
func (s *socket) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	s.out.Add(int64(n))
	return n, err
}

// peeked is what stands in the receive queue.
type peeked uint8

const (
	peekedNothing peeked = iota
	peekedBytes          // something the reader has not taken yet
	peekedEnd            // the receiver ended or reset the connection
)

// peek looks at the receive queue and returns at once. A socket that cannot be asked looks empty.
func (s *socket) peek() peeked {
	sys, ok := s.Conn.(syscall.Conn)
	if !ok {
		return peekedNothing
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return peekedEnd
	}
	seen := peekedNothing
	err = raw.Control(func(fd uintptr) { // not raw.Read, which would wait for the reader that is parked there
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		case err != nil, n == 0:
			seen = peekedEnd
		default:
			seen = peekedBytes
		}
	})
	if err != nil {
		return peekedEnd
	}
	return seen
}
