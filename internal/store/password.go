package store

import (
	"bytes"
	"context"
	"fmt"
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

// freshPassword is called before each new session: a password may change while we run. The file of Options.PasswordFile
// is read again; without one the URL is read again, and with it the passfile that it or the environment names.
func freshPassword(o Options) func(context.Context, *pgx.ConnConfig) error {
	return func(_ context.Context, c *pgx.ConnConfig) error {
		if o.PasswordFile != "" {
			password, err := readPassword(o.PasswordFile)
			if err != nil {
				return fmt.Errorf("%w: %w", outage{cause: CauseCredentials}, err)
			}
			c.Password = password
			return nil
		}
		fresh, err := pgx.ParseConfig(o.URL)
		if err != nil {
			return ErrURL
		}
		c.Password = fresh.Password
		return nil
	}
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
