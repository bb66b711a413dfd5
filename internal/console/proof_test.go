package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/console/page"
)

// TestTheLogSaysWhatEachWitnessVouchedFor, what it did not, and how old what the quorum said is.
func TestTheLogSaysWhatEachWitnessVouchedFor(t *testing.T) {
	ago := func(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339) }
	const three = `[{"name":"auditor","size":1200,"vouchedAt":"%s"},
		{"name":"<regulator>","size":900,"vouchedAt":"%[1]s","problem":"it answered 500 & ended","problemPt":null,"problemAt":"%[1]s"},{"name":"new"}]`
	log := func(witnesses, witnessed string) answers {
		return answers{
			"GET /internal/v1/audit/verifications": `{"size":1204,"since":{"verified":1},"whole":{},"anchors":[],"sealsHere":true,"witnesses":` + witnesses + `,"witnessed":` + witnessed + `}`,
			"GET /internal/v1/audit/checkpoints":   `{"log":"arauto/x","size":1204,"root":"r","at":"2026-11-28T14:04:41Z","note":"n"}`,
		}
	}
	for name, c := range map[string]struct {
		internal answers
		pt, en   []string
		never    string
	}{
		"fresh": {
			log(fmt.Sprintf(three, ago(time.Minute)), `{"demanded":true,"size":1200,"until":"`+ago(time.Minute)+`"}`),
			[]string{
				`<span class="tag ok">o quórum atestou</span> os primeiros 1.200 de 1.204 registros, até`, `<th scope="row">auditor</th> <td><span class="tag ok">atestou</span></td> <td class="n">1.200</td>`,
				`<th scope="row">&lt;regulator&gt;</th> <td><span class="tag bad">não atestou quando esta réplica pediu</span> <span lang="en">it answered 500 &amp; ended</span>`, `<td class="n">900</td>`,
				`<th scope="row">new</th> <td><span class="tag mute">nada ainda</span></td> <td class="n">–</td><td>–</td>`,
			},
			[]string{`<span class="tag ok">the quorum vouched</span> for the first 1,200 of 1,204 entries, until`, `<span class="tag ok">vouched</span>`, `<span class="tag bad">did not vouch when this replica asked</span>`, `<span class="tag mute">nothing yet</span>`},
			"A política não exige nenhuma testemunha.",
		},
		"old": {
			log(fmt.Sprintf(three, ago(time.Hour)), `{"demanded":true,"size":1200,"until":"`+ago(31*time.Minute)+`"}`),
			[]string{`<span class="tag bad">o quórum atestou</span>`},
			[]string{`<span class="tag bad">the quorum vouched</span>`},
			"A política não exige",
		},
		"not demanded": {
			log(fmt.Sprintf(three, ago(time.Hour)), `{"demanded":false,"size":1200,"until":"`+ago(time.Hour)+`"}`),
			[]string{`<span class="tag ok">o quórum atestou</span>`, "A política não exige nenhuma testemunha."},
			[]string{"The policy demands no witness."},
			"nenhuma testemunha está configurada",
		},
		"nothing yet": {
			log(`[{"name":"new"}]`, `{"demanded":true}`), []string{`<span class="tag warn">o quórum ainda não atestou nada</span>`}, []string{`<span class="tag warn">the quorum has vouched for nothing yet</span>`}, "os primeiros",
		},
		"none": {
			log(`[]`, `{"demanded":false}`), []string{"Nenhuma testemunha está configurada"}, []string{"No witness is configured"}, "<th scope=\"col\">Testemunha</th>",
		},
	} {
		t.Run(name, func(t *testing.T) {
			pt := both(t, c.internal, "/log", "/log", nil)
			en := shown(t, c.internal, page.English, http.MethodGet, "/log", "/log", nil)
			for _, says := range c.pt {
				require.Contains(t, pt, says)
			}
			for _, says := range c.en {
				require.Contains(t, en, says)
			}
			require.NotContains(t, pt, c.never)
		})
	}
}

// TestTheNotesOfAnExportAreInTheLanguageOfTheReader: each note that a verification of a bundle makes; another text stays as it is.
func TestTheNotesOfAnExportAreInTheLanguageOfTheReader(t *testing.T) {
	for note, want := range map[string][2]string{
		"the bundle has no counts: an export can be shown to be complete when its filter names a client and the end of a period that is counted, and no single resource": {
			"O pacote não tem contagens: só se mostra que nada falta com o filtro por uma iniciadora", "The bundle has no counts: it can be shown that nothing is missing when the filter names an initiator",
		},
		"the log's counts of clients are not in the bundle":                                    {"As contagens do histórico não estão no pacote.", "The counts of the history are not in the bundle."},
		"entries before position 410 are not counted: begin the period later":                  {"Registros antes da posição 410 não estão contados: comece o período mais tarde.", "Entries before position 410 are not counted: begin the period later."},
		"the period has no end, and what is new is not counted yet: name one with to":          {"O período não tem fim, e o que é novo ainda não está contado: informe o fim.", "The period has no end, and what is new is not counted yet: name its end."},
		"entries from position 977 on are not counted yet, and the period may reach beyond it": {"Registros a partir da posição 977 ainda não estão contados, e o período pode ir além dela.", "Entries from position 977 on are not counted yet, and the period may reach beyond it."},
		"the bundle has every entry of alfa from A to B: the 3 that the filter finds, and the others in context.jsonl (positions 10 to 400)": {
			"O pacote tem todos os registros de alfa, de A até B: os 3 que o filtro encontra, e os outros em context.jsonl (posições 10 a 400).", "The bundle has every entry of alfa from A to B: the 3 that the filter finds, and the others in context.jsonl (positions 10 to 400).",
		},
		"which clients an organisation has is not proven: completeness is that of the clients named": {"Quais iniciadoras uma organização tem não fica provado: nada falta das iniciadoras citadas.", "Which initiators an organisation has is not proven: nothing is missing of those named."},
		"verifying the file needs too much memory here; run arauto audit verify":                     {"Conferir o arquivo exige memória demais aqui: rode arauto audit verify.", "Verifying the file needs too much memory here: run arauto audit verify."},
		"a note of another version": {"a note of another version", "a note of another version"},
	} {
		said, err := json.Marshal(note)
		require.NoError(t, err)
		internal := answers{"GET /internal/v1/audit/exports": `{"exports":[{"id":"e-1","state":"done","format":"bundle","filter":{"clientId":"alfa"},"size":1204,"walked":1204,"bytes":9,"entries":3,
			"requestedBy":"ana","requestedAt":"2026-11-28T14:04:41Z","complete":false,"notes":[` + string(said) + `]}]}`}
		pt := both(t, internal, "/exports", "/exports", nil)
		require.Contains(t, pt, want[0])
		require.Contains(t, shown(t, internal, page.English, http.MethodGet, "/exports", "/exports", nil), want[1])
		require.Contains(t, pt, "não se mostrou que nada falta")
		if want[0] != note {
			require.NotContains(t, pt, note)
		}
	}
}

// TestAProofThatNothingIsMissingNamesEachConditionAndWhatToDo: which condition is not met was not said, and what was not looked at
// because of it was not either.
func TestAProofThatNothingIsMissingNamesEachConditionAndWhatToDo(t *testing.T) {
	const met, notMet, unknown = "cumprida", "não cumprida", "não se sabe"
	for name, c := range map[string]struct {
		notes []string
		want  [5]string // proven, filter, counts, begin, end
		does  string
	}{
		"nothing counted": {[]string{"the log's counts of clients are not in the bundle"}, [5]string{unknown, met, notMet, unknown, unknown}, "há mais de duas horas"},
		"too early":       {[]string{"entries before position 410 are not counted: begin the period later"}, [5]string{met, met, met, notMet, met}, "com um início mais tarde"},
		"too new": {
			[]string{"entries from position 977 on are not counted yet, and the period may reach beyond it"},
			[5]string{met, met, met, met, notMet},
			"espere até duas horas depois do fim do período",
		},
		"another filter": {[]string{"the filter's member resourceId is not one whose completeness can be shown"}, [5]string{met, notMet, met, met, met}, "só com a iniciadora e o período"},
		"too large":      {[]string{"verifying the file needs too much memory here; run arauto audit verify"}, [5]string{unknown, unknown, unknown, unknown, unknown}, "baixe o arquivo e confira-o fora daqui"},
	} {
		conditions, err := json.Marshal(audit.CompletenessConditions(false, c.notes))
		require.NoError(t, err)
		notes, err := json.Marshal(c.notes)
		require.NoError(t, err)
		text := both(t, answers{"GET /internal/v1/audit/exports": `{"exports":[{"id":"e-1","state":"done","format":"bundle","filter":{"clientId":"alfa"},"size":1204,"walked":1204,"bytes":9,"entries":3,
			"requestedBy":"ana","requestedAt":"2026-11-28T14:04:41Z","complete":false,"notes":` + string(notes) + `,"conditions":` + string(conditions) + `}]}`}, "/exports", "/exports", nil)
		for i, condition := range []string{"Cada registro do pacote está no log", "Pelos registros se julga", "O pacote tem as contagens", "As contagens começam antes", "As contagens vão além"} {
			require.Contains(t, text, `">`+c.want[i]+`</span> `+condition, "%s: %s", name, condition)
		}
		require.Contains(t, text, "<strong>O que fazer:</strong>", name)
		require.Contains(t, text, c.does, name)
	}
}

// TestTheNotesOfAJudgedFileAreInTheLanguageOfTheReader: they were English on Portuguese pages, and not marked.
func TestTheNotesOfAJudgedFileAreInTheLanguageOfTheReader(t *testing.T) {
	found := `{"sha256":"s","bytes":9,"kind":"bundle","verdict":"genuine","line":"genuine 3 of 9","entries":3,"size":9,"root":"r","complete":false,"inThisLog":true,"fault":null,
		"notes":["2 entries were removed after their retention time, as the log itself records","the log's counts of clients are not in the bundle","another one"],
		"conditions":[{"condition":"counts","state":"not-met"},{"condition":"end","state":"unknown"}]}`
	k := newDesk(t, answers{"POST /internal/v1/audit/judgements": found}, page.Auditor)
	text := judged(t, k)
	for _, says := range []string{
		"como o próprio histórico registra: 2.", `<span lang="en">another one</span>`, `<span class="tag bad">não cumprida</span> O pacote tem as contagens`, "As contagens do histórico não estão no pacote.", `<span class="tag mute">não se sabe</span> As contagens vão além`,
	} {
		require.Contains(t, text, says)
	}
}

// TestAReportThatIsUploadedIsNotJudgedAndCalledAReport: it was called a dossier that was altered.
func TestAReportThatIsUploadedIsNotJudgedAndCalledAReport(t *testing.T) {
	found := `{"sha256":"s","bytes":9,"kind":"report","verdict":"unproven","line":null,"entries":0,"size":0,"root":null,"complete":null,"inThisLog":null,"fault":null,
		"notes":["not judged: this PDF is a report, which proves nothing; export its period as a bundle"],"conditions":null}`
	text := judged(t, newDesk(t, answers{"POST /internal/v1/audit/judgements": found}, page.Auditor))
	for _, says := range []string{"<dt>O que é</dt><dd>relatório em PDF, sem prova</dd>", "Este PDF é um relatório, que sozinho nada prova. Não foi julgado. Exporte o período dele no formato de pacote."} {
		require.Contains(t, text, says)
	}
	require.NotContains(t, text, "Registros sozinhos")
}

// judged uploads a file and returns the page that says what it is.
func judged(t *testing.T, k *Console) string {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	file, err := form.CreateFormFile("file", "bundle.zip")
	require.NoError(t, err)
	_, err = file.Write([]byte("PK"))
	require.NoError(t, err)
	require.NoError(t, form.Close())
	r := httptest.NewRequest(http.MethodPost, "/log/judgements", &body)
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.Header.Set("Cookie", "arauto-session=token")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	w := httptest.NewRecorder()
	k.ServeHTTP(w, r)
	return strings.Join(strings.Fields(w.Body.String()), " ")
}
