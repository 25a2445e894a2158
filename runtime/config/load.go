package config

import (
	"path/filepath"
	"reflect"
)

// Options says where a configuration is looked for and what overrides it.
type Options struct {
	// File is a file named on the command line, which must exist. Empty means
	// the one in ANGZARR_CONFIG, or else angz.yaml in Dir or above it, or else
	// config.yaml in Dir, or else none.
	File string
	// Dir is the folder where a file is looked for; empty is the working folder.
	Dir string
	// Environ is the environment as os.Environ returns it.
	Environ []string
	// Set holds keys given as flags, with dots, such as "storage.type".
	Set map[string]string
	// Dev chooses the defaults of angz dev over those of angz serve, and checks
	// what only a whole project on one machine can promise.
	Dev bool
	// NoStore says that what is to be served keeps no events, so that no place
	// for them is asked for.
	NoStore bool
	// Role is what is to be served, one of Roles: Load then also checks that it
	// has all that it needs, as CheckRole does. Empty checks no role.
	Role string
	// Name is the component of the role, empty if the configuration leaves no choice.
	Name string
}

// Load builds the configuration from its defaults, the file, the environment
// and the flags, of which later ones win. Its error is always an *Errors with
// everything that is wrong with any of them.
func Load(options Options) (*Config, error) {
	l := &loader{
		options: options, config: &Config{everywhere: map[string]string{}, written: map[string]string{}},
		origins: map[string]place{}, settled: map[string]bool{},
	}
	variables := environmentOf(options.Environ)
	setDefaults(l.root(), options.Dev)
	l.locate(variables)
	if l.config.File != "" {
		l.readFile()
	}
	l.readEnvironment(variables)
	l.readFlags()
	l.derive()
	if l.config.File == "" || l.doc != nil { // else all that is missing is in the file
		l.check()
	}
	if len(l.mistakes) > 0 {
		inOrder(l.mistakes)
		return nil, &Errors{List: l.mistakes}
	}
	l.config.origins, l.config.read = l.origins, l.doc
	return l.config, nil
}

func (l *loader) root() reflect.Value { return reflect.ValueOf(l.config).Elem() }

// given reports whether anybody has said something about a key.
func (l *loader) given(key string) bool {
	_, said := l.origins[key]
	return said
}

// derive sets the defaults that depend on other values or on the project.
func (l *loader) derive() {
	if !l.given("transport.tcp.host") {
		l.config.Transport.TCP.Host = "127.0.0.1"
		if !l.options.Dev && l.config.Transport.TLS.Cert != "" {
			l.config.Transport.TCP.Host = "0.0.0.0"
		}
	}
	if !l.given("server.host") {
		l.config.Server.Host = l.config.Transport.TCP.Host
	}
	if !l.given("protos") && isFolder(filepath.Join(l.config.Dir, "proto")) {
		l.config.Protos = []string{"proto"}
	}
}
