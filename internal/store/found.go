package store

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// IsEndToEndID tells whether a text has the form of an end-to-end id: E, eight characters of a participant, a minute in UTC, and eleven more.
func IsEndToEndID(text string) bool {
	if len(text) != 32 || text[0] != 'E' {
		return false
	}
	for i := 1; i < len(text); i++ {
		digit, letter := '0' <= text[i] && text[i] <= '9', 'A' <= text[i] && text[i] <= 'Z' || i >= 21 && 'a' <= text[i] && text[i] <= 'z'
		if !digit && (!letter || 9 <= i && i < 21) {
			return false
		}
	}
	return true
}

// IsCNPJ tells whether a text has the form of a CNPJ: twelve digits or capital letters, of which the first eight are its root, and two
// digits (Instrução Normativa RFB 2.229/2024).
func IsCNPJ(text string) bool {
	return len(text) == 14 && IsCNPJRoot(text[:8]) && IsCNPJRoot(text[4:12]) && digits(text[12:])
}

// IsCNPJRoot tells whether a text has the form of a CNPJ's root.
func IsCNPJRoot(text string) bool {
	for i := range len(text) {
		if (text[i] < '0' || text[i] > '9') && (text[i] < 'A' || text[i] > 'Z') {
			return false
		}
	}
	return len(text) == 8
}

func digits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}

// MarkSize is how long Mark is, in bytes.
const MarkSize = 16

// Mark stands for a text that is not kept as it is: the first MarkSize bytes of its HMAC-SHA256.
func Mark(key []byte, text string) []byte { return markBy(hmac.New(sha256.New, key), text) }

// markBy is Mark with a MAC of the key to which nothing was written.
func markBy(mac hash.Hash, text string) []byte {
	_, _ = mac.Write([]byte(text)) // a hash never refuses
	return mac.Sum(nil)[:MarkSize:MarkSize]
}

// FoundBy is by what resource.found finds a payment: its Mark, of which the minute that the id names, in minutes since 1970, takes
// the first four bytes. So payments of one time stand together in the index, whose other pages rest.
func FoundBy(key []byte, endToEnd string) []byte {
	return inMinute(Mark(key, endToEnd), endToEnd)
}

// inMinute writes the minute of an id into its mark.
func inMinute(mark []byte, endToEnd string) []byte {
	if minute, err := time.Parse("200601021504", endToEnd[9:21]); err == nil && minute.Unix() >= 0 {
		binary.BigEndian.PutUint32(mark, uint32(minute.Unix()/60))
	}
	return mark
}

// nothingFound is resource.found of what has no end-to-end id.
var nothingFound = []byte{}

// Company is the root of a CNPJ, and a client whose payments name it as their initiator's.
type Company struct {
	Root   string
	Client string
}

// QueueCompanies stores those that are not there, in one order: two transactions never wait for each other in a circle.
func QueueCompanies(b *pgx.Batch, some map[Company]struct{}) {
	if len(some) == 0 {
		return
	}
	sorted := slices.SortedFunc(maps.Keys(some), func(a, b Company) int { return cmp.Or(cmp.Compare(a.Root, b.Root), cmp.Compare(a.Client, b.Client)) })
	roots, clients := make([]string, len(sorted)), make([]string, len(sorted))
	for i, one := range sorted {
		roots[i], clients[i] = one.Root, one.Client
	}
	b.Queue("INSERT INTO find_cnpj (root, client_id) SELECT unnest($1::text[]), unnest($2::text[]) ON CONFLICT DO NOTHING", roots, clients)
}

// companies are those that are stored, as this process remembers for a while: a database may be restored under it.
type companies struct {
	mu     sync.Mutex
	stored map[Company]struct{}
	since  time.Time
}

// For so long, and so many, companies are remembered.
const (
	companiesFor  = 5 * time.Minute
	mostCompanies = 10_000
)

func (c *companies) has(one Company) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.since) > companiesFor || len(c.stored) > mostCompanies {
		c.stored, c.since = nil, time.Now()
	}
	_, has := c.stored[one]
	return has
}

func (c *companies) remember(some map[Company]struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stored == nil {
		c.stored = make(map[Company]struct{})
	}
	maps.Copy(c.stored, some)
}

// found returns by what the resource of a change is found, and notes the company that its payment names unless that is stored. A timer changes
// neither. nil: there is no key, which the fold of the log reports.
func (w *writer) found(c *notice.Change) []byte {
	if c.Cause == ofb.Clock || history.HitTypeOf(c.Kind) != history.HitPayment {
		return nothingFound
	}
	if IsCNPJ(c.CNPJ) {
		if one := (Company{c.CNPJ[:8], string(c.Client)}); !w.store.companies.has(one) {
			w.companies[one] = struct{}{}
		}
	}
	switch {
	case len(w.key) == 0:
		return nil
	case !IsEndToEndID(c.EndToEnd):
		return nothingFound
	}
	if w.mac == nil {
		w.mac = hmac.New(sha256.New, w.key)
	}
	w.mac.Reset()
	return inMinute(markBy(w.mac, c.EndToEnd), c.EndToEnd)
}
