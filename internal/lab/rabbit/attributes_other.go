//go:build !linux

package rabbit

import "syscall"

// processAttributes sets a child apart from our terminal's signals.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
