//go:build profile

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

// A build with the tag profile records what uses the processor from its start to SIGUSR2, and writes it to the file that
// ARAUTO_CPU_PROFILE names. `make profile` uses it; no release is built with it.
func init() {
	var profile bytes.Buffer
	if err := pprof.StartCPUProfile(&profile); err != nil {
		fmt.Fprintln(os.Stderr, "arauto: no processor profile:", err)
		os.Exit(failed)
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR2)
	go func() {
		<-asked
		pprof.StopCPUProfile()
		name := os.Getenv("ARAUTO_CPU_PROFILE")
		err := os.WriteFile(name+".part", profile.Bytes(), 0o600)
		if err == nil {
			err = os.Rename(name+".part", name)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "arauto: processor profile not written:", err)
		}
	}()
}
