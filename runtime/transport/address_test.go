package transport_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/runtime/transport"
)

func TestAddressesInAllTheirShapes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]transport.Address{
		"localhost:1313":               {Network: "tcp", Address: "localhost:1313"},
		"127.0.0.1:0":                  {Network: "tcp", Address: "127.0.0.1:0"},
		"[::1]:1313":                   {Network: "tcp", Address: "[::1]:1313"},
		"[fe80::1%eth0]:1":             {Network: "tcp", Address: "[fe80::1%eth0]:1"},
		"http://orders.local:80":       {Network: "tcp", Address: "orders.local:80"},
		"http://orders.local:80/":      {Network: "tcp", Address: "orders.local:80"},
		"https://orders.local:443":     {Network: "tcp", Address: "orders.local:443", TLS: true},
		"/tmp/angzarr/gateway.sock":    {Network: "unix", Address: "/tmp/angzarr/gateway.sock"},
		"/tmp//angzarr/../x y%20.sock": {Network: "unix", Address: "/tmp/x y%20.sock"},
		"./gateway.sock":               {Network: "unix", Address: "gateway.sock"},
		"unix:/tmp/gateway.sock":       {Network: "unix", Address: "/tmp/gateway.sock"},
		"unix:///tmp/gateway.sock":     {Network: "unix", Address: "/tmp/gateway.sock"},
		"unix:./gateway.sock":          {Network: "unix", Address: "gateway.sock"},
	} {
		got, err := transport.ParseAddress(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v %s", text, err, diff)
		}
		again, err := transport.ParseAddress(got.String())
		if again != got || err != nil {
			t.Errorf("%q is written %q, which is read as %+v, %v", text, got, again, err)
		}
	}
}

func TestWhatIsNoAddress(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "localhost", ":1313", "localhost:", "localhost:http", "localhost:65536", "localhost:-1", "::1:1313", "http://", "https://localhost",
		"https://http://localhost:1", "localhost:1313/path", "http://localhost:1313/path", "tcp://localhost:1313", "unix:", "unix:socket", "a b:1", "user@host:1",
		"orders.sock", "../orders.sock",
	} {
		if got, err := transport.ParseAddress(text); err == nil || !strings.HasPrefix(err.Error(), `address "`) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, text := range []string{"localhost:1313", "https://[::1]:443/", "./a/../b", "unix:/x", "/%zz?#", "http://h:1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		address, err := transport.ParseAddress(text)
		if err != nil {
			return
		}
		if again, err := transport.ParseAddress(address.String()); again != address || err != nil {
			t.Errorf("%q is written %q, which is read as %+v, %v", text, address, again, err)
		}
		conn, err := transport.Dial(text, transport.DialOptions{Name: "it"})
		if err != nil {
			t.Fatalf("%q is an address, but not for grpc-go: %v", text, err)
		}
		conn.Close()
	})
}
