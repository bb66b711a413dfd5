package audit

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Policy says which witnesses are known, where they are asked, and which of them must vouch for a checkpoint (C2SP tlog-policy).
type Policy struct {
	// Logs are the logs that the policy is about. Empty: the log is known from elsewhere.
	Logs []LogKey
	// Witnesses are in the order of the file.
	Witnesses []PolicyWitness
	// Within is how much later than what the quorum vouched for the newest entries may have been signed; see Confirm. ParsePolicy sets it
	// to WitnessedWithin.
	Within time.Duration

	groups map[string]witnessGroup
	quorum string
}

// PolicyWitness is a witness of a policy.
type PolicyWitness struct {
	WitnessKey

	Label string // the name of the witness in the policy
	URL   string // prefix of the addresses at which the witness is asked; empty: the policy names none
}

// witnessGroup vouches when at least so many of its members do.
type witnessGroup struct {
	least   int
	members []string
}

// WitnessedWithin is how far the vouching may stay behind the log. A running gateway has its log vouched for once a minute.
const WitnessedWithin = time.Hour

// noQuorum is the quorum of a policy that demands no witness.
const noQuorum = "none"

// ParsePolicy reads a policy. An error names the line and what would be right.
func ParsePolicy(text []byte) (*Policy, error) {
	p := &Policy{Within: WitnessedWithin, groups: map[string]witnessGroup{}}
	member := map[string]bool{}
	for i, raw := range bytes.Split(text, []byte("\n")) {
		line := string(raw)
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, fmt.Errorf("line %d has a control character; use spaces and line feeds", i+1)
		}
		words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if err := p.line(words, member); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	if p.quorum == "" {
		return nil, errors.New("no line `quorum NAME`; name a witness, a group, or none")
	}
	return p, nil
}

func (p *Policy) line(words []string, member map[string]bool) error {
	kind, words := words[0], words[1:]
	switch {
	case kind == "log" && (len(words) == 1 || len(words) == 2):
		return p.addLog(words[0])
	case kind == "witness" && (len(words) == 2 || len(words) == 3):
		return p.addWitness(words)
	case kind == "group" && len(words) >= 3:
		return p.addGroup(words[0], words[1], words[2:], member)
	case kind == "quorum" && len(words) == 1:
		if p.quorum != "" {
			return errors.New("a second quorum; name one")
		}
		if words[0] != noQuorum && !p.named(words[0]) {
			return fmt.Errorf("the quorum %q is not defined on a line before", words[0])
		}
		p.quorum = words[0]
		return nil
	}
	return errors.New("not one of: log VKEY [URL] · witness NAME VKEY [URL] · group NAME all|any|NUMBER NAME… · quorum NAME")
}

func (p *Policy) addLog(vkey string) error {
	key, err := ParseLogKey(vkey)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(p.Logs, func(k LogKey) bool { return keyOf(k.text) == keyOf(vkey) }) {
		return errors.New("a second log with the same key")
	}
	p.Logs = append(p.Logs, key)
	return nil
}

// keyOf is the key in a verifier key, without its name.
func keyOf(vkey string) string { return vkey[strings.LastIndexByte(vkey, '+')+1:] }

func (p *Policy) addWitness(words []string) error {
	if err := p.free(words[0]); err != nil {
		return err
	}
	w, err := ParseWitnessKey(words[1])
	if err != nil {
		return fmt.Errorf("witness %s: %w", words[0], err)
	}
	if slices.ContainsFunc(p.Witnesses, func(other PolicyWitness) bool { return other.Key.Equal(w.Key) }) {
		return fmt.Errorf("witness %s: a second witness with the same key", words[0])
	}
	added := PolicyWitness{WitnessKey: w, Label: words[0]}
	if len(words) == 3 {
		u, err := url.Parse(words[2])
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return fmt.Errorf("witness %s: %q is not an http(s) URL", words[0], words[2])
		}
		added.URL = strings.TrimRight(words[2], "/")
	}
	p.Witnesses = append(p.Witnesses, added)
	return nil
}

func (p *Policy) addGroup(name, number string, members []string, member map[string]bool) error {
	if err := p.free(name); err != nil {
		return err
	}
	for _, m := range members {
		if !p.named(m) {
			return fmt.Errorf("group %s: %q is not defined on a line before", name, m)
		}
		if member[m] {
			return fmt.Errorf("group %s: %q is a member of a group already", name, m)
		}
		member[m] = true
	}
	least, err := strconv.Atoi(number)
	switch number {
	case "all":
		least, err = len(members), nil
	case "any":
		least, err = 1, nil
	}
	if err != nil || least < 1 || least > len(members) {
		return fmt.Errorf("group %s: %q is not all, any or a number from 1 to %d", name, number, len(members))
	}
	p.groups[name] = witnessGroup{least, members}
	return nil
}

// free refuses a name that is taken.
func (p *Policy) free(name string) error {
	if name == noQuorum || p.named(name) {
		return fmt.Errorf("the name %q is taken; use another", name)
	}
	return nil
}

func (p *Policy) named(name string) bool {
	_, group := p.groups[name]
	return group || slices.ContainsFunc(p.Witnesses, func(w PolicyWitness) bool { return w.Label == name })
}

// Demands tells whether the policy demands a witness at all.
func (p *Policy) Demands() bool { return p.quorum != noQuorum }

// Knows tells whether the policy may be applied to the log of a key: it names this log, or none.
func (p *Policy) Knows(public ed25519.PublicKey) bool {
	mine := VerifierKey(public)
	return len(p.Logs) == 0 || slices.ContainsFunc(p.Logs, func(k LogKey) bool { return k.text == mine })
}

// reached tells whether the quorum vouches when some witnesses do, by their names in the policy.
func (p *Policy) reached(name string, vouches func(label string) bool) bool {
	if name == noQuorum {
		return true
	}
	g, is := p.groups[name]
	if !is {
		return vouches(name)
	}
	n := 0
	for _, m := range g.members {
		if p.reached(m, vouches) {
			n++
		}
	}
	return n >= g.least
}

// MaxAhead is how far the clock of a witness may be ahead of ours. What it says of a later time counts nowhere: it would hide, until then,
// that it says nothing any more.
const MaxAhead = 5 * time.Minute

// NotAhead returns the cosignatures whose time is at most MaxAhead after now.
func NotAhead(all []Cosignature, now time.Time) (out []Cosignature) {
	for _, c := range all {
		if !c.At.After(now.Add(MaxAhead)) {
			out = append(out, c)
		}
	}
	return out
}

// Until is the latest time at which the quorum of the policy vouched, by the cosignatures of one checkpoint; false when the
// quorum is not reached. The time is zero for a policy that demands no witness.
func (p *Policy) Until(all []Cosignature) (time.Time, bool) {
	if !p.Demands() {
		return time.Time{}, true
	}
	by := map[string]time.Time{}
	for _, c := range all {
		for _, w := range p.Witnesses {
			if w.Name == c.Witness.Name && w.Key.Equal(c.Witness.Key) && c.At.After(by[w.Label]) {
				by[w.Label] = c.At
			}
		}
	}
	times := []time.Time{}
	for _, at := range by {
		times = append(times, at)
	}
	slices.SortFunc(times, func(a, b time.Time) int { return b.Compare(a) })
	for _, t := range times {
		if p.reached(p.quorum, func(label string) bool { at, is := by[label]; return is && !at.Before(t) }) {
			return t, true
		}
	}
	return time.Time{}, false
}

// Cosignatures reads what the witnesses of the policy say of a checkpoint that the log's key signed.
func (p *Policy) Cosignatures(signed []byte, public ed25519.PublicKey) ([]Cosignature, error) {
	return ReadCosignatures(signed, public, p.Keys())
}

// Keys are the keys of the witnesses, in the order of the file.
func (p *Policy) Keys() []WitnessKey {
	out := make([]WitnessKey, len(p.Witnesses))
	for i, w := range p.Witnesses {
		out[i] = w.WitnessKey
	}
	return out
}

// Label is the name that the policy has for a witness; its own name when the policy does not know it.
func (p *Policy) Label(w WitnessKey) string {
	for _, own := range p.Witnesses {
		if own.Name == w.Name && own.Key.Equal(w.Key) {
			return own.Label
		}
	}
	return w.Name
}

// Confirm judges a verified log or file by the policy. notes are signed checkpoints that the verification compared; of a file with
// single entries only those of its own size and root count. It adds to the notes of the verdict which witnesses vouched for how many
// entries, until when, and for how many at the end nobody did. A quorum that is not reached is a *Fault at the first position that nobody
// vouched for, and so is a newest checkpoint that was signed more than Within after what the quorum vouched until.
func (p *Policy) Confirm(v *VerifiedLog, notes [][]byte, public ed25519.PublicKey) error {
	if !p.Knows(public) {
		return &Fault{0, "the policy names other logs than " + Origin(public)}
	}
	if !p.Demands() {
		v.Notes = append(v.Notes, "the policy demands no witness")
		return nil
	}
	best, by, until, err := p.newest(v, notes, public)
	if err != nil {
		return err
	}
	if best == nil {
		return &Fault{0, "no checkpoint of it has the cosignatures that the policy demands: witnesses did not vouch for it"}
	}
	for _, w := range p.Witnesses {
		at := slices.IndexFunc(by, func(c Cosignature) bool { return p.Label(c.Witness) == w.Label })
		if at < 0 {
			v.Notes = append(v.Notes, fmt.Sprintf("witness %s did not vouch for the first %d entries", w.Label, best.Size))
			continue
		}
		v.Notes = append(v.Notes, fmt.Sprintf("witness %s vouched for the first %d entries until %s", w.Label, best.Size, by[at].At.Format(time.RFC3339)))
	}
	v.Witnessed, v.WitnessedUntil = best.Size, until
	if left := v.Size - best.Size; left > 0 {
		if v.SignedAt.Time().Sub(until) > p.Within {
			return &Fault{best.Size, fmt.Sprintf("nobody vouched for the last %d entries: the witnesses vouched until %s, and the newest checkpoint is of %s", left, until.Format(time.RFC3339), v.SignedAt)}
		}
		v.Notes = append(v.Notes, fmt.Sprintf("nobody vouched for the last %d entries", left))
	}
	return nil
}

// newest finds the largest checkpoint that agrees with what was verified and for which the quorum vouched.
func (p *Policy) newest(v *VerifiedLog, notes [][]byte, public ed25519.PublicKey) (best *Checkpoint, by []Cosignature, until time.Time, err error) {
	type signed struct {
		c    Checkpoint
		note []byte
	}
	var all []signed
	for _, n := range notes {
		if bytes.Count(n, []byte("\n— ")) < 2 {
			continue // nobody but the log signed it
		}
		c, err := OpenCheckpoint(n, public)
		if err != nil {
			return nil, nil, until, &Fault{0, err.Error()}
		}
		same := c.Size == v.Size && c.Root == v.Root
		if same || v.whole && c.Size < v.Size && !slices.ContainsFunc(v.losses, func(l Loss) bool { return l.Admits(c) }) {
			all = append(all, signed{c, n})
		}
	}
	slices.SortStableFunc(all, func(a, b signed) int { return int(max(-1, min(1, b.c.Size-a.c.Size))) })
	for at := 0; at < len(all); {
		one, same := all[at].c, []Cosignature{}
		for ; at < len(all) && all[at].c.Size == one.Size; at++ { // the same checkpoint, with cosignatures from several places
			said, err := p.Cosignatures(all[at].note, public)
			if err != nil {
				return nil, nil, until, &Fault{one.Size, err.Error()}
			}
			if all[at].c == one {
				same = NewestOf(append(same, said...))
			}
		}
		if until, reached := p.Until(same); reached {
			return &one, same, until, nil
		}
	}
	return nil, nil, until, nil
}

// NewestOf keeps the newest cosignature of each witness.
func NewestOf(all []Cosignature) (out []Cosignature) {
	for _, c := range all {
		at := slices.IndexFunc(out, func(o Cosignature) bool {
			return o.Witness.Name == c.Witness.Name && o.Witness.Key.Equal(c.Witness.Key)
		})
		switch {
		case at < 0:
			out = append(out, c)
		case c.At.After(out[at].At):
			out[at] = c
		}
	}
	return out
}
