package port

import (
	"fmt"
	"syscall"
)

// Keep keeps a port until Release.
func Keep() (*Kept, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("keep a port: %w", err)
	}
	number, err := bind(fd)
	if err != nil {
		_ = syscall.Close(fd)
		return nil, fmt.Errorf("keep a port: %w", err)
	}
	return &Kept{number: number, release: func() error { return syscall.Close(fd) }}, nil
}

// bind gives a socket a port. It never listens: two sockets with SO_REUSEADDR may have one port as long as at most one of them listens.
func bind(fd int) (int, error) {
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, err
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	return at.(*syscall.SockaddrInet4).Port, nil
}
