// Package manual is the console's pages of the manual for operators, which is part of the binary: what each alarm means and what to do.
package manual

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"github.com/arauto/arauto/docs/operations"
	"github.com/arauto/arauto/internal/console/page"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of these pages.
func Section() page.Section {
	return page.Section{
		Name: "manual", Group: page.System, Path: "/manual", Roles: []string{page.Operator, page.Auditor, page.Registrar}, Files: files,
		Routes: []page.PageRoute{
			{Method: http.MethodGet, Path: "/manual", Handle: list},
			{Method: http.MethodGet, Path: "/manual/{name}", Handle: show},
		},
	}
}

// ending is that of the manual's files; the console's addresses have none.
const ending = ".md"

// pageLink is one page in the list.
type pageLink struct{ Path, Title string }

type manualView struct{ Alarms, Others []pageLink }

func list(v *page.Visit) error {
	names, err := fs.Glob(operations.Pages, "*"+ending)
	if err != nil {
		return err
	}
	slices.Sort(names)
	var view manualView
	for _, name := range names {
		content, err := fs.ReadFile(operations.Pages, name)
		if err != nil {
			return err
		}
		l := pageLink{page.Path("/manual/%s", strings.TrimSuffix(name, ending)), titleOf(content)}
		if strings.HasPrefix(name, "alarm-") {
			view.Alarms = append(view.Alarms, l)
		} else {
			view.Others = append(view.Others, l)
		}
	}
	return v.Show("list", page.View{Title: v.Text("title"), Data: view})
}

// titleOf is the first heading.
func titleOf(content []byte) string {
	first, _, _ := bytes.Cut(content, []byte("\n"))
	return strings.TrimSpace(strings.TrimLeft(string(first), "#"))
}

func show(v *page.Visit) error {
	name := v.Param("name")
	content, err := fs.ReadFile(operations.Pages, path.Base(name)+ending)
	if err != nil || path.Base(name) != name {
		return &page.APIRefusal{Status: http.StatusNotFound, Code: "not_found"}
	}
	var out bytes.Buffer
	if err := markdown.Convert(content, &out); err != nil {
		return fmt.Errorf("write the manual's page %s: %w", name, err)
	}
	return v.Show("page", page.View{
		Title: titleOf(content), Crumb: &page.Link{Path: "/manual", Text: v.Text("title")}, Data: template.HTML(out.String()), //nolint:gosec // our own pages; HTML inside them is not passed on
	})
}

// markdown writes a page as HTML. HTML inside a page and styles are left out: the console's policy forbids them.
var markdown = goldmark.New(
	goldmark.WithExtensions(extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignNone))),
	goldmark.WithParserOptions(parser.WithAutoHeadingID(), parser.WithASTTransformers(util.Prioritized(ownLinks{}, 100))),
)

// ownLinks leads links between pages of the manual to the console's addresses. A link to what the binary does not have becomes its text:
// the console works without a network.
type ownLinks struct{}

// Transform implements parser.ASTTransformer.
func (ownLinks) Transform(document *ast.Document, _ text.Reader, _ parser.Context) {
	var links []*ast.Link
	_ = ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the function has no error
		if l, is := n.(*ast.Link); is && entering {
			links = append(links, l)
		}
		return ast.WalkContinue, nil
	})
	for _, l := range links {
		if there, own := address(string(l.Destination)); own {
			l.Destination = []byte(there)
			continue
		}
		for in := l.FirstChild(); in != nil; in = l.FirstChild() {
			l.Parent().InsertBefore(l.Parent(), l, in)
		}
		l.Parent().RemoveChild(l.Parent(), l)
	}
}

// address is where a link of the manual leads in the console; false: to what is not in the binary.
func address(link string) (string, bool) {
	file, part, _ := strings.Cut(link, "#")
	if part != "" {
		part = "#" + part
	}
	if file == "" {
		return part, true
	}
	name, is := strings.CutSuffix(file, ending)
	if _, err := fs.Stat(operations.Pages, file); err != nil || !is {
		return "", false
	}
	return "/manual/" + name + part, true
}
