package audit

import (
	"regexp"
	"strings"
)

// The notes of a verification of a bundle, as forms: what a page in another language must say is recognised by them (NoteOf).
const (
	noteNoCounts     = "the bundle has no counts: an export can be shown to be complete when its filter names a client and the end of a period that is counted, and no single resource"
	noteNoWindows    = "the log's counts of clients are not in the bundle"
	noteBefore       = "entries before position %d are not counted: begin the period later"
	noteNoEnd        = "the period has no end, and what is new is not counted yet: name one with to"
	noteAfter        = "entries from position %d on are not counted yet, and the period may reach beyond it"
	noteComplete     = "the bundle has every entry of %s from %s to %s: the %d that the filter finds, and the others in %s (positions %d to %d)"
	noteOrganisation = "which clients an organisation has is not proven: completeness is that of the clients named"

	// NoteMemory is the note of a bundle that was not verified because that needs too much memory.
	NoteMemory = "verifying the file needs too much memory here; run arauto audit verify"
)

// noteForms are the forms by their codes.
var noteForms = map[string]*regexp.Regexp{
	"no-counts": formOf(noteNoCounts), "no-windows": formOf(noteNoWindows), "before": formOf(noteBefore), "no-end": formOf(noteNoEnd), "after": formOf(noteAfter),
	"complete": formOf(noteComplete), "organisation": formOf(noteOrganisation), "memory": formOf(NoteMemory),
}

// formOf matches what a form makes, with what was put in.
func formOf(form string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.NewReplacer("%d", "([0-9]+)", "%s", "(.+?)").Replace(regexp.QuoteMeta(form)) + "$")
}

// NoteOf returns the code of a note about completeness and what was put into it; "" for another text.
func NoteOf(note string) (code string, args []string) {
	for code, form := range noteForms {
		if m := form.FindStringSubmatch(note); m != nil {
			return code, m[1:]
		}
	}
	return "", nil
}
