package internal_test

import (
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	entrance   = "README.md"
	portuguese = "docs/leiame.md"
	guide      = "docs/guia-compliance.md" // in Portuguese alone
)

// pages lists the Markdown pages of docs/ and the pages of packages that they lead to.
func pages(t *testing.T) []string {
	t.Helper()
	found := slices.DeleteFunc(files(t), func(name string) bool {
		return path.Ext(name) != ".md" || name == entrance || strings.Contains(name, "testdata/")
	})
	require.Contains(t, found, portuguese)
	return found
}

// links are the targets inside the repository to which a page links, in order, as paths from the root with their anchors.
func links(t *testing.T, page string) []string {
	t.Helper()
	var found []string
	for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, page), ""), -1) {
		if strings.Contains(m[1], ":") {
			continue // elsewhere
		}
		name, anchor, anchored := strings.Cut(m[1], "#")
		target := page
		if name != "" {
			target = path.Join(path.Dir(page), name)
		}
		if anchored {
			target += "#" + anchor
		}
		found = append(found, target)
	}
	return found
}

func TestEveryPageIsAtMostTwoLinksFromTheREADME(t *testing.T) {
	distance := map[string]int{entrance: 0}
	for frontier := []string{entrance}; len(frontier) > 0; frontier = frontier[1:] {
		page := frontier[0]
		for _, target := range links(t, page) {
			target, _, _ = strings.Cut(target, "#")
			if _, known := distance[target]; path.Ext(target) != ".md" || known {
				continue
			}
			distance[target] = distance[page] + 1
			frontier = append(frontier, target)
		}
	}
	for _, page := range pages(t) {
		if d, reached := distance[page]; !reached || d > 2 {
			t.Errorf("%s is %d links away from %s (0: no link leads there); link it from docs/README.md", page, d, entrance)
		}
	}
}

func TestEveryAlarmPageIsInTheListOfAllPages(t *testing.T) {
	listed := links(t, "docs/README.md")
	alarms := 0
	for _, page := range pages(t) {
		if strings.HasPrefix(page, "docs/operations/alarm-") {
			alarms++
			require.Contains(t, listed, page)
		}
	}
	require.NotZero(t, alarms)
}

func TestTheREADMEIsReadInAMinute(t *testing.T) {
	for _, page := range []string{entrance, portuguese} {
		text := read(t, page)
		require.LessOrEqual(t, strings.Count(text, "\n"), 150, page)
		for _, block := range blocks(text) {
			if strings.Contains(block, "curl") || strings.Contains(block, "source:") {
				require.LessOrEqual(t, strings.Count(block, "\n"), 10, "%s: a way to connect a core has ten lines at most:\n%s", page, block)
			}
		}
	}
}

var block = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```$")

// blocks are the texts of a page's fenced blocks.
func blocks(page string) []string {
	var found []string
	for _, m := range block.FindAllStringSubmatch(page, -1) {
		found = append(found, m[1])
	}
	return found
}

// levels are the levels of a page's headings, in order.
func levels(page string) []int {
	var found []int
	for _, m := range regexp.MustCompile(`(?m)^(#+)\s`).FindAllStringSubmatch(block.ReplaceAllString(page, ""), -1) {
		found = append(found, len(m[1]))
	}
	return found
}

func TestTheREADMEInPortugueseSaysTheSame(t *testing.T) {
	english, translation := read(t, entrance), read(t, portuguese)
	require.Equal(t, levels(english), levels(translation), "headings")

	here, there := links(t, entrance), links(t, portuguese)
	require.Contains(t, here, portuguese)
	require.Contains(t, there, entrance)
	here[slices.Index(here, portuguese)], there[slices.Index(there, entrance)] = "the other", "the other"
	require.Equal(t, here, there, "links")

	comment := regexp.MustCompile(`(?m)\s+# .*$`)
	code := blocks(english)
	for i, text := range blocks(translation) {
		require.Less(t, i, len(code))
		require.Equal(t, comment.ReplaceAllString(code[i], ""), comment.ReplaceAllString(text, ""), "block %d", i)
	}
	require.Len(t, blocks(translation), len(code))

	swapped := strings.NewReplacer(",", ".", ".", ",")
	require.Equal(t, figures(english, "## Figures"), figures(swapped.Replace(translation), "## Números"), "figures")
}

// figures are the numbers in the list below a heading.
func figures(page, heading string) []string {
	_, section, _ := strings.Cut(page, heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var found []string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "- ") {
			found = append(found, regexp.MustCompile(`\d[\d.,]*\d|\d`).FindAllString(line, -1)...)
		}
	}
	return found
}

func TestTheFiguresOfTheREADMEAreMeasuredOnes(t *testing.T) {
	measured := regexp.MustCompile(`\d[\d.,]*\d|\d`).FindAllString(read(t, "docs/benchmarks.md"), -1)
	found := figures(read(t, entrance), "## Figures")
	require.Greater(t, len(found), 10)
	for _, figure := range found {
		require.Contains(t, measured, figure, "the figure stands in README.md and not in docs/benchmarks.md")
	}
}

func TestTheBadgesAreTrue(t *testing.T) {
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read(t, "go.mod"))
	require.NotNil(t, version)
	require.Regexp(t, `(?s)^\s*Apache License\s+Version 2\.0`, read(t, "LICENSE"))
	require.FileExists(t, filepath.Join(root(t), ".ci/run"))
	for name, text := range map[string]string{"ci": "CI: .ci/run", "go": "Go: " + version[1], "licence": "licence: Apache-2.0"} {
		require.Contains(t, read(t, "docs/images/badge-"+name+".svg"), "<title>"+text+"</title>")
		require.Contains(t, strings.ToLower(read(t, entrance)), "[!["+strings.ToLower(text)+"](docs/images/badge-"+name+".svg)]")
	}
}

// consolePictures is how the names of pictures of the console begin. The browser's tests take them (ARAUTO_SCREENSHOTS=1).
// reportPicture shows a report that `arauto conformance --wait 1s --html report.html` wrote about the demo, as
// `chromium --headless --hide-scrollbars --window-size=760,860 --screenshot=conformance.png` sees it. Every other image is a drawing, and text.
const (
	consolePictures = "docs/images/console"
	reportPicture   = "docs/images/conformance.png"
)

func TestTheImagesAreTextAndReadableInTheDark(t *testing.T) {
	for _, file := range files(t) {
		if !strings.HasPrefix(file, "docs/images/") {
			continue
		}
		text := read(t, file)
		if strings.HasPrefix(file, consolePictures) || file == reportPicture {
			require.LessOrEqual(t, len(text), 150<<10, file)
			require.True(t, strings.HasPrefix(text, "\x89PNG"), file)
			continue
		}
		require.Equal(t, ".svg", path.Ext(file), file)
		require.Less(t, len(text), 8<<10, file)
		require.Contains(t, text, "<title", file)
		require.NotRegexp(t, `https?://`, strings.ReplaceAll(text, "http://www.w3.org/2000/svg", ""), "%s loads something from elsewhere", file)
		for d := xml.NewDecoder(strings.NewReader(text)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
	}
	diagram := read(t, "docs/images/flow.svg")
	require.Contains(t, diagram, "<desc")
	require.Contains(t, diagram, "prefers-color-scheme: dark")
}

// certificacao is the page of certification in Portuguese.
const certificacao = "docs/certificacao.md"

// guiaIniciadora is the guide for initiators' developers in Portuguese.
const guiaIniciadora = "docs/guia-iniciadora.md"

// marcas is the page of several brands in Portuguese.
const marcas = "docs/marcas.md"

// readers are the words by which the first paragraph of a page names its reader.
var readers = []string{"core engineer", "operator", "compliance", "auditor", "developer", "platform engineer", "contributor", "administrator", "security engineer", "data protection officer", "every reader"}

func TestEveryPageSaysForWhomItIs(t *testing.T) {
	for _, page := range pages(t) {
		first := opening(read(t, page))
		if page == portuguese || page == guide || page == certificacao || page == guiaIniciadora || page == marcas {
			require.True(t, strings.HasPrefix(first, "Para "), page)
			continue
		}
		named := slices.ContainsFunc(readers, func(reader string) bool { return strings.Contains(first, reader) })
		if !strings.HasPrefix(first, "For ") || !named {
			t.Errorf("%s begins %.80q; begin its first paragraph with `For …` and one of %v", page, first, readers)
		}
	}
}

// opening is the first line of a page's first paragraph that is no picture.
func opening(page string) string {
	for line := range strings.Lines(page) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, "[![") {
			return line
		}
	}
	return ""
}

func TestTheGlossaryDefinesEachTermInTwoLanguages(t *testing.T) {
	terms := []string{
		"anchor", "attempt", "brand", "change", "checkpoint", "claim", "dossier", "entry", "holder", "initiator", "lane", "lease", "mapping", "notification", "outcome",
		"poll", "proof", "quarantine", "rescue", "resource", "revision", "seal", "settle", "slot", "source", "spool", "witness",
	}
	_, glossary, found := strings.Cut(read(t, "docs/ARCHITECTURE.md"), "\n## Glossary\n")
	require.True(t, found)
	glossary, _, _ = strings.Cut(glossary, "\n## ")
	defined := map[string]bool{}
	for line := range strings.Lines(glossary) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 || strings.HasPrefix(line, "| term |") || strings.HasPrefix(line, "|---") {
			continue
		}
		for i, cell := range cells {
			require.NotEmpty(t, strings.TrimSpace(cell), "column %d of %s", i, line)
		}
		defined[strings.TrimSpace(cells[0])] = true
	}
	require.Equal(t, terms, slices.Sorted(maps.Keys(defined)))
}

func TestTheEntranceNamesWhatExists(t *testing.T) {
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	for _, page := range []string{entrance, portuguese, "docs/CONTRIBUTING.md"} {
		text := read(t, page)
		for _, m := range regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+)").FindAllStringSubmatch(text, -1) {
			require.True(t, targets[m[1]], "%s: there is no target %s", page, m[1])
		}
		for _, m := range regexp.MustCompile("`((?:internal|cmd|docs|certs|openapi|migrations)(?:/[A-Za-z0-9_./-]+)?)`").FindAllStringSubmatch(text, -1) {
			_, err := os.Stat(filepath.Join(root(t), m[1]))
			require.NoError(t, err, "%s names %s", page, m[1])
		}
	}
}

var (
	namedTest  = regexp.MustCompile(`\b((?:Test|Fuzz|Benchmark)\p{Lu}\w*)(…?)`)
	namedFile  = regexp.MustCompile("`([\\w/*]*_test\\.go)`")
	testOfGo   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w*)\(`)
	anyOfAName = regexp.MustCompile(`\\\*`)
)

// TestEveryTestThatAPageNamesIsThere: a page that says which test holds a promise is worth nothing when the test has another name by now. A
// name may be cut by an ellipsis, and then a test begins so.
func TestEveryTestThatAPageNamesIsThere(t *testing.T) {
	var tests, holders []string
	for _, name := range files(t) {
		if strings.HasSuffix(name, "_test.go") {
			holders = append(holders, name)
			for _, m := range testOfGo.FindAllStringSubmatch(read(t, name), -1) {
				tests = append(tests, m[1])
			}
		}
	}
	named := 0
	for _, page := range append(pages(t), entrance) {
		text := read(t, page)
		for _, m := range namedTest.FindAllStringSubmatch(text, -1) {
			named++
			there := slices.ContainsFunc(tests, func(test string) bool { return test == m[1] || m[2] != "" && strings.HasPrefix(test, m[1]) })
			if !there {
				t.Errorf("%s names %s, and there is no such test", page, m[0])
			}
		}
		for _, m := range namedFile.FindAllStringSubmatch(text, -1) {
			named++
			pattern := regexp.MustCompile(`(^|/)` + anyOfAName.ReplaceAllString(regexp.QuoteMeta(m[1]), `\w*`) + `$`)
			if !slices.ContainsFunc(holders, pattern.MatchString) {
				t.Errorf("%s names %s, and there is no such file", page, m[1])
			}
		}
	}
	require.Greater(t, named, 150)
}

// TestEachFaultFromOutsideHasItsTest: each row of the table says what holds, and a test that fails without it, or a check of make.
func TestEachFaultFromOutsideHasItsTest(t *testing.T) {
	_, section, found := strings.Cut(read(t, "docs/testing.md"), "\n## What was found from outside\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	rows := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what happened") {
			continue
		}
		rows++
		if len(cells) != 4 {
			t.Errorf("a row has %d cells: %s", len(cells), line)
			continue
		}
		if !namedTest.MatchString(cells[2]) && !namedFile.MatchString(cells[2]) && !strings.Contains(cells[2], "`make ") {
			t.Errorf("no test holds this row: %s", line)
		}
	}
	require.GreaterOrEqual(t, rows, 40)
}
