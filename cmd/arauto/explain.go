package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/explain"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

func explainCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "explain (--change LINE | --source FILE [--table T] [--row JSON])", Short: "show the verdict on a change or on a row of the core, without applying it",
		Args: cobra.NoArgs,
		Long: "Dry run of one change, or of one row of a source: the given one, or the newest of its table in the core's database. It prints the mapping's steps, the change, its problems, the verdict with its\n" +
			"clause, and the exact request. Nothing is stored or sent. If the gateway's database is configured and answers, it is read;\n" +
			"else the change is judged as the first of its resource, of a client with an address. Exit code 1: the change would be refused.",
	}
	settings := configFlag(c)
	change := c.Flags().String("change", "", "a change, as POST /internal/v1/changes takes it")
	source := c.Flags().String("source", "", "mapping file of the source the row belongs to")
	table := c.Flags().String("table", "", "the row's table, topic or queue; optional if the mapping has one only")
	row := c.Flags().String("row", "", "the row as a JSON object of its columns, or the message; the newest row of the table if left out")
	asJSON := c.Flags().Bool("json", false, "print one JSON object a line: one for a change, one for each mapping of the row's table")
	lang := languageFlag(c, w)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		words, known := languages[*lang]
		switch {
		case !known:
			return oneOf("--lang", *lang, "pt", "en")
		case *row != "" && *source == "":
			return wrongUse("explain: --row needs --source; give the mapping file of the source that the row belongs to")
		case (*change == "") == (*source == ""):
			return wrongUse("explain: nothing to explain, or two things; give either --change, or --source")
		}
		cfg, err := config.Read(*settings, w.environ)
		if err != nil {
			return err
		}
		var all []explain.Explanation
		if *change != "" {
			all = make([]explain.Explanation, 1)
			all[0], err = explain.Change(cmd.Context(), cfg, version, []byte(*change))
		} else {
			asked := explain.CoreRow{Mapping: *source, Table: *table}
			if *row != "" {
				asked.Columns = []byte(*row)
			}
			all, err = explain.Row(cmd.Context(), cfg, version, asked)
		}
		if err != nil {
			return err
		}
		p, fine := &explaining{words: words, portuguese: *lang == "pt"}, true
		lines := json.NewEncoder(w.stdout)
		for i := range all {
			one := p.tell(&all[i])
			fine = fine && one
			if !*asJSON {
				continue
			}
			if err := lines.Encode(explainedForPrograms(&all[i], one)); err != nil {
				return err
			}
		}
		if p.say("%s", p.dry); !*asJSON {
			fmt.Fprint(w.stdout, p.out.String())
		}
		if !fine {
			return errFailed
		}
		return nil
	}
	return c
}

// words are the texts of one language.
type words struct {
	apart, steps, given, lookup, wrong, removed, registers, refused, unjudged, line, skipped, noChange, problems, nonconforming, applied, superseded, duplicate, conflict,
	from, first, must, may, silent, overruled, again, client, noClient, noPush, unknownClient, request, placeholder, refusal, notBefore, dry string
	reasons map[ofb.Silence]string
	against map[string]string // what a change contradicts
}

var languages = map[string]words{
	"en": {
		apart: "the gateway's database was not read (%s): judged as the first change of the resource, of a client with an address",
		steps: "the mapping's steps", given: "the core's database was not asked for its form of this row (%s): the values are taken as given, and may differ from the core's", lookup: "the core was not asked for related rows (%s): they are taken from the given row", wrong: "FAILS:",
		removed: "the registration of %s would end", registers: "registration of %s: %s, organisation %s, software %s, addresses [%s]", refused: "this registration would be refused, and go to quarantine", unjudged: "not judged: %s", line: "the change", skipped: "the mapping skips this row: %s", noChange: "this is no change: %s %s",
		problems: "it cannot be applied, and would go to quarantine", nonconforming: "its document does not conform to the API's schema, which is listed and keeps it from nobody", applied: "it would be applied", superseded: "it would be recorded as an older revision that arrived late",
		duplicate: "this revision is already stored with the same content", conflict: "it contradicts what is stored (%s)",
		from: "state: %s, from %s", first: "state: %s, the first known state", must: "it must be announced (%s)", may: "it is announced, as configured (%s)",
		silent: "it is not announced: %s (%s)", overruled: "it overrules a deadline that the gateway applied", again: "the next stored revision would then be announced",
		client: "client: %s, registered with %s", noClient: "client: %s is not registered", noPush: "client: %s is registered without an address", unknownClient: "client: %s",
		request: "the request; x-webhook-interaction-id is new for each attempt", placeholder: "the host is a placeholder for the registered address", refusal: "the address must not be dialled: %v",
		notBefore: "the first attempt waits until %s", dry: "nothing was stored or sent",
		reasons: map[ofb.Silence]string{
			ofb.NotATrigger: "no rule asks for this step", ofb.InitiatorEdit: "the initiator made the edit itself", ofb.NoChange: "state and document are unchanged",
			ofb.Snapshot: "a first load is never announced", ofb.OptionalOff: "the rules leave it to the holder, and announce.direct_authorised does not list it",
			ofb.UnknownClient: "no registration has this clientId", ofb.NoWebhook: "the client has no registered address", ofb.AlreadyAnnounced: "the same state was announced before",
		},
		against: map[string]string{"content": "this revision has other content", "owner": "the resource belongs to another client", "version": "the resource has another API version"},
	},
	"pt": {
		apart: "o banco de dados do gateway não foi consultado (%s): avaliada como a primeira mudança do recurso, de um cliente com endereço",
		steps: "os passos do mapeamento", given: "o banco de dados do core não foi consultado sobre como informa esta linha (%s): os valores são tomados como foram dados, e podem vir de outra forma", lookup: "o core não foi consultado sobre as linhas ao lado (%s): são tomadas da linha dada", wrong: "FALHA:",
		removed: "o registro de %s terminaria", registers: "registro de %s: %s, organização %s, software %s, endereços [%s]", refused: "este registro seria recusado, e iria para a quarentena", unjudged: "não avaliado: %s", line: "a mudança", skipped: "o mapeamento passa por cima desta linha: %s", noChange: "isto não é uma mudança: %s %s",
		problems: "não pode ser aplicada, e iria para a quarentena", nonconforming: "seu documento não segue o esquema da API, o que é listado e não impede o aviso", applied: "seria aplicada", superseded: "seria registrada como revisão antiga que chega tarde",
		duplicate: "já está armazenada: esta revisão, com este conteúdo", conflict: "contradiz o que está armazenado (%s)",
		from: "estado: %s, vindo de %s", first: "estado: %s, o primeiro conhecido", must: "deve ser anunciada (%s)", may: "é anunciada, conforme configurado (%s)",
		silent: "não é anunciada: %s (%s)", overruled: "prevalece sobre um prazo que nós disparamos", again: "a próxima revisão armazenada seria anunciada depois dela",
		client: "cliente: %s, registrado com %s", noClient: "cliente: %s não está registrado", noPush: "cliente: %s está registrado sem endereço", unknownClient: "cliente: %s",
		request: "a requisição; x-webhook-interaction-id é novo a cada tentativa", placeholder: "o host está no lugar do endereço registrado", refusal: "o endereço não pode ser chamado: %v",
		notBefore: "a primeira tentativa espera até %s", dry: "nada foi armazenado nem enviado",
		reasons: map[ofb.Silence]string{
			ofb.NotATrigger: "nenhuma regra pede este passo", ofb.InitiatorEdit: "a iniciadora fez a edição e sabe dela", ofb.NoChange: "estado e documento são os mesmos de antes",
			ofb.Snapshot: "uma primeira carga nunca é anunciada", ofb.OptionalOff: "as regras deixam a critério da detentora, e announce.direct_authorised não o pede",
			ofb.UnknownClient: "nenhum registro tem este clientId", ofb.NoWebhook: "o cliente não tem endereço registrado", ofb.AlreadyAnnounced: "o mesmo estado já foi anunciado",
		},
		against: map[string]string{"content": "esta revisão tem outro conteúdo", "owner": "o recurso é de outro cliente", "version": "o recurso tem outra versão da API"},
	},
}

// explaining writes an explanation for a person.
type explaining struct {
	words
	portuguese bool
	out        strings.Builder
}

func (p *explaining) say(format string, args ...any) { fmt.Fprintf(&p.out, format+"\n", args...) }

// choose is a text in the language of the explanation, English where there is no Portuguese.
func (p *explaining) choose(en, pt string) string {
	if p.portuguese && pt != "" {
		return pt
	}
	return en
}

// block writes a heading and a text, indented.
func (p *explaining) block(heading, text string) {
	p.say("%s:", heading)
	for line := range strings.SplitSeq(strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\n"), "\n") {
		p.say("    %s", line)
	}
}

// tell writes everything, and reports whether the change would be stored, or passed over for a reason.
func (p *explaining) tell(e *explain.Explanation) bool {
	fine := p.mapped(e)
	if e.Line != nil {
		var pretty bytes.Buffer
		if json.Indent(&pretty, e.Line, "", "  ") != nil {
			pretty.Reset()
			pretty.Write(e.Line)
		}
		p.block(p.line, pretty.String())
		if e.Foresight != nil || e.LineError != nil {
			fine = p.verdict(e) && fine
		}
	}
	return fine
}

// mapped writes what the mapping made of a row, step by step.
func (p *explaining) mapped(e *explain.Explanation) bool {
	m := e.Mapped
	if m == nil {
		return true
	}
	p.say("%s: %s", m.Key, m.Kind)
	if e.Given != "" {
		p.say(p.given, e.Given)
	}
	if e.Lookup != "" {
		p.say(p.lookup, e.Lookup)
	}
	p.say("%s:", p.steps)
	for _, s := range m.Steps {
		result := s.Result
		if s.Error != "" {
			result = p.wrong + " " + s.Error
		}
		p.say("    %s: %s  =  %s", strings.TrimPrefix(s.Key, m.Key+"."), s.Expression, result)
	}
	switch {
	case len(m.Problems) > 0:
		p.problemsOf(m.Problems)
		return false
	case m.Skipped != "":
		p.say(p.skipped, p.choose(m.Skipped, m.SkippedPT))
	case m.Delete != "":
		p.say(p.removed, m.Delete)
	case m.Registration != nil:
		r := m.Registration
		p.say(p.registers, r.Client, r.Name, r.OrganisationID, r.SoftwareID, strings.Join(r.WebhookURIs, " "))
		if e.Unjudged != "" {
			p.say(p.unjudged, e.Unjudged)
		}
		if len(e.Refused) > 0 {
			p.list(p.refused, e.Refused)
			return false
		}
	}
	return true
}

func (p *explaining) verdict(e *explain.Explanation) bool {
	if e.LineError != nil {
		p.say(p.noChange, e.LineError.Pointer, p.choose(e.LineError.Detail, e.LineError.DetailPT))
		return false
	}
	if e.Apart != "" {
		p.say(p.apart, p.choose(e.Apart, e.ApartPT))
	}
	f := e.Foresight
	switch f.Verdict {
	case notice.Quarantined:
		p.problemsOf(f.Problems)
		return false
	case notice.Conflicting:
		p.say(p.conflict, cmp.Or(p.against[f.Why], f.Why))
		return false
	case notice.Duplicate:
		p.say("%s", p.duplicate)
		return true
	case notice.Superseded:
		p.say("%s", p.superseded)
	default:
		p.say("%s", p.applied)
	}
	if len(f.Nonconforming) > 0 {
		p.list(p.nonconforming, f.Nonconforming)
	}
	p.judged(e)
	return true
}

func (p *explaining) problemsOf(problems []notice.Problem) { p.list(p.problems, problems) }

// list writes problems under a heading.
func (p *explaining) list(heading string, problems []notice.Problem) {
	p.say("%s:", heading)
	for _, one := range problems {
		p.say("    %s %s: %s", one.Pointer, one.Code, p.choose(one.Detail, one.DetailPT))
	}
}

// judged writes what the rules say, to whom it goes, and the request.
func (p *explaining) judged(e *explain.Explanation) {
	f, d := e.Foresight, &e.Foresight.Decision
	if d.From == "" {
		p.say(p.first, f.Change.State.Status)
	} else {
		p.say(p.from, f.Change.State.Status, d.From)
	}
	switch {
	case !d.Overruled.IsZero():
		p.say("%s", p.overruled)
	case d.Rejudged != nil:
		p.say("%s", p.again)
	}
	switch d.Judged.Duty {
	case ofb.Must:
		p.say(p.must, d.Judged.Clause)
	case ofb.May:
		p.say(p.may, d.Judged.Clause)
	default:
		p.say(p.silent, p.reasons[d.Judged.Silence], d.Judged.Clause)
	}
	switch {
	case e.Apart != "":
		p.say(p.unknownClient, f.Change.Client)
	case e.Registered == nil:
		p.say(p.noClient, f.Change.Client)
	case len(e.Registered.WebhookURIs) == 0:
		p.say(p.noPush, f.Change.Client)
	default:
		p.say(p.client, f.Change.Client, e.Registered.WebhookURIs[0])
	}
	if d.Announce != nil && !d.Announce.NotBefore.IsZero() {
		p.say(p.notBefore, d.Announce.NotBefore.Format("2006-01-02T15:04:05.000Z"))
	}
	switch {
	case e.Refusal != nil:
		p.say(p.refusal, p.choose(e.Refusal.Error(), failure.Portuguese(e.Refusal)))
	case e.Request != nil:
		p.block(p.request, e.URL+"\n\n"+string(e.Request))
		if e.Apart != "" {
			p.say("%s", p.placeholder)
		}
	}
}
