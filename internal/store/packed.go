package store

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
)

// packedBy1 begins a document that is packed with the first dictionary. No JSON text begins with it.
const packedBy1 = 0x01

// maxDocument is what a packed document has unpacked at most, in bytes. It is far more than a line of the intake may have.
const maxDocument = 16 << 20

// dictionary1 is sample documents of all kinds, of nobody. Stored documents need it as it is, for ever: another dictionary gets a file
// and a first byte of its own.
//
//go:embed document_1.dict
var dictionary1 []byte

var pack1 = s2.MakeDict(dictionary1, nil)

// pack is a document as the column has it where form.packed is true (docs/decisions/0025): shorter, or as it is where packing does not shorten it.
func pack(document []byte) []byte {
	if len(document) == 0 { // erased
		return document
	}
	room, _ := packRoom.Get().(*[]byte)
	defer packRoom.Put(room)
	most := 1 + s2.MaxEncodedLen(len(document))
	*room = slices.Grow((*room)[:0], most)[:most]
	out := *room
	out[0] = packedBy1
	if n := len(pack1.Encode(out[1:], document)); n+1 < len(document) {
		return bytes.Clone(out[:n+1])
	}
	return document
}

// packRoom holds buffers in which documents are packed, which are as long as a document that does not get shorter.
var packRoom = sync.Pool{New: func() any { return new([]byte) }}

// Unpack returns the document of a column, which may be packed: the bytes that the core sent. One that is not packed is returned as it is and
// shares its memory. It fails for a packed document that was damaged.
func Unpack(column []byte) ([]byte, error) {
	if len(column) == 0 || column[0] != packedBy1 {
		return column, nil
	}
	packed := column[1:]
	if n, err := s2.DecodedLen(packed); err != nil || n > maxDocument {
		return nil, fmt.Errorf("a packed document of %d bytes is damaged: it names no length up to %d bytes", len(column), maxDocument)
	}
	document, err := pack1.Decode(nil, packed)
	if err != nil {
		return nil, fmt.Errorf("a packed document of %d bytes is damaged: %w", len(column), err)
	}
	return document, nil
}

// Document is the place of a document in a row. A packed one that is damaged stays as it is: it is no JSON, and readers judge it like
// any other document that was damaged.
func Document(into *[]byte) any { return (*documentColumn)(into) }

type documentColumn []byte

// ScanBytes implements pgtype.BytesScanner; column is valid during the call.
func (d *documentColumn) ScanBytes(column []byte) error {
	document, err := Unpack(column)
	if err != nil || len(document) > 0 && &document[0] == &column[0] {
		document = bytes.Clone(column)
	}
	*d = document
	return nil
}
