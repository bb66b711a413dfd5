package audit

import (
	"fmt"
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
	noteClients      = "the manifest names other clients than its filter"
	noteTime         = "the filter's member %s is not a time"
	noteMember       = "the filter's member %s is not one whose completeness can be shown"
	noteOrganisation = "which clients an organisation has is not proven: completeness is that of the clients named"

	noteRemoved = "%d entries were removed after their retention time, as the log itself records"

	// NoteAttachments is the note of a document with attachments that were verified.
	NoteAttachments = "the attached entries were verified, and what dossier.json repeats of them; its verdicts and names, and the pages, are the word of the account holder: where they differ from the entries, the entries count"

	// NoteMemory is the note of a bundle that was not verified because that needs too much memory.
	NoteMemory = "verifying the file needs too much memory here; run arauto audit verify"
)

// noteForms are the forms by their codes.
var noteForms = map[string]*regexp.Regexp{
	"no-counts": formOf(noteNoCounts), "no-windows": formOf(noteNoWindows), "before": formOf(noteBefore), "no-end": formOf(noteNoEnd), "after": formOf(noteAfter),
	"clients": formOf(noteClients), "time": formOf(noteTime), "member": formOf(noteMember), "complete": formOf(noteComplete), "organisation": formOf(noteOrganisation), "memory": formOf(NoteMemory), "removed": formOf(noteRemoved), "attachments": formOf(NoteAttachments),
}

// formOf matches what a form makes, with what was put in.
func formOf(form string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.NewReplacer("%d", "([0-9]+)", "%s", "(.+?)").Replace(regexp.QuoteMeta(form)) + "$")
}

// RemovedNote is the note of a log of which entries were removed.
func RemovedNote(entries int64) string { return fmt.Sprintf(noteRemoved, entries) }

// NoteOf returns the code of a note about completeness and what was put into it; "" for another text.
func NoteOf(note string) (code string, args []string) {
	for code, form := range noteForms {
		if m := form.FindStringSubmatch(note); m != nil {
			return code, m[1:]
		}
	}
	return "", nil
}

// The conditions of completeness, in the order of docs/audit-format.md.
const (
	ConditionProven = "proven" // each entry is in the log, and number and root of the entries are those of the counts; unknown without counts
	ConditionFilter = "filter" // whether the filter left something out can be judged by the entries
	ConditionCounts = "counts" // the log's counts of the clients are in the bundle, without a gap
	ConditionBegin  = "begin"  // they begin before the period
	ConditionEnd    = "end"    // they end after the period
)

// How a condition stands.
const (
	ConditionMet     = "met"
	ConditionNotMet  = "not-met"
	ConditionUnknown = "unknown"
)

// CompletenessCondition is one of the things that must hold for a bundle to lack nothing.
type CompletenessCondition struct {
	Condition string `json:"condition"`
	State     string `json:"state"`
}

// noteConditions are the conditions that notes tell of: each says that its condition is not met.
var noteConditions = map[string]string{
	"clients": ConditionFilter, "time": ConditionFilter, "member": ConditionFilter, "no-counts": ConditionCounts, "no-windows": ConditionCounts,
	"before": ConditionBegin, "no-end": ConditionEnd, "after": ConditionEnd,
}

// ConditionOf is the condition that a note says is not met; "" where it says that of none.
func ConditionOf(note string) string {
	code, _ := NoteOf(note)
	return noteConditions[code]
}

// CompletenessConditions tells how each condition stands after a verification that found no fault, by whether it found the bundle
// complete and by its notes. What was not looked at, because another condition is not met or a note is not one of ours, is unknown.
func CompletenessConditions(complete bool, notes []string) []CompletenessCondition {
	unmet, counted, told := map[string]bool{}, true, false
	for _, note := range notes {
		code, _ := NoteOf(note)
		if c := noteConditions[code]; c != "" {
			unmet[c], told = true, true
		}
		counted = counted && code != "no-counts"
	}
	state := func(condition string, looked bool) CompletenessCondition {
		switch {
		case complete:
			return CompletenessCondition{condition, ConditionMet}
		case unmet[condition]:
			return CompletenessCondition{condition, ConditionNotMet}
		case told && looked:
			return CompletenessCondition{condition, ConditionMet}
		}
		return CompletenessCondition{condition, ConditionUnknown}
	}
	windows := !unmet[ConditionCounts]
	return []CompletenessCondition{
		state(ConditionProven, windows), state(ConditionFilter, counted), state(ConditionCounts, windows), state(ConditionBegin, windows), state(ConditionEnd, windows),
	}
}
