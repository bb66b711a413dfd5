//go:build unix && !linux

package temppostgres

import "syscall"

// processAttributes sets a child apart from our terminal's signals. These systems have no signal at the death of the
// parent: the guard alone stops the server then.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
