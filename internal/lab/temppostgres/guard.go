package temppostgres

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
)

// guardScript reads process ids, one a line, until its input ends, which happens when the owner lets go of it or dies.
// Then it stops the last process named, waits for it for at most ten seconds, and removes the folder. An empty line means
// that there is no process to stop; "keep" as second argument, that the folder stays. A postmaster that ends takes its
// pid file with it, which tells its end even where nobody reaps orphans.
const guardScript = `
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ] && kill -QUIT "$pid"; then
	tries=0
	while kill -0 "$pid" && [ -e "$1/data/postmaster.pid" ] && [ $tries -lt 100 ]; do
		tries=$((tries + 1))
		sleep 0.1 || sleep 1
	done
fi
[ "$2" = keep ] || rm -rf -- "$1"
`

// guard is a process that outlives us by a moment to clear up, should we not come to it.
type guard struct {
	cmd *exec.Cmd

	mu   sync.Mutex
	pipe io.WriteCloser // only we hold this end: it closes when we die, however that happens
}

// startGuard starts the guard of a folder. It has its own process group, so that an interrupt typed at the terminal
// reaches us and not it, and none of our outputs, so that nobody who reads those waits for it.
func startGuard(folder string, keep bool) (*guard, error) {
	mode := "remove"
	if keep {
		mode = "keep"
	}
	cmd := exec.Command("/bin/sh", "-c", guardScript, "guard", folder, mode) //nolint:gosec,noctx // outlives every context
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make the guard's pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	return &guard{cmd: cmd, pipe: pipe}, nil
}

// watch tells the guard which process to stop when we are gone; 0 means none.
func (g *guard) watch(pid int) error {
	line := "\n"
	if pid != 0 {
		line = strconv.Itoa(pid) + "\n"
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pipe == nil {
		return nil
	}
	if _, err := io.WriteString(g.pipe, line); err != nil {
		return fmt.Errorf("tell the guard about process %d: %w", pid, err)
	}
	return nil
}

// release lets the guard end and waits for it.
func (g *guard) release() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pipe == nil {
		return nil
	}
	err := errors.Join(g.pipe.Close(), g.cmd.Wait())
	g.pipe = nil
	if err != nil {
		return fmt.Errorf("release the guard: %w", err)
	}
	return nil
}
