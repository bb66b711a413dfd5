package temppostgres

import (
	"fmt"
	"os"
	"strings"
)

// alive tells whether a process runs. An orphan that has ended but that nobody reaped does not count as alive.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}
