package postgres

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// What is done about the rows that were there before we came.
const (
	Initial = "initial" // read them once, consistent with the stream that follows
	Never   = "never"   // only what changes from now on
	Again   = "again"   // as Initial, and a slot that was lost may be begun anew
)

// Config is a source's section of the settings. The zero value of a field means its default.
type Config struct {
	// URL is a connection URL or string of the core's database, straight to the server: no transaction pooler carries
	// replication. URLFile names a file that holds it, for a URL with a password. One of the two is set.
	URL     string `yaml:"url"`
	URLFile string `yaml:"url_file"`

	Publication string `yaml:"publication"` // default "arauto"
	Slot        string `yaml:"slot"`        // default "arauto"; at most 48 of a-z, 0-9 and _

	// Create lets us make the publication and the slot when they are missing. Without it an error says what to run.
	// A slot needs the right REPLICATION alone; a publication needs the tables' owner, so a careful DBA makes it first.
	Create bool `yaml:"create"`
	// Snapshot is Initial, Never or Again. Default: Initial with Create, else Never, as only who makes the slot gets
	// the snapshot that fits it.
	Snapshot string `yaml:"snapshot"`

	// MaxLag is how much log the slot may hold back before it is an alarm. Default 1 GiB. The bound itself is the
	// server's max_slot_wal_keep_size.
	MaxLag Size `yaml:"max_lag"`
	// StatusInterval is how often the server is told how far we are: 100 ms to 1 s, which is the default. The server
	// gives up on a reader it has not heard of for 3 s.
	StatusInterval time.Duration `yaml:"status_interval"`
	// FastLane is how old the oldest change that is read and not committed here must be for a second stream to begin at
	// the present, so that fresh changes do not wait behind a backlog. Default 750 ms, half of what the rule leaves for the
	// first attempt (webhook §4.1); at least 100 ms; negative: never.
	FastLane time.Duration `yaml:"fast_lane"`
	// Accept are the words by which an ErrGap named its findings: a person has judged them. Each fits one cause at one object, and
	// each time that it comes; what hides rows on purpose belongs here.
	Accept []string `yaml:"accept"`
}

// Size is a number of bytes, written as "512MiB", "1GiB", "500MB" or plain.
type Size int64

var sizes = regexp.MustCompile(`^(\d{1,18}) ?([kKMGT]?)(i?)B?$`)

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	parts := sizes.FindStringSubmatch(string(text))
	if parts == nil || parts[2] == "" && parts[3] != "" {
		return fmt.Errorf("%q is not a size: write it as 512MiB or 1GiB", text)
	}
	n, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return err
	}
	base := int64(1000)
	if parts[3] != "" {
		base = 1024
	}
	for range strings.Index("kMGT", strings.Replace(parts[2], "K", "k", 1)) + len(parts[2]) {
		if n > (1<<62)/base {
			return fmt.Errorf("%q is too large a size", text)
		}
		n *= base
	}
	*s = Size(n)
	return nil
}

// String writes a size for people.
func (s Size) String() string {
	for _, unit := range []struct {
		name string
		size Size
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if s >= unit.size {
			return strconv.FormatFloat(float64(s)/float64(unit.size), 'f', 1, 64) + " " + unit.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + " bytes"
}

var (
	slotNames = regexp.MustCompile(`^[a-z0-9_]{1,48}$`) // leaves room for our suffixes in the server's 63
	accepted  = regexp.MustCompile(`^[0-9a-f]{8}$`)
	pubNames  = regexp.MustCompile(`^[^"'\\,\x00-\x1f]{1,63}$`)
)

// complete puts the defaults in and refuses what cannot be, naming the key.
func (c *Config) complete() error {
	snapshot := Never
	if c.Create {
		snapshot = Initial
	}
	c.Publication, c.Slot, c.Snapshot = cmp.Or(c.Publication, "arauto"), cmp.Or(c.Slot, "arauto"), cmp.Or(c.Snapshot, snapshot)
	c.MaxLag = cmp.Or(c.MaxLag, 1<<30)
	c.StatusInterval, c.FastLane = cmp.Or(c.StatusInterval, time.Second), cmp.Or(c.FastLane, 750*time.Millisecond)
	return errors.Join(c.problems()...)
}

func (c *Config) problems() []error {
	var found []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			found = append(found, fmt.Errorf(format, args...))
		}
	}
	refuse((c.URL == "") == (c.URLFile == ""), "url, url_file: set one of the two")
	refuse(!slotNames.MatchString(c.Slot), "slot: %q: at most 48 of a-z, 0-9 and _", c.Slot)
	refuse(!pubNames.MatchString(c.Publication), "publication: %q: at most 63 characters, without quotes, commas or backslashes", c.Publication)
	refuse(c.Snapshot != Initial && c.Snapshot != Never && c.Snapshot != Again, "snapshot: %q: one of initial, never, again", c.Snapshot)
	refuse(!c.Create && c.Snapshot != Never,
		"snapshot: %q needs create: true, since only who makes the slot gets the snapshot that fits it; the publication may be the DBA's", c.Snapshot)
	refuse(c.MaxLag < 1<<20, "max_lag: %s: at least 1MiB", c.MaxLag)
	refuse(c.StatusInterval < 100*time.Millisecond || c.StatusInterval > time.Second, "status_interval: %s: 100ms to 1s", c.StatusInterval)
	refuse(c.FastLane > 0 && c.FastLane < 100*time.Millisecond, "fast_lane: %s: at least 100ms, or negative for never", c.FastLane)
	for _, word := range c.Accept {
		refuse(!accepted.MatchString(word), "accept: %q: the 8 characters that the error names", word)
	}
	return found
}

// connection reads where the database is. The file is read at every connect: a password may change. No error repeats
// what it says.
func (c *Config) connection() (*pgconn.Config, error) {
	text, from := c.URL, "url"
	if c.URLFile != "" {
		content, err := os.ReadFile(c.URLFile)
		if err != nil {
			return nil, fmt.Errorf("url_file: %w", err)
		}
		text, from = strings.TrimSpace(string(content)), "url_file "+c.URLFile
	}
	config, err := pgconn.ParseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("%s: not a connection URL such as postgres://user@host:5432/database?sslmode=verify-full", from)
	}
	return config, nil
}
