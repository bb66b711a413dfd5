package bank

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
)

// acceptWithin bounds how long one change may wait for its commit; intake gives up on its own well before.
const acceptWithin = 10 * time.Second

// changesPath is where changes come in.
const changesPath = "/internal/v1/changes"

// TakesChanges tells whether a request brings changes.
func TakesChanges(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == changesPath
}

// refuse answers with an error. When a request with changes is refused by our fault before any of it was handed to
// intake, nobody will know which changes came: that is remembered.
func (in *Internal) refuse(x *api.Exchange, err error) {
	if in.cfg.Unread != nil && !x.Heard && TakesChanges(x.R) {
		switch f := faultOf(err); {
		case in.draining.Err() != nil && f.Status >= http.StatusInternalServerError:
			in.cfg.Unread("draining")
		case f.Status >= http.StatusInternalServerError:
			in.cfg.Unread("unread")
		}
	}
	refuse(x, err)
}

// postChanges takes one change, or a stream of them (contract, "Changes in").
func (in *Internal) postChanges(x *api.Exchange) error {
	media, err := mediaTypeOf(x, typeJSON, typeNDJSON)
	if err != nil {
		return err
	}
	if media == typeNDJSON {
		return in.stream(x)
	}
	body, err := bodyOf(x)
	switch {
	case err != nil:
		return err
	case len(bytes.TrimSpace(body)) == 0:
		return errNoBody
	}
	return in.accept(x, body, intake.Origin{Source: "api", Actor: x.Who.Subject})
}

// accept hands one line to intake and answers what became of it. A caller that closed its side of the connection is
// answered all the same: the change is on its way to its commit.
func (in *Internal) accept(x *api.Exchange, line []byte, from intake.Origin) error {
	from.Address = x.R.RemoteAddr
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.R.Context()), acceptWithin)
	defer cancel()
	x.Heard = true
	a, err := in.cfg.Changes.Accept(ctx, line, from)
	if err != nil {
		return err
	}
	if f := refusalOf(a, from); f != nil {
		return f
	}
	return send(x, http.StatusOK, appendAnswer(nil, a, 0, wantsPortuguese(x.R)))
}

// contradictions says in words why a change conflicts with what is stored.
var contradictions = map[string]*api.APIError{
	"content": conflict("this revision is already stored with other content", "esta revisão já está gravada com outro conteúdo"),
	"owner":   conflict("the resource belongs to another client", "o recurso pertence a outro cliente"),
	"version": conflict("the resource was created under another API version", "o recurso foi criado em outra versão da API"),
}

// errContradiction is a change that conflicts for a reason without words of its own.
var errContradiction = conflict("the change contradicts what is stored", "a mudança contradiz o que está gravado")

// refusalOf is the error in an answer, nil when the change was stored.
func refusalOf(a intake.Answer, from intake.Origin) *api.APIError {
	switch a.Verdict {
	case notice.Quarantined:
		return &api.APIError{
			Status: http.StatusUnprocessableEntity, Code: "invalid_change", Text: "the change cannot be applied; it is kept in quarantine",
			TextPT:   "a mudança não pode ser aplicada; ela fica na quarentena",
			Problems: a.Problems, Quarantine: a.QuarantineID,
		}
	case notice.Conflicting:
		return cmp.Or(contradictions[a.Why], errContradiction)
	case notice.Duplicate:
		if !from.Quarantine.IsZero() { // the revision has been taken since by the same content: nothing is left to apply
			return conflict("the same change was accepted meanwhile; dismiss the case", "a mesma mudança foi aceita nesse meio-tempo; dispense o caso")
		}
	}
	return nil
}

// appendAnswer writes what became of a stored change; line is its line of a stream, 0 for none. reason is there exactly
// when nothing is notified (contract, "One object"); nonconforming exactly when the document does not conform to its schema.
func appendAnswer(dst []byte, a intake.Answer, line int, portuguese bool) []byte {
	dst = append(dst, '{')
	if line > 0 {
		dst = append(appendLine(dst, line, http.StatusOK), ',')
	}
	dst = appendID(append(dst, `"changeId":`...), a.ChangeID)
	dst = append(append(append(dst, `,"outcome":"`...), a.Verdict...), `","notifications":[`...)
	for i, id := range a.Notifications {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendID(append(dst, `{"id":`...), id), '}')
	}
	dst = append(dst, ']')
	if len(a.Notifications) == 0 {
		dst = appendText(append(dst, `,"reason":`...), string(a.Silence))
	}
	if len(a.Nonconforming) > 0 {
		dst = appendProblems(append(dst, `,"nonconforming":`...), a.Nonconforming, portuguese)
	}
	return append(dst, '}')
}

func appendID(dst []byte, id notice.ID) []byte {
	return append(append(append(dst, '"'), id.String()...), '"')
}
