// Package protofiles carries the .proto files of the wire contract, so that
// angz can hand them to the projects that are written against it.
package protofiles

import "embed"

// Files holds angzarr/*.proto under the names by which they are imported.
//
//go:embed angzarr/*.proto
var Files embed.FS
