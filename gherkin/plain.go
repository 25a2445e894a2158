package gherkin

import (
	"bytes"
	"io"
	"regexp"
)

// plain takes out of a report where in angz a sentence is implemented, which says
// nothing to its reader.
type plain struct {
	to   io.Writer
	line []byte // that has not ended yet
}

var implementation = regexp.MustCompile(`[ \t]*(\x1b\[[0-9;]*m)*# \w+\.go:\d+ -> \*world(\x1b\[0m)?`)

func (p *plain) Write(text []byte) (int, error) {
	p.line = append(p.line, text...)
	end := bytes.LastIndexByte(p.line, '\n') + 1
	whole := implementation.ReplaceAll(p.line[:end], nil)
	p.line = append([]byte(nil), p.line[end:]...)
	_, err := p.to.Write(whole)
	return len(text), err
}

// close writes what is left.
func (p *plain) close() error {
	_, err := p.to.Write(implementation.ReplaceAll(p.line, nil))
	p.line = nil
	return err
}
