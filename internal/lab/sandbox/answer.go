package sandbox

import (
	"encoding/json"
	"errors"
	"maps"
	"mime"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// interactionHeader names a call in both parties' logs.
const interactionHeader = "x-fapi-interaction-id"

// interactionOf is the interaction id of the answer: that of the call, or a new one and what is wrong with the call's (status-apis §1.3).
func interactionOf(r *http.Request) (string, error) {
	sent := r.Header.Values(interactionHeader)
	if len(sent) == 0 || len(sent) == 1 && sent[0] == "" {
		return uuid.NewString(), refused(http.StatusBadRequest, "PARAMETRO_NAO_INFORMADO", "the header %s is missing", interactionHeader)
	}
	if _, err := notice.ParseID(sent[0]); err != nil || len(sent) > 1 {
		return uuid.NewString(), refused(http.StatusBadRequest, "PARAMETRO_INVALIDO", "the header %s must be one UUID", interactionHeader)
	}
	return sent[0], nil
}

// mediaOf is the type of a body, without parameters.
func mediaOf(r *http.Request) string {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return media
}

// reply answers one call in its own form: signed where its body was.
type reply struct {
	holder *holderAPI
	w      http.ResponseWriter
	r      *http.Request
	client *client // nil until it is known
}

// newReply begins an answer.
func newReply(h *holderAPI, w http.ResponseWriter, r *http.Request) *reply {
	interaction, _ := interactionOf(r) // judged by admit
	w.Header().Set(interactionHeader, interaction)
	return &reply{holder: h, w: w, r: r}
}

// elsewhere answers a call that the listener of creations does not have.
func (h *holderAPI) elsewhere(w http.ResponseWriter, r *http.Request, status int, code string) {
	newReply(h, w, r).refuse(refused(status, code, "tokens and POSTs that create are here; the status endpoints and the extension are at %s", h.public))
}

// created answers a creation. What is signed is signed anew each time, as no jti may come twice.
func (a *reply) created(kind ofb.Kind, answer map[string]any) {
	a.w.Header().Set("x-v", ofb.Versions(nil).Full(kind.API(), a.r.PathValue("version")))
	a.write(http.StatusCreated, answer, true)
	_ = http.NewResponseController(a.w).Flush() // it fails only where the caller has gone
}

// refuse answers with an error of the APIs. Of those only 422 is signed.
func (a *reply) refuse(err error) {
	var p *problem
	if !errors.As(err, &p) {
		p = refused(http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", "%v", err)
	}
	a.write(p.status, map[string]any{
		"errors": []map[string]string{{"code": p.code, "title": p.title, "detail": p.detail}},
		"meta":   map[string]string{"requestDateTime": time.Now().UTC().Format(time.RFC3339)},
	}, p.status == http.StatusUnprocessableEntity)
}

// write writes an answer, signed where it may be and the request was.
func (a *reply) write(status int, answer map[string]any, mayBeSigned bool) {
	if !mayBeSigned || a.client == nil || mediaOf(a.r) != "application/jwt" {
		answerJSON(a.w, status, answer)
		return
	}
	claims := maps.Clone(answer)
	claims["iss"], claims["aud"] = a.holder.stage.PKI.Options().Holder.ID, a.client.Registration.OrganisationID
	claims["iat"], claims["jti"] = time.Now().Unix(), uuid.NewString()
	compact, err := a.holder.seal(claims)
	if err != nil {
		a.refuse(err)
		return
	}
	a.w.Header().Set("Content-Type", "application/jwt")
	a.w.WriteHeader(status)
	_, _ = a.w.Write([]byte(compact)) // the caller has gone
}

func answerJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller has gone
}
