// Package verifier has the verifier that a person opens in a browser: one file of HTML with its own code, without network. It is written
// from docs/audit-format.md, shares no code with the product, and is handed out by the console and with each release.
package verifier

import _ "embed"

// Page is the file verify.html.
//
//go:embed verify.html
var Page []byte
