package runtimetest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority is a certificate authority of one test.
type Authority struct {
	File string // its certificate, as PEM
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Pair is a certificate with its key, in files.
type Pair struct {
	Cert, Key string // PEM files
	Leaf      *x509.Certificate
}

// NewAuthority returns an authority that only those believe who have its file.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	template := template(name)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	a := &Authority{File: filepath.Join(t.TempDir(), "ca.pem"), key: newKey(t)}
	a.cert = sign(t, template, template, &a.key.PublicKey, a.key)
	writePEM(t, a.File, "CERTIFICATE", a.cert.Raw)
	return a
}

// Issue makes a certificate for localhost, for servers and clients, that is
// valid for an hour. edit may change what is signed.
func (a *Authority) Issue(t testing.TB, name string, edit ...func(*x509.Certificate)) Pair {
	t.Helper()
	template := template(name)
	template.DNSNames, template.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, change := range edit {
		change(template)
	}
	folder, key := t.TempDir(), newKey(t)
	pair := Pair{Cert: filepath.Join(folder, "tls.crt"), Key: filepath.Join(folder, "tls.key")}
	pair.Leaf = sign(t, template, a.cert, &key.PublicKey, a.key)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, pair.Cert, "CERTIFICATE", pair.Leaf.Raw)
	writePEM(t, pair.Key, "PRIVATE KEY", encoded)
	return pair
}

// Expired is an edit for Issue.
func Expired(template *x509.Certificate) {
	template.NotBefore, template.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
}

// Replace puts the content of one file into another's place in one step, as
// tools do that renew certificates.
func Replace(t testing.TB, file, with string) {
	t.Helper()
	content, err := os.ReadFile(with)
	if err != nil {
		t.Fatal(err)
	}
	WriteFile(t, file, content)
}

// WriteFile puts content into a file in one step.
func WriteFile(t testing.TB, file string, content []byte) {
	t.Helper()
	made, err := os.CreateTemp(filepath.Dir(file), "new-*")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := made.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(made.Name(), file); err != nil {
		t.Fatal(err)
	}
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-3 * time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, template, issuer *x509.Certificate, public *ecdsa.PublicKey, with *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, template, issuer, public, with)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func writePEM(t testing.TB, file, kind string, content []byte) {
	t.Helper()
	var encoded bytes.Buffer
	if err := pem.Encode(&encoded, &pem.Block{Type: kind, Bytes: content}); err != nil {
		t.Fatal(err)
	}
	WriteFile(t, file, encoded.Bytes())
}
