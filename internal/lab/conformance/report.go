package conformance

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/arauto/arauto/internal/timing"
)

// Report is the result of a run, for people and for programs.
type Report struct {
	Product string        `json:"product"` // version of this program
	Holder  string        `json:"holder"`  // address of the status endpoints
	At      time.Time     `json:"at"`
	Wait    time.Duration `json:"webhookWaitTimeNanos"`
	Results []Result      `json:"modules"`
}

// Counts are the numbers of modules by their result.
type Counts struct{ Passed, Failed, Skipped, Interrupted int }

// Counts counts the modules that passed, failed, are of another version of the API, and were not played to their end.
func (r *Report) Counts() (c Counts) {
	for _, one := range r.Results {
		switch {
		case one.Interrupted:
			c.Interrupted++
		case !one.Played:
			c.Skipped++
		case one.Passed:
			c.Passed++
		default:
			c.Failed++
		}
	}
	return c
}

// WriteJSON writes the report as one JSON document.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

//go:embed report.html
var page string

// words are the texts of the page, in Portuguese and English.
var words = map[string]map[string]string{
	"pt": {
		"lang": "pt-BR", "title": "Módulos de webhook da suíte de certificação", "would": "passariam", "fail": "falhariam", "skip": "não executados", "cut": "interrompidos",
		"module": "módulo", "step": "passo", "result": "resultado", "expected": "esperado", "came": "veio", "passed": "passou", "failed": "FALHOU", "not-run": "não executado",
		"other": "a detentora atende outra versão da API", "ended": "a execução foi interrompida antes do fim deste módulo", "certificate": "certificado apresentado", "took": "duração",
		"note": "Este relatório não é certificação. Os passos seguem descrições públicas da suíte; o Arauto ocupou o lugar do core e do servidor de autorização. Não foram testados: DCR do banco, consentimento do usuário, POST e PATCH de recursos.",
	},
	"en": {
		"lang": "en", "title": "Webhook modules of the certification suite", "would": "would pass", "fail": "would fail", "skip": "not played", "cut": "interrupted",
		"module": "module", "step": "step", "result": "result", "expected": "expected", "came": "came", "passed": "passed", "failed": "FAILED", "not-run": "not run",
		"other": "the holder serves another version of the API", "ended": "the run was interrupted before the end of this module", "certificate": "certificate shown", "took": "took",
		"note": "This report is no certification. The steps follow public descriptions of the suite; Arauto stood in the place of the core and of the authorization server. Not tested: the bank's DCR, the user's consent, POST and PATCH of resources.",
	},
}

// WriteHTML writes the report as one page without scripts, in Portuguese ("pt") or English ("en").
func (r *Report) WriteHTML(w io.Writer, language string) error {
	text := words[language]
	if text == nil {
		return fmt.Errorf("there is no report in %.20q; use pt or en", language)
	}
	t, err := template.New("report").Funcs(template.FuncMap{
		"t": func(name string) string { return text[name] },
		"step": func(s StepResult) string {
			if language == "pt" {
				return s.Texto
			}
			return s.Text
		},
		"seconds": func(d time.Duration) string { return timing.Decimal(fmt.Sprintf("%.2f s", d.Seconds()), language) },
		"minute":  func(at time.Time) string { return at.UTC().Format("2006-01-02 15:04 UTC") },
	}).Parse(page)
	if err != nil {
		return fmt.Errorf("read the page of the report: %w", err)
	}
	return t.Execute(w, struct {
		*Report
		Count Counts
	}{r, r.Counts()})
}
