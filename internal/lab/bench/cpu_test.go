package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// cpu is processor time by who used it: what stops the product from being faster.
type cpu map[string]time.Duration

// cpu reads the processor time used so far by gateway, database, receivers and driver (Linux; elsewhere empty).
func (w *world) cpu() cpu {
	out := cpu{}
	add := func(who string, pid int) { out[who] += processTime(pid) }
	add("gateway", w.replica.Pid())
	add("receivers", w.farm.cmd.Process.Pid)
	add("driver", os.Getpid())
	folders, _ := os.ReadDir("/proc")
	servers := map[int]string{w.stage.Server.Pid(): "postgres"}
	if w.followed != nil {
		servers[w.followed.Pid()] = "core"
	}
	for _, f := range folders {
		if pid, err := strconv.Atoi(f.Name()); err == nil {
			if who := servers[pid] + servers[parentOf(pid)]; who != "" {
				add(who, pid)
			}
		}
	}
	for pid, who := range servers { // backends and workers that have ended
		out[who] += reapedTime(pid)
	}
	return out
}

func stat(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
}

func parentOf(pid int) int {
	f := stat(pid)
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n
}

// processTime is user and system time; the kernel counts in hundredths of a second.
func processTime(pid int) time.Duration {
	f := stat(pid)
	if len(f) < 13 {
		return 0
	}
	return ticks(f[11], f[12])
}

// reapedTime is that of the children of a process that have ended.
func reapedTime(pid int) time.Duration {
	f := stat(pid)
	if len(f) < 15 {
		return 0
	}
	return ticks(f[13], f[14])
}

func ticks(user, system string) time.Duration {
	u, _ := strconv.Atoi(user)
	s, _ := strconv.Atoi(system)
	return time.Duration(u+s) * 10 * time.Millisecond
}

// spent logs what each used for one of n.
func (w *world) spent(before cpu, n int) {
	used := w.cpu()
	for who := range used {
		used[who] -= before[who]
	}
	w.b.Logf("processor time for each notification: %s", used.each(n))
}
