// Package project knows the conventions between angz and a user's project on a
// developer's machine: which language a service is written in, how a service is
// told where to listen, which ports are given to those that name none, and
// where angz keeps what belongs to the project.
package project

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Kind says what a service does. Its text is the word by which a service is told
// and the first word of its socket's name.
type Kind string

// The kinds of services.
const (
	Business  Kind = "business"
	Projector Kind = "projector"
	Saga      Kind = "saga"
)

// variable is the name of the variable that holds the name of such a service.
func (k Kind) variable() string {
	switch k {
	case Projector:
		return "PROJECTOR_NAME"
	case Saga:
		return "SAGA_NAME"
	}
	return "DOMAIN"
}

// Socket returns the path at which a service answers when services use sockets.
func Socket(folder string, kind Kind, name string) string {
	return filepath.Join(folder, string(kind)+"-"+name+".sock")
}

// ListenVariables returns the variables that tell a service what it is and where
// to listen. The address is host:port, also with a scheme before it, or the
// path of a socket.
func ListenVariables(kind Kind, name, address string) ([]string, error) {
	variables := []string{"SERVICE_NAME=" + string(kind), kind.variable() + "=" + name}
	if path, ok := socketPath(address); ok {
		return append(variables, "TRANSPORT_TYPE=uds", "UDS_BASE_PATH="+filepath.Dir(path)), nil
	}
	host, port, err := net.SplitHostPort(withoutScheme(address))
	if err != nil {
		return nil, fmt.Errorf("the address %q of %s %s is neither host:port nor the path of a socket", address, kind, name)
	}
	return append(variables, "TRANSPORT_TYPE=tcp", "HOST="+host, "PORT="+port), nil
}

// ListenNames are the variables by which services are told where to listen. What
// angz itself was given under these names is not meant for its services.
var ListenNames = []string{"SERVICE_NAME", "DOMAIN", "SAGA_NAME", "PROJECTOR_NAME", "TRANSPORT_TYPE", "UDS_BASE_PATH", "HOST", "PORT"}

func socketPath(address string) (string, bool) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return path, true
	}
	return address, strings.HasPrefix(address, "/") || strings.HasPrefix(address, "./")
}

func withoutScheme(address string) string {
	for _, scheme := range []string{"http://", "https://"} {
		address = strings.TrimPrefix(address, scheme)
	}
	return strings.TrimSuffix(address, "/")
}

// AbsoluteSocket returns an address as seen from anywhere: the path of a socket
// that is meant from dir on is made absolute, others stay.
func AbsoluteSocket(dir, address string) string {
	if path, ok := socketPath(address); ok && !filepath.IsAbs(path) {
		return filepath.Join(dir, path)
	}
	return address
}

// Folder is where angz keeps what belongs to a project.
const Folder = ".angz"

// MakeFolder makes the project's folder for the emulator's own files, out of
// version control's sight.
func MakeFolder(dir string) (string, error) {
	folder := filepath.Join(dir, Folder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("make the folder for the project's data: %w; make %s writable", err, dir)
	}
	ignore, err := os.OpenFile(filepath.Join(folder, ".gitignore"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return folder, nil
	}
	if err != nil {
		return "", fmt.Errorf("keep the project's data out of version control: %w; make %s writable", err, folder)
	}
	_, err = ignore.WriteString("*\n")
	return folder, errors.Join(err, ignore.Close())
}
