package trust

import (
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/mtls"
)

// The kinds of what may be left out, as the metric names them.
const (
	LeftOutAuthorities = "authorities" // of certificates, in files
	LeftOutKeys        = "keys"        // that verify signatures, in key sets
)

// LeftOut returns what is not in force although the file or set that it stands in is, by kind: the rest of the file or set is usable,
// and this part must be mended where it comes from. Each is one line that names file or set, position and reason.
func (t *Trust) LeftOut() map[string][]string {
	out := map[string][]string{LeftOutAuthorities: nil, LeftOutKeys: nil}
	for _, a := range t.anchors() {
		for _, l := range a.LeftOut() {
			out[LeftOutAuthorities] = append(out[LeftOutAuthorities], l.String())
		}
	}
	for _, s := range t.keySets() {
		out[LeftOutKeys] = append(out[LeftOutKeys], s.Faulty()...)
	}
	return out
}

// anchors returns the authorities that are read again while we run.
func (t *Trust) anchors() []*mtls.Anchors {
	var out []*mtls.Anchors
	for _, a := range []*mtls.Anchors{t.Callers.Authorities, t.Roots} {
		if a != nil {
			out = append(out, a)
		}
	}
	if t.Callers.Proxy != nil {
		out = append(out, t.Callers.Proxy.Authorities())
	}
	return out
}

// leftOutLines are the lines of every kind.
func (t *Trust) leftOutLines() []string {
	kinds := t.LeftOut()
	return append(kinds[LeftOutAuthorities], kinds[LeftOutKeys]...)
}

// tellLeftOut logs the authorities of a source that are left out; "": of every source.
func (t *Trust) tellLeftOut(source string) {
	for _, a := range t.anchors() {
		if source != "" && a.Name() != source {
			continue
		}
		for _, l := range a.LeftOut() {
			t.log.Warn("authority left out, the others of its file are in force", "file", l.File, "position", l.Position, "subject", l.Subject, "reason", l.Reason)
		}
	}
}

// tellFaulty logs the keys of a set that are left out.
func (t *Trust) tellFaulty(e jws.KeySetEvent) {
	for _, why := range e.Faulty {
		t.log.Warn("key left out, the others of its set are in force", "source", e.Source, "reason", why)
	}
}
