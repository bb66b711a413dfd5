package temppostgres

import "syscall"

// processAttributes sets a child apart from our terminal's signals and has the kernel send it SIGQUIT, PostgreSQL's
// immediate shutdown, when the thread that started it dies.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
}
