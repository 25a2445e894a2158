package servertest

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestPostgresKeepsDatabasesApartAndDataOverACrash(t *testing.T) {
	t.Parallel()
	server := NewDurablePostgres()
	t.Cleanup(server.Close)
	first, second := server.Use(t), server.Use(t)
	run := func(uri, statement string) error {
		conn, err := pgx.Connect(t.Context(), uri)
		if err != nil {
			return err
		}
		defer conn.Close(t.Context())
		_, err = conn.Exec(t.Context(), statement)
		return err
	}
	if err := run(first, `CREATE TABLE kept (n integer)`); err != nil {
		t.Fatal(err)
	}
	if err := run(second, `SELECT * FROM kept`); err == nil {
		t.Error("a test sees what another one has made")
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := run(first, `SELECT * FROM kept`); err == nil {
		t.Error("it answers although it has been stopped")
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := run(first, `SELECT * FROM kept`); err != nil {
		t.Errorf("after the restart, at the same address: %v", err)
	}
	if used, err := server.CPU(); err != nil || used <= 0 {
		t.Errorf("it has used %s, %v", used, err)
	}
}

func TestPostgresIsGoneAfterClose(t *testing.T) {
	t.Parallel()
	server := NewPostgres()
	server.Use(t)
	pid, folder := server.server.Process.Pid, server.folder
	server.Close()
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
		t.Errorf("process %d is still there: %v", pid, syscall.Kill(pid, 0))
	}
	if _, err := os.Stat(folder); err == nil {
		t.Errorf("%s is still there", folder)
	}
}

func TestProxyCutsAndMends(t *testing.T) {
	t.Parallel()
	server := NewPostgres()
	t.Cleanup(server.Close)
	server.Use(t)
	proxy := NewProxy(t, server.Address())
	uri := "postgres://postgres@" + proxy.Address() + "/postgres"
	conn, err := pgx.Connect(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	proxy.Cut()
	if _, err := conn.Exec(t.Context(), `SELECT 1`); err == nil {
		t.Error("a connection outlived the cut")
	}
	if _, err := pgx.Connect(t.Context(), uri); err == nil {
		t.Error("a connection came up through the cut")
	}
	proxy.Mend()
	again, err := pgx.Connect(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
