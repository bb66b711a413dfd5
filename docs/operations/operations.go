// Package operations embeds the manual for operators, the Markdown pages of this directory, so that the console shows it without a
// network.
package operations

import "embed"

// Pages are the manual's pages, by file name, such as alarm-queue-age.md.
//
//go:embed *.md
var Pages embed.FS
