package sqlite_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/eventstore/storetest"
)

func at(t *testing.T, options sqlite.Options) storetest.Open {
	return func() (eventstore.Store, error) { return sqlite.Open(t.Context(), options) }
}

func pass(_ *testing.T, store eventstore.Store, length time.Duration) {
	store.(*sqlite.Store).Pass(length)
}

func TestFileHoldsToContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Driver{Ahead: true, Durable: true, Pass: pass, New: func(t *testing.T) storetest.Open {
		return at(t, sqlite.Options{Path: filepath.Join(t.TempDir(), "store.db"), CorrelationIndex: true})
	}})
}

func TestFileWithoutCorrelationIndexHoldsToContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Driver{Ahead: true, Durable: true, Pass: pass, New: func(t *testing.T) storetest.Open {
		return at(t, sqlite.Options{Path: filepath.Join(t.TempDir(), "store.db")})
	}})
}

func TestMemoryHoldsToContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Driver{Ahead: true, Pass: pass, New: func(t *testing.T) storetest.Open {
		return at(t, sqlite.Options{CorrelationIndex: true})
	}})
}
