package manual

import (
	"bytes"
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/docs/operations"
)

func TestEveryPageOfTheManualBecomesHTMLThatThePolicyAllowsAndWhoseLinksStayInTheBinary(t *testing.T) {
	names, err := fs.Glob(operations.Pages, "*.md")
	require.NoError(t, err)
	require.Greater(t, len(names), 20)
	link := regexp.MustCompile(`href="([^"]*)"`)
	for _, name := range names {
		content, err := fs.ReadFile(operations.Pages, name)
		require.NoError(t, err)
		require.NotEmpty(t, titleOf(content), name)
		var out bytes.Buffer
		require.NoError(t, markdown.Convert(content, &out), name)
		html := out.String()
		require.Contains(t, html, "<h1", name)
		for _, forbidden := range []string{"style=", "<script", "onclick", "<img", "raw HTML omitted"} {
			require.NotContains(t, html, forbidden, name)
		}
		for _, found := range link.FindAllStringSubmatch(html, -1) {
			there, part, _ := strings.Cut(found[1], "#")
			if there == "" {
				require.Contains(t, html, `id="`+part+`"`, "%s links to its own part", name)
				continue
			}
			require.True(t, strings.HasPrefix(there, "/manual/"), "%s: %s", name, found[1])
			require.FileExists(t, "../../../docs/operations/"+strings.TrimPrefix(there, "/manual/")+".md")
		}
	}
}

func TestALinkToWhatTheBinaryDoesNotHaveBecomesItsText(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, markdown.Convert([]byte("see [the *rules*](deploy/arauto.rules.yaml), [that alarm](alarm-queue-age.md#x) and [there](https://example.com)\n"), &out))
	require.Equal(t, `<p>see the <em>rules</em>, <a href="/manual/alarm-queue-age#x">that alarm</a> and there</p>`+"\n", out.String())
}
