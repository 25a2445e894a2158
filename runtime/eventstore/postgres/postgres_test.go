package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/postgres"
	"github.com/angz-dev/angz/runtime/eventstore/storetest"
	"github.com/angz-dev/angz/runtime/servertest"
)

// server is the PostgreSQL of this test process.
var server = servertest.NewPostgres()

func TestMain(m *testing.M) {
	if uri := os.Getenv(crashChild); uri != "" {
		fmt.Fprintln(os.Stderr, appendForEver(context.Background(), uri, os.Stdout))
		return
	}
	code := m.Run()
	server.Close()
	os.Exit(code)
}

func at(t *testing.T, uri string, index bool) storetest.Open {
	return func() (eventstore.Store, error) {
		return open(t, postgres.Options{URI: uri, Migrate: true, CorrelationIndex: index, MaxConnections: 4})
	}
}

func open(t *testing.T, options postgres.Options) (eventstore.Store, error) {
	options.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := postgres.Open(t.Context(), options)
	if err != nil {
		return nil, err
	}
	return store, nil
}

func TestPostgresHoldsToContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Driver{
		New:     func(t *testing.T) storetest.Open { return at(t, server.Use(t), true) },
		Durable: true, Shared: true,
	})
}
