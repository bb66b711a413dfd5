package webhook

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
)

// socket is the TCP connection below TLS. It counts the bytes that the kernel took, and sees, without taking a byte
// from the reader, whether the receiver has said anything.
type socket struct {
	net.Conn
	out      atomic.Int64 // bytes handed to the kernel
	glancing bool         // reading does not wait; set by the owner
	scratch  [1]byte

	// Of peek, which is called by the owner alone.
	raw  syscall.RawConn
	look func(fd uintptr)
	seen peeked
}

// Write counts the bytes that the kernel accepted.
func (s *socket) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	s.out.Add(int64(n))
	return n, err
}

// Read takes bytes as they come. At a glance it takes those that are there; the error is os.ErrDeadlineExceeded when there
// are none, after which the TLS layer can go on.
func (s *socket) Read(p []byte) (int, error) {
	if s.glancing && s.peek() == peekedNothing {
		return 0, os.ErrDeadlineExceeded
	}
	return s.Conn.Read(p)
}

// peeked is what stands in the receive queue.
type peeked uint8

const (
	peekedNothing peeked = iota
	peekedBytes          // something the reader has not taken yet
	peekedEnd            // the receiver ended or reset the connection
)

// peek looks at the receive queue and returns at once.
func (s *socket) peek() peeked {
	if s.raw == nil {
		s.raw, _ = s.Conn.(*net.TCPConn).SyscallConn() // which fails for the zero value only
		s.look = s.receiveQueue
	}
	s.seen = peekedNothing
	if s.raw.Control(s.look) != nil { // not raw.Read, which would wait for a reader that is parked there
		return peekedEnd
	}
	return s.seen
}

func (s *socket) receiveQueue(fd uintptr) {
	n, _, err := syscall.Recvfrom(int(fd), s.scratch[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
	case err != nil, n == 0:
		s.seen = peekedEnd
	default:
		s.seen = peekedBytes
	}
}
