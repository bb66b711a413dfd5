package postgres

import (
	"fmt"
	"regexp"
	"strings"
)

// The texts of findings, as forms. People who read Portuguese are told the text that stands beside them in findingWords, which a text is
// recognised by: findings are remembered as text.
const (
	saidOperations = "publication %s does not publish inserts and updates: ALTER PUBLICATION %s SET (publish = 'insert, update, delete, truncate')"
	saidDeletes    = "publication %s does not publish deletes, and a deleted row of %s deletes a registration: ALTER PUBLICATION %s SET (publish = 'insert, update, delete')"

	saidTable       = "table %s"
	saidPart        = "partition or child %s of table %s"
	saidForeign     = "%s is a foreign table: its changes are not in this server's log; follow it at its own server"
	saidUnlogged    = "%s is unlogged: its changes are in no log; run ALTER TABLE %s SET LOGGED"
	saidUnpublished = "%s is not in publication %s: run ALTER PUBLICATION %s ADD TABLE %s"
	saidFiltered    = "publication %s has a row filter on %s: what it hides is never told nor counted; take it out (ALTER PUBLICATION %s SET TABLE …) and use `when` in the mapping"
	saidAbove       = "%s is told as rows of %s: name that table in the mapping"

	saidGone      = "table %s (object id %d) is not there any more; rows written under another name, or to a table made again, are not told. Correct the mapping, or make the table again"
	saidRemade    = "table %s was made again or replaced (its object id was %d and is %d): rows written before it was noticed may be missing"
	saidTakenOut  = "%s was taken out of publication %s: rows written meanwhile are not told"
	saidPutBack   = "%s was taken out of publication %s and put in again, or the publication was made again: rows written meanwhile are not told"
	saidStranger  = "rows came of %s (object id %d), which is not there now or not published any more, and may have been a partition of table %s"
	saidTruncated = "table %s was truncated: which rows it had is not told, and what a deleted row does was not done for them"

	saidUnreadable = "whether %s had rows before it was followed as a part of table %s cannot be told (%v)"
	saidRewritten  = "%s, new in table %s, was rewritten (SET LOGGED, VACUUM FULL): whether all its rows were told cannot be known"
	saidAttached   = "%s has rows that were written before it was attached to table %s, or before it was published: they are not told"
)

// findingWord is a form and its text in Portuguese, with what was put into the form by its place.
type findingWord struct {
	form *regexp.Regexp
	pt   string
}

// partWords are the names of a table or of a part of it within a finding.
var partWords = []findingWord{
	{wordOf(saidPart), "a partição ou filha %[1]s da tabela %[2]s"},
	{wordOf(saidTable), "a tabela %[1]s"},
}

var findingWords = []findingWord{
	{wordOf(saidOperations), "a publicação %[1]s não publica inserts e updates: ALTER PUBLICATION %[2]s SET (publish = 'insert, update, delete, truncate')"},
	{wordOf(saidDeletes), "a publicação %[1]s não publica deletes, e uma linha apagada de %[2]s apaga um registro: ALTER PUBLICATION %[3]s SET (publish = 'insert, update, delete')"},
	{wordOf(saidForeign), "%[1]s é uma tabela externa (foreign): suas mudanças não estão no log deste servidor; acompanhe-a no servidor dela"},
	{wordOf(saidUnlogged), "%[1]s é UNLOGGED: suas mudanças não estão em log nenhum; execute ALTER TABLE %[2]s SET LOGGED"},
	{wordOf(saidUnpublished), "%[1]s não está na publicação %[2]s: execute ALTER PUBLICATION %[3]s ADD TABLE %[4]s"},
	{wordOf(saidFiltered), "a publicação %[1]s tem um filtro de linhas em %[2]s: o que ele esconde nunca é avisado nem contado; remova-o (ALTER PUBLICATION %[3]s SET TABLE …) e use `when` no mapeamento"},
	{wordOf(saidAbove), "%[1]s é informada como linhas de %[2]s: cite essa tabela no mapeamento"},
	{wordOf(saidGone), "a tabela %[1]s (id de objeto %[2]s) não existe mais; linhas gravadas sob outro nome, ou em uma tabela criada de novo, não são avisadas. Corrija o mapeamento, ou crie a tabela de novo"},
	{wordOf(saidRemade), "a tabela %[1]s foi criada de novo ou substituída (seu id de objeto era %[2]s e é %[3]s): linhas gravadas antes de isso ser percebido podem faltar"},
	// The longer form first: the shorter one fits its text too.
	{wordOf(saidPutBack), "%[1]s foi retirada da publicação %[2]s e posta de volta, ou a publicação foi criada de novo: linhas gravadas nesse intervalo não são avisadas"},
	{wordOf(saidTakenOut), "%[1]s foi retirada da publicação %[2]s: linhas gravadas nesse intervalo não são avisadas"},
	{wordOf(saidStranger), "vieram linhas de %[1]s (id de objeto %[2]s), que não existe agora ou não é mais publicada, e pode ter sido uma partição da tabela %[3]s"},
	{wordOf(saidTruncated), "a tabela %[1]s foi truncada: quais linhas ela tinha não se sabe, e para elas não foi feito o que uma linha apagada faz"},
	{wordOf(saidUnreadable), "não se sabe se %[1]s tinha linhas antes de ser acompanhada como parte da tabela %[2]s (%[3]s)"},
	{wordOf(saidRewritten), "%[1]s, nova na tabela %[2]s, foi reescrita (SET LOGGED, VACUUM FULL): não se sabe se todas as suas linhas foram avisadas"},
	{wordOf(saidAttached), "%[1]s tem linhas gravadas antes de ser anexada à tabela %[2]s, ou antes de ser publicada: elas não são avisadas"},
}

// wordOf matches what a form makes, with what was put in.
func wordOf(form string) *regexp.Regexp {
	return regexp.MustCompile("(?s)^" + strings.NewReplacer("%d", "([0-9]+)", "%s", "(.+?)", "%v", "(.*)").Replace(regexp.QuoteMeta(form)) + "$")
}

// portugueseOf is the text of a finding for people who read Portuguese; "" of a text that is none of ours.
func portugueseOf(text string) string {
	said := translated(findingWords, text, func(part string) string {
		if pt := translated(partWords, part, func(name string) string { return name }); pt != "" {
			return pt
		}
		return part
	})
	return said
}

// translated puts what was put into a form into its text in Portuguese.
func translated(words []findingWord, text string, each func(string) string) string {
	for _, w := range words {
		m := w.form.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		args := make([]any, len(m)-1)
		for i, arg := range m[1:] {
			args[i] = each(arg)
		}
		return fmt.Sprintf(w.pt, args...)
	}
	return ""
}
