// Package templates carries the files that "angz new" and "angz generate" write,
// so that angz is one file wherever it is used. How they are named stands in
// scaffold/DESIGN.md.
package templates

import "embed"

// Files holds a folder for each language and the folder common.
//
//go:embed all:*
var Files embed.FS
