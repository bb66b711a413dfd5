package main

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// process is the product's command line as a process that ends by itself or is killed.
type process struct {
	cmd  *exec.Cmd
	said *bytes.Buffer
}

func startProcess(t *testing.T, environ []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: product(args...), said: &bytes.Buffer{}}
	p.cmd.Env = append(p.cmd.Env, environ...)
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	require.NoError(t, p.cmd.Start())
	t.Cleanup(p.kill)
	return p
}

// kill ends it as a power cut does, if it has not ended by itself.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *process) wait() error { return p.cmd.Wait() }

// output is what it said; to be read once it has ended.
func (p *process) output() string { return p.said.String() }
