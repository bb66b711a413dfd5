package openapi

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
)

// pattern matches strings as its expression does. The zero pattern matches all.
type pattern struct {
	ascii  *automaton // of ASCII; nil: the expression is not one that an automaton can have
	whole  openapi3.RegexMatcher
	broken bool // the expression cannot be compiled: nothing matches
}

func newPattern(expression string) pattern {
	whole, err := compilePattern(expression)
	return pattern{newAutomaton(expression), whole, err != nil}
}

func (p *pattern) matches(s string) bool {
	if p.ascii != nil {
		if yes, known := p.ascii.match(s); known {
			return yes
		}
	}
	return !p.broken && (p.whole == nil || p.whole.MatchString(s))
}

// automaton is a regular expression as a table: for each state and class of characters the next state. It knows ASCII only.
type automaton struct {
	class   [utf8.RuneSelf]uint8
	classes int
	next    []int16 // state × class; dead: no match follows
	accepts []bool  // at the end of the text
}

const (
	dead      = -1
	maxStates = 1000
)

// match tells whether s matches; not known when it is not ASCII.
func (a *automaton) match(s string) (yes, known bool) {
	state := 0
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false, false
		}
		if state >= 0 {
			state = int(a.next[state*a.classes+int(a.class[s[i]])])
		}
	}
	return state >= 0 && a.accepts[state], true
}

// newAutomaton makes the table of an expression; nil when it would be too large, or when the expression asks for more than
// characters and the beginning and end of the text.
func newAutomaton(expression string) *automaton {
	parsed, err := syntax.Parse(unicodeEscape.ReplaceAllString(expression, `\x{$1}`), syntax.Perl)
	if err != nil {
		return nil
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil
	}
	for i := range program.Inst {
		if in := &program.Inst[i]; in.Op == syntax.InstEmptyWidth && syntax.EmptyOp(in.Arg)&^(syntax.EmptyBeginText|syntax.EmptyEndText) != 0 {
			return nil
		}
	}
	b := &automatonBuilder{program: program, known: map[string]int16{}}
	b.sortIntoClasses()
	b.state(b.follow([]uint32{uint32(program.Start)}, syntax.EmptyBeginText), true)
	for i := 0; i < len(b.sets); i++ {
		for class := range b.classes {
			b.next = append(b.next, b.step(b.sets[i], b.examples[class]))
		}
		if len(b.sets) > maxStates {
			return nil
		}
	}
	return &b.automaton
}

// automatonBuilder makes an automaton by the construction of subsets: a state is a set of places in the program.
type automatonBuilder struct {
	automaton
	program  *syntax.Prog
	known    map[string]int16
	sets     [][]uint32
	examples []rune // one of each class
}

// sortIntoClasses puts characters together which the program never tells apart.
func (b *automatonBuilder) sortIntoClasses() {
	seen := map[string]uint8{}
	for c := range rune(utf8.RuneSelf) {
		var key []byte
		for i := range b.program.Inst {
			if in := &b.program.Inst[i]; isRune(in) && in.MatchRune(c) {
				key = binary.AppendVarint(key, int64(i))
			}
		}
		class, is := seen[string(key)]
		if !is {
			class = uint8(len(seen))
			seen[string(key)] = class
			b.examples = append(b.examples, c)
		}
		b.class[c] = class
	}
	b.classes = len(b.examples)
}

func isRune(in *syntax.Inst) bool {
	return in.Op == syntax.InstRune || in.Op == syntax.InstRune1 || in.Op == syntax.InstRuneAny || in.Op == syntax.InstRuneAnyNotNL
}

// follow adds all places that are reached without a character, where these conditions hold.
func (b *automatonBuilder) follow(places []uint32, holds syntax.EmptyOp) []uint32 {
	var out []uint32
	var walk func(uint32)
	walk = func(place uint32) {
		if slices.Contains(out, place) {
			return
		}
		out = append(out, place)
		switch in := &b.program.Inst[place]; in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			walk(in.Out)
			walk(in.Arg)
		case syntax.InstCapture, syntax.InstNop:
			walk(in.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(in.Arg)&^holds == 0 {
				walk(in.Out)
			}
		}
	}
	for _, place := range places {
		walk(place)
	}
	slices.Sort(out)
	return out
}

// step is where a character leads from a set of places. A match that has been found stays one.
func (b *automatonBuilder) step(from []uint32, c rune) int16 {
	to := []uint32{uint32(b.program.Start)} // a match may begin anywhere
	for _, place := range from {
		switch in := &b.program.Inst[place]; {
		case in.Op == syntax.InstMatch:
			to = append(to, place)
		case isRune(in) && in.MatchRune(c):
			to = append(to, in.Out)
		}
	}
	return b.state(b.follow(to, 0), false)
}

// state numbers a set of places; dead when nothing can follow.
func (b *automatonBuilder) state(set []uint32, first bool) int16 {
	useful := slices.ContainsFunc(set, func(place uint32) bool {
		in := &b.program.Inst[place]
		return in.Op == syntax.InstMatch || isRune(in) || in.Op == syntax.InstEmptyWidth && syntax.EmptyOp(in.Arg) == syntax.EmptyEndText
	})
	if !useful && !first {
		return dead
	}
	var key []byte
	for _, place := range set {
		key = binary.AppendUvarint(key, uint64(place))
	}
	if n, is := b.known[string(key)]; is && !first {
		return n
	}
	n := int16(len(b.sets))
	if !first { // the first state alone stands at the beginning
		b.known[string(key)] = n
	}
	ending := syntax.EmptyEndText
	if first {
		ending |= syntax.EmptyBeginText
	}
	b.sets = append(b.sets, set)
	b.accepts = append(b.accepts, slices.ContainsFunc(b.follow(set, ending), func(place uint32) bool {
		return b.program.Inst[place].Op == syntax.InstMatch
	}))
	return n
}
