package page

import "github.com/arauto/arauto/internal/audit"

// ConditionRow is one condition of completeness as a page shows it.
type ConditionRow struct {
	Name, Tone, State string
	Notes             []string // what the verification says of it
	Do                string   // what to do; "": nothing
}

// Said is a note in the reader's language, or a text that has none.
type Said struct {
	Text    string
	Foreign bool // it is English
}

// SaidOf is an English text in the reader's language, where it has words of ours in Portuguese. Each is a text, a pointer to one, or nil.
func (v *Visit) SaidOf(text, portuguese any) Said {
	if pt := plainText(portuguese); v.Lang == Portuguese && pt != "" {
		return Said{Text: pt}
	}
	return Said{plainText(text), v.Lang != English}
}

// Note is what a verification notes, in the reader's language.
func (v *Visit) Note(note string) Said {
	code, said := audit.NoteOf(note)
	if code == "" {
		return Said{note, v.Lang != English}
	}
	args := make([]any, len(said))
	for i, s := range said {
		args[i] = s
	}
	return Said{Text: v.Text("note."+code, args...)}
}

// Completeness says of each condition whether it is met and what to do, and returns the notes that belong to none of them. Without
// conditions all notes are returned.
func (v *Visit) Completeness(conditions []audit.CompletenessCondition, notes []string) (rows []ConditionRow, rest []Said) {
	of := map[string][]string{}
	for _, note := range notes {
		said := v.Note(note)
		if c := audit.ConditionOf(note); c != "" && len(conditions) > 0 {
			of[c] = append(of[c], said.Text)
			continue
		}
		rest = append(rest, said)
	}
	for _, c := range conditions {
		row := ConditionRow{
			Name: v.Text("condition." + c.Condition), State: v.Text("condition.state." + c.State), Tone: v.Text("condition.tone." + c.State), Notes: of[c.Condition],
		}
		switch key := "condition.do." + c.Condition + "." + c.State; {
		case v.HasText(key):
			row.Do = v.Text(key)
		case c.State != audit.ConditionMet:
			row.Do = v.Text("condition.do.unknown")
		}
		rows = append(rows, row)
	}
	return rows, rest
}
