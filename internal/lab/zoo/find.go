package zoo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Program is a receiver's program on this machine.
type Program struct {
	Receiver Receiver

	path      string
	root      string // of the unpacked packages; "" for an installed program
	libraries string
}

// origin is where a receiver's program comes from.
type origin struct {
	program  string   // path below the root of the packages, or the name of an installed program
	packages []string // Debian's, with the libraries that a small machine may lack
}

var origins = map[Receiver]origin{
	Nginx:    {"usr/sbin/nginx", []string{"nginx", "libpcre2-8-0"}},
	Apache:   {"usr/sbin/apache2", []string{"apache2-bin", "libapr1", "libaprutil1", "libpcre2-8-0"}},
	HAProxy:  {"usr/sbin/haproxy", []string{"haproxy", "liblua5.3-0", "libpcre2-8-0", "libopentracing-c-wrapper0", "libopentracing1"}},
	Lighttpd: {"usr/sbin/lighttpd", []string{"lighttpd", "lighttpd-mod-openssl", "libxxhash0", "libnettle8", "libpcre2-8-0"}},
	Caddy:    {"usr/bin/caddy", []string{"caddy"}},
	Node:     {"node", nil},
	Python:   {"python3", nil},
}

// Find finds a receiver's program: what is installed, or what an earlier fetch unpacked. With fetch it unpacks Debian's
// packages into the folder arauto/zoo of the user's cache, and needs apt-get for it; to have newer packages, delete that
// folder. The error is ErrMissing when there is no such program and fetch is false.
func Find(ctx context.Context, r Receiver, fetch bool) (Program, error) {
	o := origins[r]
	if path, err := exec.LookPath(filepath.Base(o.program)); err == nil {
		return Program{Receiver: r, path: path}, nil
	}
	if o.packages != nil && fetch {
		root, err := unpack(ctx, r, o.packages)
		if err != nil {
			return Program{}, fmt.Errorf("fetch %s: %w", r, err)
		}
		libraries, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu*"))
		return Program{r, filepath.Join(root, o.program), root, strings.Join(libraries, ":")}, err
	}
	return Program{}, fmt.Errorf("%s: %w", r, ErrMissing)
}

// unpack fetches packages and returns the folder they are unpacked in.
func unpack(ctx context.Context, r Receiver, packages []string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "arauto", "zoo", string(r))
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	if err := os.MkdirAll(filepath.Dir(root), 0o750); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(filepath.Dir(root), "unpacking-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if _, err := run(ctx, work, "apt-get", append([]string{"download", "-q"}, packages...)...); err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil {
		return "", err
	}
	for _, file := range files {
		if _, err := run(ctx, work, "dpkg", "-x", file, "root"); err != nil {
			return "", err
		}
	}
	err = os.Rename(filepath.Join(work, "root"), root) // whole or not at all
	if errors.Is(err, os.ErrExist) {
		err = nil // another process was quicker
	}
	return root, err
}

func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // apt-get and dpkg
	cmd.Dir = dir
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%s: %w: %s", name, err, exit.Stderr)
	}
	return out, err
}
