package console

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/console/page"
)

// TestWhatIsNoSettingHasNoDefault: a file that was not in force at the start before was called "(default)".
func TestWhatIsNoSettingHasNoDefault(t *testing.T) {
	internal := answers{"GET /internal/v1/settings": `{"schema":1,"schemaWants":1,"starts":[{"startedAt":"2026-11-28T14:04:41Z","replica":"r1","version":"1","profile":"production",
		"differs":[{"key":"webhook.root_ca: /new.pem","before":null,"after":"bb"},{"key":"webhook.root_ca: /old.pem","before":"aa","after":null},{"key":"dispatch.slots","before":null,"after":"7"}]}]}`}
	for lang, says := range map[page.Lang][]string{
		page.Portuguese: {"/new.pem</b>: (não em vigor) → bb", "/old.pem</b>: aa → (não em vigor)", "dispatch.slots</b>: (padrão) → 7"},
		page.English:    {"/new.pem</b>: (not in force) → bb", "/old.pem</b>: aa → (not in force)", "dispatch.slots</b>: (default) → 7"},
	} {
		text := shown(t, internal, lang, http.MethodGet, "/settings", "/settings", nil)
		for _, says := range says {
			require.Contains(t, text, says)
		}
	}
}
