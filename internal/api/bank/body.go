package bank

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/intake"
)

const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
)

var errNoBody = invalid("", "invalid_json", "the request has no body; send a JSON object", "a requisição não tem corpo; envie um objeto JSON")

// mediaTypeOf checks that the body is of one of these types, in UTF-8 and not encoded any further, and says which.
func mediaTypeOf(x *api.Exchange, types ...string) (string, error) {
	if x.R.ContentLength == 0 && x.R.Header.Get("Content-Type") == "" {
		return "", &api.APIError{
			Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type",
			Text: "the request has no body and no Content-Type; send a body of " + strings.Join(types, " or "),
		}
	}
	found, params, err := mime.ParseMediaType(x.R.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	encoding := x.R.Header.Get("Content-Encoding")
	if err != nil || !slices.Contains(types, found) || (charset != "" && charset != "utf-8") ||
		(encoding != "" && !strings.EqualFold(encoding, "identity")) {
		return "", &api.APIError{
			Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type",
			Text: "the body must be " + strings.Join(types, " or ") + ", in UTF-8, without Content-Encoding",
		}
	}
	return found, nil
}

// bodyOf reads the whole body, at most intake.MaxLine bytes.
func bodyOf(x *api.Exchange) ([]byte, error) {
	if x.R.ContentLength > intake.MaxLine {
		return nil, errTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.W, x.R.Body, intake.MaxLine))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, errTooLarge
	case err != nil:
		return nil, invalid("", "incomplete", "the body did not arrive in full", "o corpo não chegou completo")
	}
	x.Read, x.Body = true, body
	return body, nil
}

// decode reads a small JSON body strictly into a struct: no unknown or repeated member, no null, nothing after it.
func decode[T any](x *api.Exchange) (T, error) {
	var out T
	if _, err := mediaTypeOf(x, typeJSON); err != nil {
		return out, err
	}
	body, err := bodyOf(x)
	if err != nil {
		return out, err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return out, errNoBody
	}
	if err := noNulls(body); err != nil {
		return out, err
	}
	if err := json.Unmarshal(body, &out, json.RejectUnknownMembers(true)); err != nil {
		return out, unreadable(err)
	}
	return out, nil
}

// noNulls refuses null: in these bodies a member is given or left out. It also settles whether the body is JSON at all.
func noNulls(body []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	for {
		token, err := d.ReadToken()
		switch {
		case errors.Is(err, io.EOF) && d.InputOffset() > 0:
			return nil
		case err != nil:
			return unreadable(err)
		case token.Kind() == 'n':
			return invalid(bounded(d.StackPointer()), "type", "null is not taken; leave the member out", "null não é aceito; omita o membro")
		}
	}
}

// unreadable says what is wrong with a body without repeating its values.
func unreadable(err error) *api.APIError {
	var syntax *jsontext.SyntacticError
	var meaning *json.SemanticError
	switch {
	case errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName):
		return invalid(bounded(syntax.JSONPointer), "duplicate_member", "this member stands twice in its object",
			"este membro aparece duas vezes no objeto")
	case errors.As(err, &syntax):
		return invalid(bounded(syntax.JSONPointer), "invalid_json", "not valid JSON in UTF-8, near byte "+strconv.FormatInt(syntax.ByteOffset, 10),
			"JSON inválido em UTF-8, perto do byte "+strconv.FormatInt(syntax.ByteOffset, 10))
	case errors.As(err, &meaning) && errors.Is(err, json.ErrUnknownName):
		return invalid(bounded(meaning.JSONPointer), "unknown_member", "this member is not known here", "este membro não é conhecido aqui")
	case errors.As(err, &meaning):
		return invalid(bounded(meaning.JSONPointer), "type", "this value has the wrong type", "este valor tem o tipo errado")
	}
	return invalid("", "invalid_json", "not valid JSON", "JSON inválido")
}

// bounded keeps a pointer, which is made of what was received, short.
func bounded(p jsontext.Pointer) string {
	if len(p) > 256 {
		return strings.ToValidUTF8(string(p[:256]), "")
	}
	return string(p)
}

// answer sends a value as JSON.
func answer(x *api.Exchange, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return send(x, status, body)
}

func send(x *api.Exchange, status int, body []byte) error {
	return sendAs(x, status, typeJSON, body)
}

func sendAs(x *api.Exchange, status int, media string, body []byte) error {
	h := x.W.Header()
	h.Set("Content-Type", media)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.W.WriteHeader(status)
	_, _ = x.W.Write(body) // a caller who is gone is no concern of ours
	return nil
}
