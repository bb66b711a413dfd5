package watch

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/arauto/arauto/internal/notice"
)

// registering is what makes a registration of a row of the authorization server's table of clients.
type registering struct {
	client, organisation, software, name, uris, statement *expression

	brand   *expression // nil: the only brand
	gone    *expression // true: the client is no initiator any more
	checked bool
}

var registrationKeys = []string{
	"kind", "when", "joins", "gone", "brand", "client", "organisationId", "softwareId", "name", "webhookUris", "statement", "statements",
}

// checkedThere says that the server verified a statement it did not keep.
const checkedThere = "checked-by-authorization-server"

func (p *parser) registration(r *rule, s section) {
	read := func(name, cure string, want kindOf) *expression {
		n := s.fields[name]
		if cure != "" {
			n = p.required(s, name, cure)
		}
		return p.expression(n, join(s.key, name), "/"+name, want)
	}
	g := &registering{
		brand:        read("brand", "", text),
		client:       read("client", "write the expression that gives the client id", text),
		organisation: read("organisationId", "write the expression that gives the organisation's id in the Directory", text),
		software:     read("softwareId", "write the expression that gives the software's id in the Directory", text),
		name:         read("name", "", text),
		uris:         read("webhookUris", "write the expression that gives the registered addresses: a list, one text, or null", anything),
		statement:    read("statement", "", text),
		gone:         p.expression(s.fields["gone"], join(s.key, "gone"), "", truth),
	}
	if n := s.fields["statements"]; n != nil {
		if g.checked = n.Kind == yaml.ScalarNode && n.Value == checkedThere; !g.checked {
			p.add(n, join(s.key, "statements"), "is not "+checkedThere,
				"write that when the authorization server verified each software statement and did not keep it; else leave it out")
		}
	}
	r.registration = g
}

func (g *registering) expressions() []*expression {
	return []*expression{g.brand, g.client, g.organisation, g.software, g.name, g.uris, g.statement, g.gone}
}

// make computes the registration. Failures are told to the computer.
func (g *registering) make(c *computer) *Registration {
	out := &Registration{Checked: g.checked}
	out.Client = notice.ClientID(c.text(g.client))
	if g.brand != nil {
		out.Brand = c.text(g.brand)
	}
	out.OrganisationID, out.SoftwareID = c.text(g.organisation), c.text(g.software)
	if g.name != nil {
		v, _ := c.value(g.name)
		out.Name, _ = v.(string)
	}
	if g.statement != nil {
		v, _ := c.value(g.statement)
		out.Statement, _ = v.(string)
	}
	v, ok := c.value(g.uris)
	if !ok {
		return out
	}
	switch v := v.(type) {
	case nil:
	case string:
		if strings.TrimSpace(v) != "" {
			out.WebhookURIs = []string{v}
		}
	case []any:
		uris, err := texts(v)
		if err != nil {
			c.failed(g.uris, errURIs)
		}
		out.WebhookURIs = uris
	default:
		c.failed(g.uris, errURIs)
	}
	return out
}

const errURIs = badValue("the addresses must be a list of texts, one text, or null")

// text computes a text that must be there.
func (c *computer) text(e *expression) string {
	v, ok := c.value(e)
	if !ok {
		return ""
	}
	s, ok := v.(string)
	if !ok || s == "" {
		c.failed(e, errNothing)
	}
	return s
}

const errNothing = badValue("it gives nothing")
