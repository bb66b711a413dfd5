//go:build unix && !linux

package temppostgres

import "syscall"

// alive tells whether a process runs.
func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }
