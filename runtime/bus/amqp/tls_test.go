package amqp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/angz-dev/angz/runtime/bus/amqp"
	"github.com/angz-dev/angz/runtime/servertest"
)

// certificate writes one that vouches for itself, and its key, into a folder.
func certificate(t *testing.T, folder string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})
	check(t, os.WriteFile(filepath.Join(folder, "cert.pem"), certificate, 0o600))
	check(t, os.WriteFile(filepath.Join(folder, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	return pool
}

func TestABrokerIsTrustedByItsCertificateOnly(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	pool := certificate(t, folder)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	check(t, listener.Close())
	own := servertest.NewRabbit("listeners.ssl.1 = "+address,
		"ssl_options.certfile = "+filepath.Join(folder, "cert.pem"), "ssl_options.keyfile = "+filepath.Join(folder, "key.pem"),
		"ssl_options.cacertfile = "+filepath.Join(folder, "cert.pem"))
	t.Cleanup(own.Close)
	own.Use(t)
	url := "amqps://guest:guest@" + address + "/"

	said := newRecord()
	open(t, amqp.Options{URL: url, Logger: said.logger()})
	said.await(t, "x509: certificate signed by unknown authority")

	b := open(t, amqp.Options{URL: url, TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}})
	s := subscribe(t, b, "projector/one")
	publish(t, b, (&log{}).append())
	if got := next(t, s); got.Book.Position != 1 {
		t.Errorf("got %v", got)
	}
}
