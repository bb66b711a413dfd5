package evidence

import (
	"html/template"
	texttemplate "text/template"
)

// dossierWords are the document's words, and the names of kinds and outcomes, in Portuguese and English.
var dossierWords = map[string]map[string]string{
	"pt": {
		"lang": "pt-BR", "clock": "pt", "clockProof": "Prova do relógio", "clockNote": "Tentativas devidas até 1,5 s após o evento, e 10 s e 60 s após cada falha (tolerância de 1 s).",
		"distance": "Desde o evento", "title": "Dossiê", "client": "Iniciadora (clientId)", "kindOf": "Tipo", "log": "Registro (log)", "entries": "registros", "sealed": "selado em",
		"root": "Raiz", "position": "Posição", "time": "Instante (UTC)", "event": "Evento", "outcome": "Resultado", "details": "Detalhes", "checkpoint": "Checkpoint assinado",
		"proof":  "Cada linha foi conferida com o checkpoint abaixo. Use a posição para prová-la a terceiros: arauto audit proof POSIÇÃO.",
		"change": "mudança", "decision": "nova decisão", "duplicate": "mudança repetida", "conflict": "mudança conflitante", "quarantined": "mudança em quarentena",
		"unavailable": "indisponíveis", "busy": "ocupados", "behind": "fila atrasada",
		"attempt": "tentativa iniciada", "result": "tentativa encerrada", "late-result": "fim tardio de tentativa", "cancelled": "cancelada", "resend": "reenvio manual",
		"poll": "consulta da iniciadora", "erasure": "documento apagado após o prazo de guarda", "acknowledged": "confirmação da iniciadora", "applied": "aplicada", "superseded": "substituída",
		"exhausted": "tentativas esgotadas",
	},
	"en": {
		"lang": "en", "clock": "en", "clockProof": "Clock proof", "clockNote": "Attempts are due within 1.5 s of the event, and 10 s and 60 s after each failure (tolerance 1 s).",
		"distance": "Since the event", "title": "Dossier", "client": "Initiator (clientId)", "kindOf": "Kind", "log": "Log", "entries": "entries", "sealed": "sealed at",
		"root": "Root", "position": "Position", "time": "Time (UTC)", "event": "Event", "outcome": "Outcome", "details": "Details", "checkpoint": "Signed checkpoint",
		"proof":    "Each line was verified against the checkpoint below. Use its position to prove it to a third party: arauto audit proof POSITION.",
		"decision": "new decision", "duplicate": "repeated change", "conflict": "conflicting change", "quarantined": "change put in quarantine",
		"attempt": "attempt started", "result": "attempt ended", "late-result": "late end of an attempt", "resend": "manual resend", "poll": "poll by the initiator", "erasure": "document erased after its retention time", "acknowledged": "acknowledged by the initiator",
	},
}

var dossierPage = template.Must(template.New("dossier").Parse(`<!DOCTYPE html>
<html lang="{{.Words.lang}}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{.Words.title}} {{.ID}}</title>
<style>
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem; color: #1a1a1a }
h1, h2, h3 { overflow-wrap: anywhere } h1 { font-size: 1.3rem } h2 { font-size: 1.1rem; margin-top: 1.5rem } h3 { font-size: 1rem; margin-bottom: .3rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem }
dt { color: #555 } dd { margin: 0; overflow-wrap: anywhere }
ul { margin: .3rem 0 } table.clock { width: auto } table.clock td, table.clock th { padding: .15rem .5rem }
table { border-collapse: collapse; width: 100%; margin-top: 1rem }
th, td { text-align: left; vertical-align: top; padding: .35rem .5rem; border-bottom: 1px solid #ccc; overflow-wrap: anywhere }
td dl { margin: 0; font-size: .85em } .n { text-align: right; font-variant-numeric: tabular-nums } .t { white-space: nowrap }
pre { background: #f4f4f4; padding: .75rem; white-space: pre-wrap; overflow-wrap: anywhere }
thead { display: table-header-group } tr { break-inside: avoid }
</style>
</head>
<body>
<h1>{{.Words.title}}: {{.ID}}</h1>
<dl>
<dt>{{.Words.kindOf}}</dt><dd>{{.Kind}}</dd>
<dt>{{.Words.client}}</dt><dd>{{.Clients}}</dd>
<dt>{{.Words.log}}</dt><dd>{{.Log}}, {{.Size}} {{.Words.entries}}, {{.Words.sealed}} {{.SealedAt}}</dd>
<dt>{{.Words.root}}</dt><dd>{{.Root}}</dd>
</dl>
{{with .Clock}}<h2>{{$.Words.clockProof}}</h2>
<p>{{$.Words.clockNote}}</p>
{{range .}}<section>
<h3>{{.Heading}}</h3>
<ul>
{{range .Verdicts}}<li>{{.}}</li>
{{end}}</ul>
<table class="clock">
<thead><tr><th scope="col">{{$.Words.time}}</th><th scope="col" class="n">{{$.Words.distance}}</th><th scope="col">{{$.Words.event}}</th></tr></thead>
<tbody>
{{range .Steps}}<tr>{{if .Attempt}}<th scope="rowgroup" colspan="3">{{.What}}</th>{{else}}<td class="t">{{.At}}</td><td class="n t">{{.Distance}}</td><td>{{.What}}</td>{{end}}</tr>
{{end}}</tbody>
</table>
</section>
{{end}}{{end}}<h2>{{.Words.entries}}</h2>
<table>
<thead><tr><th scope="col" class="n">{{.Words.position}}</th><th scope="col">{{.Words.time}}</th><th scope="col">{{.Words.event}}</th><th scope="col">{{.Words.outcome}}</th><th scope="col">{{.Words.details}}</th></tr></thead>
<tbody>
{{range .Events}}<tr><td class="n">{{.Seq}}</td><td class="t">{{.At}}</td><td>{{.Kind}}{{with .Number}} {{.}}{{end}}</td><td>{{.Outcome}}</td>
<td><dl>{{range .IDs}}<dt>{{.Name}}</dt><dd>{{.Value}}</dd>{{end}}{{range .Facts}}<dt>{{.Name}}</dt><dd>{{.Value}}</dd>{{end}}</dl></td></tr>
{{end}}</tbody>
</table>
<p>{{.Words.proof}}</p>
<h2>{{.Words.checkpoint}}</h2>
<pre>{{.Checkpoint}}</pre>
</body>
</html>
`))

var dossierText = texttemplate.Must(texttemplate.New("dossier").Parse(`{{.Words.title}}: {{printf "%q" .ID}}

{{.Words.kindOf}}: {{.Kind}}
{{.Words.client}}: {{printf "%q" .Clients}}
{{.Words.log}}: {{.Log}}, {{.Size}} {{.Words.entries}}, {{.Words.sealed}} {{.SealedAt}}
{{.Words.root}}: {{.Root}}
{{with .Clock}}
{{$.Words.clockProof}}. {{$.Words.clockNote}}
{{range .}}
{{.Heading}}
{{range .Verdicts}}  {{.}}
{{end}}{{range .Steps}}{{if .Attempt}}  {{.What}}{{else}}  {{if .Within}}  {{end}}{{.At}}  {{printf "%12s" .Distance}}  {{.What}}{{end}}
{{end}}{{end}}{{end}}{{range .Events}}
[{{.Seq}}] {{.At}} UTC  {{printf "%s" .Kind}}{{with .Number}} {{.}}{{end}}{{with .Outcome}}: {{.}}{{end}}
{{range .IDs}}      {{.Name}}: {{printf "%q" .Value}}
{{end}}{{range .Facts}}      {{.Name}}: {{printf "%q" .Value}}
{{end}}{{end}}
{{.Words.proof}}

{{.Words.checkpoint}}:

{{.Checkpoint}}`))
