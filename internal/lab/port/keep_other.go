//go:build !linux

package port

import (
	"fmt"
	"net"
)

// Keep finds a port that is free now.
func Keep() (*Kept, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a port: %w", err)
	}
	number := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, fmt.Errorf("give back port %d: %w", number, err)
	}
	return &Kept{number: number, release: func() error { return nil }}, nil
}
