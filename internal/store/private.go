package store

import (
	"crypto/rand"
	"encoding/base64"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// What a statement needs to make private texts by itself. The text is privateStart, the parameter with the system, and
// privateEnd, in a column named private; its salt is 16 bytes, of which 122 bits are random, drawn anew for each row.
// commitSQL is the commitment to that column, as audit.Commit makes it.
const (
	privateStart = `'{"salt":"' || rtrim(encode(uuid_send(gen_random_uuid()), 'base64'), '=') || '","system":' || to_json(`
	privateEnd   = `::text)::text || '}' AS private`
	commitSQL    = `rtrim(encode(sha256(convert_to(private, 'UTF8')), 'base64'), '=')`
)

// privateFacts is the private text of an attempt's beginning or end, under a salt of its own. The beginning has no result.
func (s *Store) privateFacts(r notice.Result) (string, error) {
	var salt [16]byte
	_, _ = rand.Read(salt[:]) // it never fails: the process ends instead
	facts := history.PrivateFacts{Salt: base64.RawStdEncoding.EncodeToString(salt[:]), System: s.system, Local: r.LocalAddr, Detail: r.Detail}
	return appended(func(b []byte) ([]byte, error) { return facts.AppendJSON(b) })
}
