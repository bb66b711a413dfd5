package bank

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// A cursor is a position in one search, sealed so that nobody can make one up or use it with another search (L4):
// version, microseconds since 1970, id, and the first 16 bytes of HMAC-SHA-256 over these and the search.
const (
	cursorVersion = 1
	cursorSeal    = 16
	cursorSize    = 1 + 8 + len(notice.ID{}) + cursorSeal
)

var errCursor = errors.New("not a cursor of this search")

// pages are the pages of one list: where the one that is asked for begins, zero at the start, and what its cursors are bound to.
type pages struct {
	after history.Position
	key   []byte
	parts []string
}

// pagesOf opens the cursor of a list; "": it is read from its start.
func (in *Internal) pagesOf(ctx context.Context, cursor string, parts ...string) (p pages, err error) {
	p.parts = parts
	if p.key, err = in.cfg.History.CursorKey(ctx); err != nil || cursor == "" {
		return p, err
	}
	if p.after, err = openPosition(p.key, parts, cursor); err != nil {
		err = wrongCursor()
	}
	return p, err
}

// next is the cursor of a position; null at the end, which is the zero one.
func (p pages) next(at history.Position) *string {
	if at.At.IsZero() {
		return nil
	}
	sealed := sealPosition(p.key, p.parts, at)
	return &sealed
}

// sealPosition writes a position down that belongs to a search of these parts, and to no other.
func sealPosition(key []byte, parts []string, at history.Position) string {
	b := make([]byte, 0, cursorSize)
	b = append(b, cursorVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(at.At.UnixMicro()))
	b = append(b, at.ID[:]...)
	return base64.RawURLEncoding.EncodeToString(append(b, cursorMAC(key, parts, b)...))
}

// wrongCursor is the answer to a cursor that cannot be opened.
func wrongCursor() error {
	return wrong("cursor", "is not a cursor of this search; omit it to start again", "não é um cursor desta mesma consulta; omita-o para recomeçar")
}

// openPosition reads a position back; errCursor for whatever was not sealed with this key for this search.
func openPosition(key []byte, parts []string, cursor string) (history.Position, error) {
	if len(cursor) != base64.RawURLEncoding.EncodedLen(cursorSize) {
		return history.Position{}, errCursor
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) != cursorSize || b[0] != cursorVersion {
		return history.Position{}, errCursor
	}
	text, seal := b[:cursorSize-cursorSeal], b[cursorSize-cursorSeal:]
	if !hmac.Equal(seal, cursorMAC(key, parts, text)) {
		return history.Position{}, errCursor
	}
	return history.Position{At: time.UnixMicro(int64(binary.BigEndian.Uint64(text[1:9]))).UTC(), ID: notice.ID(text[9:])}, nil
}

// partsOf is everything that selects, and not how many are wanted at once.
func partsOf(f history.Filter) []string {
	parts := []string{string(f.Client), f.Kind.String(), f.ResourceID, f.Interaction.String(), string(f.State), micros(f.From), micros(f.To)}
	if f.Late || f.Outcome != "" { // a cursor without them stays as older replicas write it
		parts = append(parts, strconv.FormatBool(f.Late), string(f.Outcome))
	}
	return parts
}

// cursorMAC binds a position to the parts of its search.
func cursorMAC(key []byte, parts []string, text []byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range append(slices.Clone(parts), string(text)) {
		_, _ = fmt.Fprintf(mac, "%d:", len(part)) // a hash never refuses
		_, _ = io.WriteString(mac, part)
	}
	return mac.Sum(nil)[:cursorSeal]
}

func micros(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprint(t.UnixMicro())
}
