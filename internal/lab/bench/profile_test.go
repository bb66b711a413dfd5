package bench

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// BenchmarkProfile is `make profile`: it writes what uses the gateway's processor time to the file ARAUTO_CPU_PROFILE, at full speed, at
// 300 changes a second, and with status queries. The product must be built with the tag profile (ARAUTO_BENCH_BUILD).
func BenchmarkProfile(b *testing.B) {
	if os.Getenv("ARAUTO_CPU_PROFILE") == "" {
		b.Skip("ARAUTO_CPU_PROFILE names no file")
	}
	name := filepath.Join(b.TempDir(), "profile")
	w := open(b, "ARAUTO_CPU_PROFILE="+name)
	clients, p := w.register("good", 20, w.farm.Good), w.poller(500)
	for b.Loop() {
		w.stream(clients, 80_000, 2)
		w.pollsBeside(p, clients, 10*time.Second)
		w.pace(clients, 300, 10*time.Second)
	}
	check(b, syscall.Kill(w.replica.Pid(), syscall.SIGUSR2))
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); ; <-tick.C {
		if profile, err := os.ReadFile(name); err == nil && len(profile) > 0 {
			check(b, os.WriteFile(os.Getenv("ARAUTO_CPU_PROFILE"), profile, 0o600))
			return
		} else if time.Now().After(end) {
			b.Fatalf("the gateway wrote no profile to %s; is it built with the tag profile?", name)
		}
	}
}
