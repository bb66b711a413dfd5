package stage

import (
	"os/exec"
	"runtime"
	"syscall"
)

// start starts the process so that the kernel kills it when we die, however that happens. That promise is bound to the
// thread that started it, so the thread is kept until the process is gone.
func start(cmd *exec.Cmd, gone <-chan struct{}) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		err := cmd.Start()
		started <- err
		if err == nil {
			<-gone
		}
	}()
	return <-started
}
