package gateway

import (
	"net/http"
	"strings"

	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"

	"github.com/arauto/arauto/openapi"
)

// docsPath is where the internal listener shows our API documents. They are no secret, so no token is asked for.
const docsPath = "/internal/docs/"

// withDocs puts the documents' page beside the internal API: Swagger UI and the documents themselves, all from files in
// the binary; nothing is fetched from elsewhere and no validator outside is asked.
func withDocs(handler http.Handler) http.Handler {
	page := v5emb.NewWithConfig(swgui.Config{
		ShowTopBar: true,
		SettingsUI: map[string]string{
			"validatorUrl": "null",
			"urls": `[{url:"` + docsPath + `internal.yaml",name:"internal API"},` +
				`{url:"` + docsPath + `payments-v5.yaml",name:"payments v5"},{url:"` + docsPath + `payments-v4.yaml",name:"payments v4"},` +
				`{url:"` + docsPath + `automatic-payments-v2.yaml",name:"automatic payments v2"},` +
				`{url:"` + docsPath + `enrollments-v2.yaml",name:"enrollments v2"},{url:"` + docsPath + `extension-v1.yaml",name:"extension v1"},{url:"` + docsPath + `webhook-v1.yaml",name:"webhook (sent)"}]`,
		},
	})("Arauto", docsPath+"internal.yaml", docsPath)
	files := http.StripPrefix(docsPath, http.FileServerFS(openapi.Documents()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, docsPath) {
			handler.ServeHTTP(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy",
			"default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; frame-ancestors 'none'")
		if strings.HasSuffix(r.URL.Path, ".yaml") {
			h.Set("Content-Type", "application/yaml; charset=utf-8")
			files.ServeHTTP(w, r)
			return
		}
		page.ServeHTTP(w, r)
	})
}
