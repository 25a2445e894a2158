package servertest_test

import (
	"net"
	"os"
	"testing"

	"github.com/angz-dev/angz/runtime/servertest"
)

func TestRabbitServesStopsAndServesAgain(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	r := servertest.NewRabbit()
	t.Cleanup(r.Close)
	if url := r.Use(t); url != "amqp://guest:guest@"+r.Address()+"/" {
		t.Errorf("its URL is %s", url)
	}
	for what, stop := range map[string]func() error{"killed": r.Kill, "without its data": r.Lose} {
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if conn, err := net.Dial("tcp", r.Address()); err == nil {
			_ = conn.Close()
			t.Errorf("%s it still serves", what)
		}
		if err := r.Restart(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
	r.Close()
	left, err := os.ReadDir(folder)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
