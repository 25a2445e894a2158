package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/time/rate"
)

// ClientAuth says what a server asks of its callers. Nothing is as good as
// ClientAuthNone.
type ClientAuth string

// What a server may ask of its callers: no certificate; one that is checked if
// the caller has any; or one without which nobody is served.
const (
	ClientAuthNone    ClientAuth = "none"
	ClientAuthRequest ClientAuth = "request"
	ClientAuthRequire ClientAuth = "require"
)

// TLSOptions name the files by which a process proves who it is and checks who
// others are. All are PEM and are read anew when they change.
type TLSOptions struct {
	// Cert and Key are the process's own: what its servers show, and what its
	// connections show when they are asked. Both or none. Cert holds the
	// certificates of the authorities in between as well.
	Cert, Key string
	// CA holds the authorities that vouch for servers; empty means those of the
	// system.
	CA string
	// ClientCA holds the authorities that vouch for clients; empty means CA.
	ClientCA   string
	ClientAuth ClientAuth
	// ServerName is expected in the certificates of servers instead of the host
	// of their address.
	ServerName string
	Logger     *slog.Logger
}

// TLS is a process's identity and what it believes of others. It serves any
// number of servers and connections and is safe for concurrent use.
type TLS struct {
	options TLSOptions
	held    atomic.Pointer[material]
	logging *rate.Limiter // for callers that fail: they are not to fill the log

	reload  sync.Mutex // held by who looks whether the files have changed
	seen    []os.FileInfo
	missing error // of the newest look
}

// material is what the files held when they were last right.
type material struct {
	own            *tls.Certificate // nil for none
	roots, clients *x509.CertPool   // nil for those of the system, and for none
}

// OpenTLS reads the files. Its errors name the key to change.
func OpenTLS(options TLSOptions) (*TLS, error) {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if err := options.check(); err != nil {
		return nil, err
	}
	t := &TLS{options: options, logging: rate.NewLimiter(1, 5)}
	t.seen, t.missing = t.look()
	held, err := options.read()
	if err != nil {
		return nil, err
	}
	t.held.Store(held)
	return t, nil
}

func (o TLSOptions) check() error {
	switch o.ClientAuth {
	case "", ClientAuthNone:
	case ClientAuthRequest, ClientAuthRequire:
		if o.Cert == "" {
			return fmt.Errorf("transport.tls.client_auth is %s, but there is no TLS: set transport.tls.cert and transport.tls.key", o.ClientAuth)
		}
		if o.ClientCA == "" && o.CA == "" {
			return fmt.Errorf("transport.tls.client_auth is %s, but nothing says which authorities vouch for clients: set transport.tls.client_ca", o.ClientAuth)
		}
	default:
		return fmt.Errorf("transport.tls.client_auth is %q: expected none, request or require", string(o.ClientAuth))
	}
	switch {
	case o.Cert != "" && o.Key == "":
		return errors.New("transport.tls.cert is set, but transport.tls.key is not: set both")
	case o.Cert == "" && o.Key != "":
		return errors.New("transport.tls.key is set, but transport.tls.cert is not: set both")
	}
	return nil
}

// read reads all files.
func (o TLSOptions) read() (*material, error) {
	var held material
	var err error
	if o.Cert != "" {
		if held.own, err = readPair(o.Cert, o.Key); err != nil {
			return nil, err
		}
	}
	if o.CA != "" {
		if held.roots, err = readAuthorities("transport.tls.ca", o.CA); err != nil {
			return nil, err
		}
	}
	held.clients = held.roots
	if o.ClientCA != "" {
		if held.clients, err = readAuthorities("transport.tls.client_ca", o.ClientCA); err != nil {
			return nil, err
		}
	}
	return &held, nil
}

// readPair reads a certificate with its key. It takes none that nobody would
// accept.
func readPair(certFile, keyFile string) (*tls.Certificate, error) {
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("transport.tls.cert: %w", err)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("transport.tls.key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("transport.tls.cert %s with transport.tls.key %s: %w: give a certificate and the key it was made for, both as PEM", certFile, keyFile, err)
	}
	if time.Now().After(pair.Leaf.NotAfter) {
		return nil, fmt.Errorf("transport.tls.cert %s: %s has expired: renew it", certFile, Describe(pair.Leaf))
	}
	return &pair, nil
}

func readAuthorities(key, file string) (*x509.CertPool, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	pool, found := x509.NewCertPool(), 0
	for rest := bytes.TrimSpace(content); len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		authority, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s %s: its certificate %d cannot be read: %w", key, file, found+1, err)
		}
		pool.AddCert(authority)
		found++
	}
	if found == 0 {
		return nil, fmt.Errorf("%s %s holds no certificate: expected PEM, blocks that begin with -----BEGIN CERTIFICATE-----", key, file)
	}
	return pool, nil
}

// Serves reports whether there is a certificate to serve with.
func (t *TLS) Serves() bool { return t != nil && t.options.Cert != "" }

// ClientAuth returns what servers ask of their callers.
func (t *TLS) ClientAuth() ClientAuth {
	if !t.Serves() || t.options.ClientAuth == "" {
		return ClientAuthNone
	}
	return t.options.ClientAuth
}

// Run looks at the files whenever something happens beside them, and now and
// then without a reason, until the context ends. Without it they are looked at
// with every handshake only, and so what is wrong with them is found late.
func (t *TLS) Run(ctx context.Context) error {
	if len(t.files()) == 0 {
		<-ctx.Done()
		return nil
	}
	var events <-chan fsnotify.Event
	watcher, err := fsnotify.NewWatcher()
	if err != nil { // the system's supply of watches may be used up
		t.options.Logger.Warn("changed certificates are seen with a delay of up to a minute", "error", err)
	} else {
		defer watcher.Close() // nothing can be lost
		events = watcher.Events
		t.watch(watcher)
	}
	return t.follow(ctx, events)
}

// watch names the folders of the files: tools that renew certificates replace
// the files, or a link in the folder, and a watch on a file ends with it.
func (t *TLS) watch(watcher *fsnotify.Watcher) {
	var folders []string
	for _, file := range t.files() {
		folders = append(folders, filepath.Dir(file))
	}
	slices.Sort(folders)
	for _, folder := range slices.Compact(folders) {
		if err := watcher.Add(folder); err != nil {
			t.options.Logger.Warn("changed certificates are seen with a delay of up to a minute", "folder", folder, "error", err)
		}
	}
}

func (t *TLS) follow(ctx context.Context, events <-chan fsnotify.Event) error {
	const period, settling = time.Minute, 100 * time.Millisecond
	timer := time.NewTimer(0) // at once: something may have happened before the watch began
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-events:
			if !open {
				events = nil
				continue
			}
			timer.Reset(settling) // a certificate and its key are seldom replaced in one step
		case <-timer.C:
			t.current()
			timer.Reset(period)
		}
	}
}

func (t *TLS) files() []string {
	o := t.options
	return slices.DeleteFunc([]string{o.Cert, o.Key, o.CA, o.ClientCA}, func(name string) bool { return name == "" })
}

// look returns what tells whether the files have changed.
func (t *TLS) look() ([]os.FileInfo, error) {
	var seen []os.FileInfo
	for _, file := range t.files() {
		info, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		seen = append(seen, info)
	}
	return seen, nil
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// current returns what the files hold. As long as they are not right it is what
// they held before.
func (t *TLS) current() *material {
	if !t.reload.TryLock() {
		return t.held.Load() // somebody else is looking
	}
	defer t.reload.Unlock()
	seen, missing := t.look()
	if missing != nil && t.missing != nil && missing.Error() == t.missing.Error() ||
		missing == nil && t.missing == nil && slices.EqualFunc(seen, t.seen, same) {
		return t.held.Load()
	}
	t.seen, t.missing = seen, missing
	held, err := t.options.read()
	if err != nil {
		t.options.Logger.Error("the new certificates are not used, the old ones stay", "error", err)
		return t.held.Load()
	}
	t.held.Store(held)
	if held.own != nil {
		t.options.Logger.Info("certificates read anew", "certificate", Describe(held.own.Leaf))
	} else {
		t.options.Logger.Info("authorities read anew")
	}
	return held
}

// server returns the settings for one handshake with a caller.
func (t *TLS) server() *tls.Config {
	held := t.current()
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{*held.own}, ClientCAs: held.clients,
		// Who was believed yesterday is to be checked again.
		SessionTicketsDisabled: true,
	}
	switch t.options.ClientAuth {
	case ClientAuthRequest:
		config.ClientAuth = tls.VerifyClientCertIfGiven
	case ClientAuthRequire:
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config
}

// client returns the settings for one handshake with the server of a host.
func (t *TLS) client(host string) *tls.Config {
	held := t.current()
	if t.options.ServerName != "" {
		host = t.options.ServerName
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, RootCAs: held.roots, ServerName: host}
	if held.own != nil {
		// Unlike Certificates, this shows it also to a server that does not list
		// its issuer among those it believes: the server's reason says more then.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return held.own, nil }
	}
	return config
}

// String says what protects a server, for its log.
func (t *TLS) String() string {
	if !t.Serves() {
		return "without TLS"
	}
	text := "TLS with the certificate " + Describe(t.held.Load().own.Leaf)
	switch t.options.ClientAuth {
	case ClientAuthRequest:
		text += ", client certificates checked where there are any"
	case ClientAuthRequire:
		text += ", client certificates required"
	}
	return text
}
