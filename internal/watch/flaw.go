package watch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Flaw is one error in a mapping file: where, what, and what would be right.
type Flaw struct {
	File  string
	Line  int    // 0: the whole file
	Key   string // as "tables.payments.status"; "" for the whole file
	Wrong string
	Cure  string // "" where Wrong says it
}

// String is the flaw in one line: "core.yaml:12: tables.payments.id: is missing; …".
func (f Flaw) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
	}
	b.WriteString(": ")
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Wrong)
	if f.Cure != "" {
		b.WriteString("; " + f.Cure)
	}
	return b.String()
}

// MappingError is the error for an invalid mapping file; it holds every flaw.
type MappingError struct{ Flaws []Flaw }

// Error lists the flaws, one a line.
func (e *MappingError) Error() string {
	lines := make([]string, len(e.Flaws))
	for i, f := range e.Flaws {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// flaws gathers what is wrong with a file.
type flaws struct {
	file string
	list []Flaw
}

func (f *flaws) add(node *yaml.Node, key, wrong, cure string) {
	line := 0
	if node != nil {
		line = node.Line
	}
	f.list = append(f.list, Flaw{File: f.file, Line: line, Key: key, Wrong: wrong, Cure: cure})
}

// err returns every flaw once: what an alias repeats elsewhere in the file is one flaw, on one line.
func (f *flaws) err() error {
	if len(f.list) == 0 {
		return nil
	}
	slices.SortStableFunc(f.list, func(a, b Flaw) int { return cmp.Compare(a.Line, b.Line) })
	told := map[Flaw]bool{}
	return &MappingError{slices.DeleteFunc(f.list, func(one Flaw) bool {
		one.Key = one.Key[strings.LastIndexByte(one.Key, '.')+1:]
		again := told[one]
		told[one] = true
		return again
	})}
}
