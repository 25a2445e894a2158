package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Describe names a certificate as people tell certificates apart.
func Describe(certificate *x509.Certificate) string {
	var names []string
	for _, uri := range certificate.URIs {
		names = append(names, uri.String())
	}
	names = append(names, certificate.DNSNames...)
	for _, ip := range certificate.IPAddresses {
		names = append(names, ip.String())
	}
	names = append(names, certificate.EmailAddresses...)
	const most = 5
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("%d more", len(names)-most))
	}
	shown := "no names"
	if len(names) > 0 {
		shown = strings.Join(names, ", ")
	}
	return fmt.Sprintf("%q (%s; issued by %q; valid until %s)", certificate.Subject.String(), shown, certificate.Issuer.String(),
		certificate.NotAfter.UTC().Format(time.RFC3339))
}

// secured are the credentials of a server with TLS. Callers of its Unix sockets
// have shown to the system that they are its user, and speak plainly.
type secured struct{ tls *TLS }

func (s secured) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if conn.LocalAddr().Network() == "unix" {
		return insecure.NewCredentials().ServerHandshake(conn)
	}
	begun, err := peek(conn)
	if errors.Is(err, io.EOF) {
		return nil, nil, err // somebody looked whether the port is open
	}
	if err == nil {
		var info credentials.AuthInfo
		begun, info, err = credentials.NewTLS(s.tls.server()).ServerHandshake(begun)
		if err == nil {
			return begun, info, nil
		}
	}
	err = s.tls.explainCaller(err)
	if s.tls.logging.Allow() {
		s.tls.options.Logger.Warn("a caller was turned away", "peer", conn.RemoteAddr().String(), "error", err)
	}
	return nil, nil, err
}

func (s secured) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are for servers")
}

func (s secured) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (s secured) Clone() credentials.TransportCredentials { return s }

func (s secured) OverrideServerName(string) error {
	return errors.New("a server has no other side to name")
}

// The first byte of what speaks TLS.
const (
	recordAlert     = 0x15
	recordHandshake = 0x16
)

// refusal is the TLS alert "protocol version".
var refusal = []byte{recordAlert, 3, 1, 0, 2, 2, 70}

var errPlain = errors.New("it speaks without TLS")

// peeked is a connection whose first byte was read to see what follows.
type peeked struct {
	net.Conn
	first []byte
}

func (p *peeked) Read(into []byte) (int, error) {
	if len(p.first) > 0 && len(into) > 0 {
		n := copy(into, p.first)
		p.first = p.first[n:]
		return n, nil
	}
	return p.Conn.Read(into)
}

// peek waits for what a caller says first. One that speaks without TLS is told
// so in the only words that TLS has, which our own clients understand.
func peek(conn net.Conn) (net.Conn, error) {
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil {
		return nil, err
	}
	if first[0] != recordHandshake {
		refuse(conn)
		return nil, errPlain
	}
	return &peeked{conn, first}, nil
}

// refuse tells a caller without TLS that it needs it. What the caller has said
// meanwhile is read, since a connection that is closed before that takes back
// what was written to it.
func refuse(conn net.Conn) {
	const most, longest = 64 << 10, 200 * time.Millisecond
	if _, err := conn.Write(refusal); err != nil {
		return // it is gone
	}
	if err := conn.SetReadDeadline(time.Now().Add(longest)); err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(conn, most)) // it ends in any case
	}
}

// explainCaller says why a caller was turned away and what helps.
func (t *TLS) explainCaller(err error) error {
	var unverified *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errPlain):
		return errors.New("it speaks without TLS: it must address this server as https://")
	case errors.As(err, &unverified) && len(unverified.UnverifiedCertificates) > 0:
		key, file := "transport.tls.client_ca", t.options.ClientCA
		if file == "" {
			key, file = "transport.tls.ca", t.options.CA
		}
		shown := unverified.UnverifiedCertificates[0]
		return fmt.Errorf("its certificate %s is not accepted: %w", Describe(shown), explainVerification(unverified.Err, shown, key, file))
	case strings.Contains(err.Error(), "didn't provide a certificate"):
		return errors.New("it showed no client certificate, and transport.tls.client_auth is require: set transport.tls.cert and transport.tls.key there")
	case strings.Contains(err.Error(), "unsupported versions"), strings.Contains(err.Error(), "protocol version not supported"):
		return errors.New("it offers no version of TLS from 1.2 on: update it")
	}
	if alert := alertIn(err); alert != "" {
		return fmt.Errorf("it does not accept our certificate %s: %s: set its transport.tls.ca to the authority that issued it, and address this server by a name that the certificate holds",
			Describe(t.held.Load().own.Leaf), alert)
	}
	return err
}

// explainVerification says why a certificate is not accepted and what helps.
// file holds the authorities that were asked, by the word of key.
func explainVerification(err error, shown *x509.Certificate, key, file string) error {
	var wrongName x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &wrongName):
		return fmt.Errorf("it is not for %s: use an address with a name that the certificate holds, or set transport.tls.server_name to one", wrongName.Host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		whose := "it"
		if !invalid.Cert.Equal(shown) {
			whose = "the authority's certificate " + Describe(invalid.Cert)
		}
		if time.Now().Before(invalid.Cert.NotBefore) {
			return fmt.Errorf("%s is not valid before %s: compare the clocks of both machines", whose, invalid.Cert.NotBefore.UTC().Format(time.RFC3339))
		}
		return fmt.Errorf("%s expired on %s: renew it", whose, invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return errors.New("it was not issued for this use: a server needs the extended key usage serverAuth, a client clientAuth")
	case errors.As(err, &unknown) && file == "":
		return fmt.Errorf("%q is not among the authorities of the system: set %s to a file with the certificate of that authority", shown.Issuer.String(), key)
	case errors.As(err, &unknown):
		return fmt.Errorf("%q is not among the authorities in %s: add the certificate of that authority to the file of %s", shown.Issuer.String(), file, key)
	}
	return err
}

// alertIn returns what the other side said when it ended a handshake, empty if
// it said nothing. The type of that error is not exported.
func alertIn(err error) string {
	var remote *net.OpError
	if errors.As(err, &remote) && remote.Op == "remote error" {
		return strings.TrimPrefix(remote.Err.Error(), "tls: ")
	}
	return ""
}

// explainServer says why a connection to a server did not come about and what
// helps.
func (t *TLS) explainServer(err error) error {
	var unverified *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &unverified) && len(unverified.UnverifiedCertificates) > 0:
		shown := unverified.UnverifiedCertificates[0]
		return fmt.Errorf("its certificate %s is not accepted: %w", Describe(shown), explainVerification(unverified.Err, shown, "transport.tls.ca", t.options.CA))
	case errors.As(err, &plain):
		return errors.New("it does not speak TLS: write its address without https://, or set transport.tls.cert and transport.tls.key there")
	}
	switch alert := alertIn(err); alert {
	case "":
		return err
	case "certificate required", "bad certificate", "unknown certificate authority", "expired certificate", "unknown certificate", "unsupported certificate", "access denied", "revoked certificate":
		own := t.held.Load().own
		if own == nil {
			return fmt.Errorf("it wants a client certificate (%s), and there is none: set transport.tls.cert and transport.tls.key", alert)
		}
		return fmt.Errorf("it does not accept our certificate %s: %s; set its transport.tls.client_ca to the authority that issued it, or transport.tls.cert to another certificate", Describe(own.Leaf), alert)
	case "protocol version not supported":
		return errors.New("it has no version of TLS from 1.2 on: update it")
	default:
		return fmt.Errorf("it ended the TLS handshake: %s; its log says why", alert)
	}
}

// trusting are the credentials of a connection to a server with TLS.
type trusting struct {
	tls    *TLS
	host   string
	client *Client
}

func (c trusting) ClientHandshake(ctx context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	settings := c.tls.client(c.host)
	made, info, err := credentials.NewTLS(settings).ClientHandshake(ctx, settings.ServerName, conn)
	if err != nil {
		return nil, nil, c.tls.explainServer(err)
	}
	return &listening{Conn: made, with: c}, info, nil
}

func (c trusting) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are for connections")
}

func (c trusting) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (c trusting) Clone() credentials.TransportCredentials { return c }

func (c trusting) OverrideServerName(string) error {
	return errors.New("set transport.tls.server_name instead")
}

// listening is a connection that hears what the server thinks of our
// certificate: in TLS 1.3 it says so when the handshake is over on this side.
type listening struct {
	net.Conn
	with  trusting
	heard bool
}

func (l *listening) Read(into []byte) (int, error) {
	n, err := l.Conn.Read(into)
	if err != nil && alertIn(err) != "" {
		err = l.with.tls.explainServer(err)
		l.with.client.failed(&failedHandshake{err})
	}
	if n > 0 && !l.heard {
		l.heard = true
		l.with.client.failure.Store(&errSilent)
	}
	return n, err
}
