// Package openapicheck holds answers that our own listeners really gave against our own OpenAPI documents, for tests: a status, media
// type or member that a document does not name is as much a fault as one that is not what it says.
//
// It does not judge requests, and it leaves out answers 500, which report a defect and are documented nowhere.
package openapicheck

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/arauto/arauto/openapi"
)

// Document is one of our documents, closed: its objects take no member that they do not name.
type Document struct{ router routers.Router }

// opened are the documents that this process has read, by their names.
var opened sync.Map

// Open reads a document by the name of its file, once. The error says that the file is not there or is no OpenAPI document. A document may
// be used from any goroutine.
func Open(name string) (*Document, error) {
	once, _ := opened.LoadOrStore(name, sync.OnceValues(func() (*Document, error) { return read(name) }))
	return once.(func() (*Document, error))()
}

func read(name string) (*Document, error) {
	text, err := fs.ReadFile(openapi.Documents(), name)
	if err != nil {
		return nil, err
	}
	loader := openapi3.NewLoader()
	document, err := loader.LoadFromData(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := document.Validate(loader.Context); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	document.Servers = nil // answers of any address
	closing := closer{extended: map[*openapi3.Schema]bool{}, seen: map[*openapi3.Schema]bool{}}
	for _, item := range document.Paths.Map() {
		for _, o := range item.Operations() {
			for _, response := range o.Responses.Map() {
				for _, media := range response.Value.Content {
					closing.find(media.Schema)
				}
			}
		}
	}
	clear(closing.seen)
	for _, item := range document.Paths.Map() {
		for _, o := range item.Operations() {
			for _, response := range o.Responses.Map() {
				for _, media := range response.Value.Content {
					closing.close(media.Schema)
				}
			}
		}
	}
	router, err := gorillamux.NewRouter(document)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &Document{router}, nil
}

// closer closes the objects of schemas. One that others extend by allOf stays open, since its extension has members of its own.
type closer struct{ extended, seen map[*openapi3.Schema]bool }

// find notes what is extended.
func (c closer) find(ref *openapi3.SchemaRef) {
	c.walk(ref, func(s *openapi3.Schema) {
		if len(s.AllOf) > 1 || len(s.AllOf) == 1 && len(s.Properties) > 0 {
			for _, part := range s.AllOf {
				c.extended[part.Value] = true
			}
		}
	})
}

func (c closer) close(ref *openapi3.SchemaRef) {
	c.walk(ref, func(s *openapi3.Schema) {
		if len(s.Properties) > 0 && len(s.AllOf)+len(s.OneOf)+len(s.AnyOf) == 0 && !c.extended[s] && s.AdditionalProperties.Has == nil && s.AdditionalProperties.Schema == nil {
			closed := false
			s.AdditionalProperties.Has = &closed
		}
	})
}

// walk visits a schema and all below it once.
func (c closer) walk(ref *openapi3.SchemaRef, visit func(*openapi3.Schema)) {
	if ref == nil || ref.Value == nil || c.seen[ref.Value] {
		return
	}
	s := ref.Value
	c.seen[s] = true
	for _, p := range s.Properties {
		c.walk(p, visit)
	}
	for _, list := range []openapi3.SchemaRefs{s.AllOf, s.OneOf, s.AnyOf} {
		for _, p := range list {
			c.walk(p, visit)
		}
	}
	c.walk(s.Items, visit)
	c.walk(s.AdditionalProperties.Schema, visit)
	visit(s)
}

// Check returns what is wrong with an answer; nil when it is what the document says, and for requests that no operation of the
// document describes.
func (d *Document) Check(r *http.Request, status int, header http.Header, body []byte) error {
	if r.Method == http.MethodHead || status == http.StatusInternalServerError {
		return nil
	}
	route, _, err := d.router.FindRoute(r)
	if err != nil {
		return nil //nolint:nilerr // a path or method that the document does not know is answered 404 or 405
	}
	response := route.Operation.Responses.Status(status)
	if response == nil {
		return fmt.Errorf("status %d is not documented", status)
	}
	if len(body) == 0 {
		return nil
	}
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("Content-Type %q: %w", header.Get("Content-Type"), err)
	}
	media := response.Value.Content.Get(kind)
	if media == nil {
		return fmt.Errorf("media type %s of status %d is not documented", kind, status)
	}
	if media.Schema == nil {
		return nil
	}
	switch kind {
	case "application/json":
	case "application/jwt": // the schema is that of the claims
		parts := strings.Split(string(body), ".")
		if len(parts) != 3 {
			return errors.New("not a compact JWS")
		}
		if body, err = base64.RawURLEncoding.DecodeString(parts[1]); err != nil {
			return err
		}
	default:
		return nil
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return err
	}
	if err := media.Schema.Value.VisitJSON(value, openapi3.MultiErrors(), openapi3.VisitAsResponse()); err != nil {
		return errors.New(summary(err))
	}
	return nil
}

// summary is one line for each fault, without the schemas that the library prints.
func summary(err error) string {
	var many openapi3.MultiError
	if errors.As(err, &many) {
		text := ""
		for _, one := range many {
			text += summary(one) + "\n"
		}
		return text
	}
	var one *openapi3.SchemaError
	if errors.As(err, &one) {
		return fmt.Sprintf("/%v: %s", one.JSONPointer(), one.Reason)
	}
	return err.Error()
}
