// Package npm finds packages of npm for tests that hold the product against software of the JavaScript world: an authorization server,
// and a generator of clients. Versions are pinned by the caller; what was fetched once is kept outside the clone.
package npm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Require names the variable that lets Find fetch what is missing. Without it nothing is fetched, and tests are skipped.
const Require = "ARAUTO_REQUIRE_NPM"

// ErrMissing means that node, npm or the package is not there.
var ErrMissing = errors.New("not there; " + Require + "=1 fetches packages where node and npm are installed")

// Find returns the folder of a package, below a node_modules of its own. It fetches the package into arauto/npm of the user's cache
// when Require is set. The error is ErrMissing when there is no node, or no package and Require is not set.
func Find(ctx context.Context, name, version string) (string, error) {
	if _, err := exec.LookPath("node"); err != nil {
		return "", fmt.Errorf("node: %w", ErrMissing)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "arauto", "npm", strings.ReplaceAll(name, "/", "+")+"@"+version)
	folder := filepath.Join(root, "node_modules", filepath.FromSlash(name))
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	if os.Getenv(Require) == "" {
		return "", fmt.Errorf("%s@%s: %w", name, version, ErrMissing)
	}
	if err := fetch(ctx, root, name+"@"+version); err != nil {
		return "", fmt.Errorf("fetch %s@%s: %w", name, version, err)
	}
	return folder, nil
}

// fetch installs a package into a folder beside root and moves it there, whole or not at all. No script of a package runs.
func fetch(ctx context.Context, root, pkg string) error {
	if err := os.MkdirAll(filepath.Dir(root), 0o750); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(root), "fetching-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	cmd := exec.CommandContext(ctx, "npm", "install", "--prefix", work, "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", pkg) //nolint:gosec // pinned by a test
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if err := os.Rename(work, root); err != nil && !errors.Is(err, os.ErrExist) { // another process was quicker
		return err
	}
	return nil
}
