// Package migrations holds the schema of the database as plain SQL, numbered and never edited once released, and embeds
// it into the binary. Package store applies it; nothing else knows SQL.
package migrations

import "embed"

// Files are the migrations, in the form goose reads.
//
//go:embed *.sql
var Files embed.FS
