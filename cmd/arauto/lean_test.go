package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestALeanBuildNamesWhatItLacks builds the product as make demo does.
func TestALeanBuildNamesWhatItLacks(t *testing.T) {
	t.Parallel()
	p := openProven(t, 3)
	lean := p.file("arauto-lean")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-tags", "lean", "-o", lean, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	for _, bus := range []string{"kafka", "nats", "rabbitmq"} {
		check := exec.CommandContext(t.Context(), lean, "check")
		check.Env = append(os.Environ(), "ARAUTO_WATCH_SOURCES="+filepath.Join("..", "..", "docs", "samples", bus, "core.yaml"))
		out, err := check.CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), bus+": this build has no reader of buses, because it was made with the tag lean; use the one that make build makes")
	}

	export := exec.CommandContext(t.Context(), lean, "audit", "export", "--database-url", p.url, "--format", "parquet", "--out", p.file("log.parquet"))
	out, err = export.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "this build cannot write Parquet, because it was made with the tag lean; use the one that make build makes, or another format")
	require.NoFileExists(t, p.file("log.parquet"))
}
