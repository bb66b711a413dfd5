package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
)

// readPassword reads the file of a password. A trailing line break does not count. No error repeats what the file says.
func readPassword(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	password := string(bytes.TrimRight(content, "\r\n"))
	if password == "" {
		return "", fmt.Errorf("password file: %s is empty", file)
	}
	return password, nil
}

// freshCredentials is called before each new session: a password, a client certificate and its key, and the authorities of the
// server may change while we run. The file of Options.PasswordFile is read again, and the URL with the files that it names; without
// a password file also the passfile that the URL or the environment names.
func freshCredentials(o Options) func(context.Context, *pgx.ConnConfig) error {
	return func(_ context.Context, c *pgx.ConnConfig) error {
		fresh, err := pgx.ParseConfig(o.URL)
		if err != nil { // it was usable when the pools were opened, so one of its files is not
			return fmt.Errorf("%w: sslcert, sslkey or sslrootcert of database.url: %w", outage{cause: CauseCredentials}, notUsable(err))
		}
		c.TLSConfig, c.Fallbacks, c.Password = fresh.TLSConfig, fresh.Fallbacks, fresh.Password
		if o.PasswordFile == "" {
			return nil
		}
		if c.Password, err = readPassword(o.PasswordFile); err != nil {
			return fmt.Errorf("%w: %w", outage{cause: CauseCredentials}, err)
		}
		return nil
	}
}

// notUsable is the error of a database URL that cannot be used: ErrURL, or the file that it names and that cannot be read. The
// library's own error is not passed on, since it repeats parts of the URL.
func notUsable(err error) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		return fmt.Errorf("a file that it names cannot be read: %w", file)
	}
	return ErrURL
}

// WithPassword puts the password of a file into a database URL, for a command that connects once. An empty file name
// changes nothing. Errors: the file cannot be read or is empty; ErrURL.
func WithPassword(address, file string) (string, error) {
	if file == "" {
		return address, nil
	}
	password, err := readPassword(file)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(address, "postgres://") && !strings.HasPrefix(address, "postgresql://") {
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)
		return address + " password='" + quoted + "'", nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", ErrURL
	}
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String(), nil
}
