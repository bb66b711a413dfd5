// Package uuid has the one type of an id: of a row, an interaction, a lease, an entry of the log.
package uuid

import (
	"encoding/hex"
	"fmt"
	"time"
)

// UUID is the sixteen bytes of one. Those of rows are of version 7, so that they sort by time; those of interactions are of version 4,
// which tells nothing.
type UUID [16]byte

// String is the canonical form, in lower case with hyphens.
func (u UUID) String() string { return string(u.Append(make([]byte, 0, 36))) }

// Append adds the canonical form to b.
func (u UUID) Append(b []byte) []byte {
	b = append(hex.AppendEncode(b, u[:4]), '-')
	b = append(hex.AppendEncode(b, u[4:6]), '-')
	b = append(hex.AppendEncode(b, u[6:8]), '-')
	b = append(hex.AppendEncode(b, u[8:10]), '-')
	return hex.AppendEncode(b, u[10:])
}

// IsZero tells an absent id from a present one.
func (u UUID) IsZero() bool { return u == UUID{} }

// MarshalText makes it a JSON string.
func (u UUID) MarshalText() ([]byte, error) { return u.Append(make([]byte, 0, 36)), nil }

// UnmarshalText is Parse.
func (u *UUID) UnmarshalText(text []byte) (err error) {
	*u, err = Parse(string(text))
	return err
}

// Time is when an id of version 7 was made, to the millisecond; false for ids that do not tell.
func (u UUID) Time() (at time.Time, known bool) {
	if u[6]>>4 != 7 {
		return time.Time{}, false
	}
	var ms int64
	for _, b := range u[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms).UTC(), true
}

// Parse reads the canonical form, in either case of letters. It accepts every version of UUID and nothing else.
func Parse(s string) (UUID, error) {
	var u UUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return UUID{}, fmt.Errorf("%.40q is not a UUID", s)
	}
	if _, err := hex.Decode(u[:], []byte(s[0:8]+s[9:13]+s[14:18]+s[19:23]+s[24:36])); err != nil {
		return UUID{}, fmt.Errorf("%.40q is not a UUID", s)
	}
	return u, nil
}
