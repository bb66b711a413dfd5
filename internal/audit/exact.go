package audit

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// What a verifier reads is read in one way. The rules here, which docs/audit-format.md gives, keep two verifiers from reading one file in
// two ways, and a file from holding what no verifier looks at.

// ReadExactly reads members of a JSON object by their exact names; encoding/json ignores their case. A required one must be there and
// not be null. The text must be UTF-8.
func ReadExactly(text []byte, into map[string]any, required ...string) error {
	var members map[string]json.RawMessage
	if !utf8.Valid(text) {
		return errors.New("it is not UTF-8")
	}
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	for _, name := range required {
		if raw, there := members[name]; !there || string(raw) == "null" {
			return fmt.Errorf("it lacks %s", name)
		}
	}
	for name, field := range into {
		if raw, there := members[name]; there {
			if err := json.Unmarshal(raw, field); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *Manifest) UnmarshalJSON(text []byte) error {
	m.lacks = ReadExactly(text, nil, "format", "log", "size", "root", "filter", "entries", "files")
	return ReadExactly(text, map[string]any{
		"format": &m.Format, "log": &m.Log, "size": &m.Size, "root": &m.Root, "filter": &m.Filter, "entries": &m.Entries, "clients": &m.Clients,
		"context": &m.Context, "windows": &m.Windows, "verifier": &m.Verifier, "files": &m.Files,
	})
}

// UnmarshalJSON implements json.Unmarshaler.
func (f *ManifestFile) UnmarshalJSON(text []byte) error {
	return ReadExactly(text, map[string]any{"name": &f.Name, "bytes": &f.Bytes, "sha256": &f.SHA256}, "name", "bytes", "sha256")
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *proofLine) UnmarshalJSON(text []byte) error {
	return ReadExactly(text, map[string]any{"seq": &p.Seq, "path": &p.Path}, "seq", "path")
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *privateLine) UnmarshalJSON(text []byte) error {
	return ReadExactly(text, map[string]any{"seq": &p.Seq, "private": &p.Private}, "seq")
}

// UnmarshalJSON implements json.Unmarshaler.
func (w *windowLine) UnmarshalJSON(text []byte) error {
	var record string
	err := ReadExactly(text, map[string]any{"seq": &w.Seq, "record": &record, "path": &w.Path, "clients": &w.Clients}, "seq", "record", "clients")
	if err == nil {
		w.Record, err = canonical64(record)
	}
	return err
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *clientLine) UnmarshalJSON(text []byte) error {
	return ReadExactly(text, map[string]any{"count": &c.Count, "root": &c.Root, "index": &c.Index, "path": &c.Path, "beside": &c.Beside})
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *neighbour) UnmarshalJSON(text []byte) error {
	return ReadExactly(text, map[string]any{"index": &n.Index, "key": &n.Key, "inner": &n.Inner, "path": &n.Path}, "index", "key", "inner")
}

// canonical64 reads base64 that is written in the one way in which base64 writes its bytes: its last character has bits that mean nothing.
func canonical64(text string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err == nil && base64.StdEncoding.EncodeToString(raw) != text {
		err = errors.New("it is not written as base64 writes it")
	}
	return raw, err
}

// newLines reads lines that end with a line feed and with nothing else, of at most so many bytes.
func newLines(r io.Reader, most int) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(nil, most)
	s.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if end := bytes.IndexByte(data, '\n'); end >= 0 {
			return end + 1, data[:end], nil
		}
		if atEOF && len(data) > 0 {
			return len(data), data, nil
		}
		return 0, nil, nil
	})
	return s
}

// errZIP means that a file is not laid out as a bundle is.
var errZIP = errors.New("the bundle is not a ZIP file, or broken")

// Parts of a ZIP file, in bytes. Those with 64 are of a file of 4 GiB or more (ZIP64).
const (
	zipEnd       = 22
	zipEnd64     = 56
	zipLocator64 = 20
	zipEntry     = 46
	zipEntry64   = 28 // block of an entry's extra field with lengths and place
	zipLocal     = 30
	zipLocal64   = 20 // block of a member's own extra field with its lengths
	zipVersion   = 45 // the newest that is needed
	zipMayFlag   = 0x808
	zipElsewhere = 1<<32 - 1 // in the place of a number that stands in a block or a record of ZIP64
)

// zipDirectory says where the list of members stands, how long it is, and how many it lists.
type zipDirectory struct{ count, length, list uint64 }

// readZIPDirectory reads the end of a ZIP file.
func readZIPDirectory(r io.ReaderAt, size int64) (d zipDirectory, err error) {
	if size < zipEnd {
		return d, errZIP
	}
	tail := make([]byte, min(size, zipEnd64+zipLocator64+zipEnd))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return d, err
	}
	le := binary.LittleEndian
	before, end := tail[:len(tail)-zipEnd], tail[len(tail)-zipEnd:]
	if le.Uint32(end) != 0x06054b50 || le.Uint32(end[4:]) != 0 || le.Uint16(end[8:]) != le.Uint16(end[10:]) || le.Uint16(end[20:]) != 0 {
		return d, errZIP
	}
	d = zipDirectory{uint64(le.Uint16(end[10:])), uint64(le.Uint32(end[12:])), uint64(le.Uint32(end[16:]))}
	stop, long := uint64(size)-zipEnd, d == zipDirectory{1<<16 - 1, zipElsewhere, zipElsewhere}
	if located := len(before) >= zipLocator64 && le.Uint32(before[len(before)-zipLocator64:]) == 0x07064b50; located != long {
		return d, errZIP // programs differ in when they look for a locator
	}
	if long {
		if len(before) < zipEnd64+zipLocator64 {
			return d, errZIP
		}
		record, locator := before[:zipEnd64], before[zipEnd64:]
		stop -= zipEnd64 + zipLocator64
		d = zipDirectory{le.Uint64(record[32:]), le.Uint64(record[40:]), le.Uint64(record[48:])}
		if le.Uint32(locator[4:]) != 0 || le.Uint64(locator[8:]) != stop || le.Uint32(locator[16:]) != 1 || le.Uint32(record) != 0x06064b50 ||
			le.Uint64(record[4:]) != zipEnd64-12 || le.Uint16(record[14:]) > zipVersion || le.Uint64(record[16:]) != 0 || le.Uint64(record[24:]) != d.count {
			return d, errZIP
		}
	}
	if d.length > directoryMost || d.list > stop || d.list+d.length != stop {
		return d, errZIP
	}
	return d, nil
}

// checkZIP refuses a ZIP file that has bytes which belong to no member, or whose two descriptions of a member differ: programs would read
// it in two ways.
func checkZIP(r io.ReaderAt, size int64) error {
	d, err := readZIPDirectory(r, size)
	if err != nil {
		return err
	}
	entries := make([]byte, d.length)
	if _, err := r.ReadAt(entries, int64(d.list)); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	le, at := binary.LittleEndian, uint64(0)
	for range d.count {
		if len(entries) < zipEntry {
			return errZIP
		}
		whole := zipEntry + int(le.Uint16(entries[28:])) + int(le.Uint16(entries[30:]))
		if len(entries) < whole {
			return errZIP
		}
		if at, err = checkMember(r, entries[:whole], at, d.list); err != nil {
			return err
		}
		entries = entries[whole:]
	}
	if len(entries) != 0 || at != d.list {
		return errZIP
	}
	return nil
}

// zipMember is what the list says of the lengths of a member.
type zipMember struct {
	packed, unpacked uint64
	long             bool // they stand in a block of ZIP64
}

// readZIPMember reads an entry of the list, whose member must stand at a place.
func readZIPMember(entry []byte, at uint64) (m zipMember, err error) {
	le := binary.LittleEndian
	flags, method, place := le.Uint16(entry[8:]), le.Uint16(entry[10:]), uint64(le.Uint32(entry[42:]))
	m.packed, m.unpacked = uint64(le.Uint32(entry[20:])), uint64(le.Uint32(entry[24:]))
	m.long = m.packed == zipElsewhere
	if le.Uint32(entry) != 0x02014b50 || le.Uint16(entry[6:]) > zipVersion || flags&^zipMayFlag != 0 || method != 0 && method != 8 ||
		le.Uint32(entry[32:]) != 0 || m.long != (m.unpacked == zipElsewhere) || place == zipElsewhere && !m.long {
		return m, errZIP
	}
	if m.long {
		block := entry[zipEntry+int(le.Uint16(entry[28:])):]
		if len(block) != zipEntry64 || le.Uint16(block) != 1 || le.Uint16(block[2:]) != zipEntry64-4 {
			return m, errZIP
		}
		m.unpacked, m.packed = le.Uint64(block[4:]), le.Uint64(block[12:])
		if there := le.Uint64(block[20:]); place == zipElsewhere {
			place = there
		} else if there != place {
			return m, errZIP
		}
	}
	if place != at || method == 0 && m.packed != m.unpacked {
		return m, errZIP
	}
	return m, nil
}

// checkMember compares the two descriptions of a member, whose own must stand at a place, and returns where the next one begins. The list
// of members stands at list.
func checkMember(r io.ReaderAt, entry []byte, at, list uint64) (uint64, error) {
	m, err := readZIPMember(entry, at)
	if err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	named := int(le.Uint16(entry[28:]))
	local := make([]byte, zipLocal+named)
	if at+uint64(len(local)) > list || m.packed > list {
		return 0, errZIP
	}
	if _, err := r.ReadAt(local, int64(at)); err != nil {
		return 0, err
	}
	sums := entry[16:28] // CRC-32, length packed and unpacked
	described, repeated := le.Uint16(entry[8:])&8 != 0, bytes.Equal(local[14:26], sums)
	if le.Uint32(local) != 0x04034b50 || le.Uint16(local[4:]) > zipVersion || !bytes.Equal(local[6:10], entry[8:12]) || int(le.Uint16(local[26:])) != named ||
		!bytes.Equal(local[zipLocal:], entry[zipEntry:zipEntry+named]) || !repeated && (!described || !bytes.Equal(local[14:26], make([]byte, 12))) {
		return 0, errZIP
	}
	at += uint64(len(local))
	extra := uint64(le.Uint16(local[28:]))
	if m.long && repeated {
		block := le.AppendUint64(le.AppendUint64([]byte{1, 0, zipLocal64 - 4, 0}, m.unpacked), m.packed)
		if described || extra != zipLocal64 || !standsAt(r, at, block) {
			return 0, errZIP
		}
	}
	at += extra + m.packed
	if !described {
		return at, nil
	}
	after := append(le.AppendUint32(nil, 0x08074b50), entry[16:20]...)
	if max(m.packed, m.unpacked) >= zipElsewhere {
		after = le.AppendUint64(le.AppendUint64(after, m.packed), m.unpacked)
	} else {
		after = le.AppendUint32(le.AppendUint32(after, uint32(m.packed)), uint32(m.unpacked))
	}
	if at+uint64(len(after)) > list || !standsAt(r, at, after) {
		return 0, errZIP
	}
	return at + uint64(len(after)), nil
}

// standsAt tells whether bytes stand at a place of a file.
func standsAt(r io.ReaderAt, at uint64, want []byte) bool {
	have := make([]byte, len(want))
	_, err := r.ReadAt(have, int64(at))
	return err == nil && bytes.Equal(have, want)
}
