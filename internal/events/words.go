package events

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/ofb"
)

// Words puts events into words.
type Words struct {
	Lang    string // pt or en
	Console string // base URL of the console; "": there is none, and no link to it
	Docs    string // base URL of the pages for operators
}

// StandardDocs is where the pages for operators are published.
const StandardDocs = "https://github.com/arauto/arauto/blob/main/docs/operations/"

// OperatorMessage is what operators are told. Its JSON is the body that the plain webhook posts.
type OperatorMessage struct {
	Event    string     `json:"event"` // kind
	Key      string     `json:"key"`   // the same in the messages of beginning and end
	State    string     `json:"state"` // open or over
	Subject  string     `json:"subject"`
	Detail   string     `json:"detail"`
	Title    string     `json:"title"`
	Text     string     `json:"text"` // title, facts and links, for people
	Count    int64      `json:"count"`
	OpenedAt time.Time  `json:"openedAt"`
	LastAt   time.Time  `json:"lastAt"`
	OverAt   *time.Time `json:"overAt"`
	Runbook  string     `json:"runbook"`
	Console  string     `json:"console,omitempty"`
}

// kindWords is what is said of a kind; about takes the subject.
type kindWords struct {
	about, page, console string
	subject              string // name of the subject as a parameter of the console's page
}

var kinds = map[string]map[history.EventKind]kindWords{
	"pt": {
		history.EventGivenUp:      {about: "Desistência de notificações para %s: as três tentativas falharam"},
		history.EventCertificate:  {about: "Certificado vencido ou perto do vencimento: %s"},
		history.EventSource:       {about: "Fonte parada: %s"},
		history.EventLogNotSealed: {about: "O log não está sendo selado"},
		history.EventSignerAway:   {about: "O assinador da chave %s não assina"},
		history.EventTampering:    {about: "Adulteração encontrada no histórico"},
	},
	"en": {
		history.EventGivenUp:      {about: "Notifications to %s given up: the three attempts failed"},
		history.EventCertificate:  {about: "Certificate expired or about to: %s"},
		history.EventSource:       {about: "Source stopped: %s"},
		history.EventLogNotSealed: {about: "The log is not sealed"},
		history.EventSignerAway:   {about: "The signer of the key %s does not sign"},
		history.EventTampering:    {about: "Tampering found in the history"},
	},
}

// places are the runbook and the console's page of a kind.
var places = map[history.EventKind]kindWords{
	history.EventGivenUp:      {page: "alarm-notifications-exhausted.md", console: "/notifications?state=exhausted", subject: "clientId"},
	history.EventCertificate:  {page: "alarm-certificate-expiring.md", console: "/certificates"},
	history.EventSource:       {page: "alarm-source-stopped.md", console: "/sources"},
	history.EventLogNotSealed: {page: "alarm-log-not-sealed.md", console: "/log"},
	history.EventSignerAway:   {page: "alarm-signer.md", console: "/"},
	history.EventTampering:    {page: "alarm-tampering.md", console: "/log"},
}

var wordsOf = map[string]map[string]string{
	"pt": {"over": "Encerrado: ", "since": "Desde", "until": "Até", "last": "Última ocorrência", "count": "Ocorrências", "runbook": "O que fazer", "console": "Console", "others": "outras iniciadoras"},
	"en": {"over": "Over: ", "since": "Since", "until": "Until", "last": "Last seen", "count": "Times", "runbook": "What to do", "console": "Console", "others": "further initiators"},
}

// Message is what is told of an event now.
func (w Words) Message(e *history.OperatorEvent) *OperatorMessage {
	words, place := wordsOf[w.lang()], places[e.Kind]
	title := kinds[w.lang()][e.Kind].about
	if title == "" { // of a newer version
		title = string(e.Kind) + ": %s"
	}
	if strings.Contains(title, "%s") {
		subject := plain(e.Subject)
		if e.Subject == history.EventOthers {
			subject = words["others"]
		}
		title = fmt.Sprintf(title, subject)
	}
	m := &OperatorMessage{
		Event: string(e.Kind), Key: e.Key, State: "open", Subject: plain(e.Subject), Detail: plain(e.Detail), Title: title, Count: e.Count,
		OpenedAt: e.OpenedAt.UTC(), LastAt: e.LastAt.UTC(), Runbook: w.Docs + place.page,
	}
	if w.Console != "" {
		m.Console = strings.TrimRight(w.Console, "/") + place.console
		if place.subject != "" && e.Subject != history.EventOthers {
			m.Console += "&" + place.subject + "=" + url.QueryEscape(e.Subject)
		}
	}
	lines := []string{}
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, name+": "+value)
		}
	}
	if !e.OverAt.IsZero() {
		over := e.OverAt.UTC()
		m.State, m.OverAt, m.Title = "over", &over, words["over"]+m.Title
	}
	if m.Detail != "" {
		lines = append(lines, m.Detail)
	}
	add(words["since"], both(e.OpenedAt))
	if m.OverAt != nil {
		add(words["last"], both(e.LastAt))
		add(words["until"], both(e.OverAt))
	}
	add(words["count"], fmt.Sprint(e.Count))
	add(words["runbook"], m.Runbook)
	add(words["console"], m.Console)
	m.Text = m.Title + "\n" + strings.Join(lines, "\n")
	return m
}

func (w Words) lang() string {
	if w.Lang == "en" {
		return "en"
	}
	return "pt"
}

func both(at time.Time) string {
	return at.In(ofb.Brasilia).Format("02/01/2006 15:04:05") + " Brasília (" + at.UTC().Format(time.RFC3339) + ")"
}

// plain is a text of others that no channel takes for markup or for a line of its own.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '<' || r == '>' || r == '&' || r == '*' || r == '`':
			return '·'
		case r < ' ' || r == 0x7f:
			return ' '
		}
		return r
	}, s)
}
