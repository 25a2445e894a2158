package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	codes "modernc.org/sqlite/lib"

	"github.com/angz-dev/angz/runtime/eventstore"
)

// The settings of connections. A commit of the write-ahead log is synced before
// it is answered, so it survives a power cut. The caches are small: the writer
// remembers what it needs, and the operating system caches the file.
var (
	memoryPragmas = []string{`cache_size = -8192`, `trusted_schema = OFF`}
	writerPragmas = []string{
		`busy_timeout = 5000`, `synchronous = FULL`, `cache_size = -8192`,
		`wal_autocheckpoint = 0`, `journal_size_limit = 67108864`, `trusted_schema = OFF`,
	}
	readerPragmas     = []string{`busy_timeout = 5000`, `query_only = ON`, `cache_size = -2048`, `trusted_schema = OFF`}
	checkpointPragmas = []string{`busy_timeout = 5000`, `synchronous = FULL`, `cache_size = -64`, `trusted_schema = OFF`}
)

// file is a database file that this process owns.
type file struct {
	path string   // absolute, without symbolic links
	lock *os.File // held until release
}

// headerBytes are read to tell what a file is before anything is changed.
const headerBytes = 100

// claimFile makes sure that the path names a store of ours or nothing yet, and
// that nobody else has it open.
func claimFile(path string) (*file, error) {
	path, err := resolve(path)
	if err != nil {
		return nil, err
	}
	f := &file{path: path}
	if _, err := os.Stat(f.lockPath()); errors.Is(err, fs.ErrNotExist) {
		// Nobody has ever opened a store here, so this may be anybody's file;
		// then not even a lock belongs beside it. With a lock there, the header
		// is only read under it: closing a file that the engine has open in
		// this process would drop the engine's own locks.
		if err := f.checkHeader(); err != nil {
			return nil, err
		}
	}
	if err := f.acquire(); err != nil {
		return nil, err
	}
	if err := f.checkHeader(); err != nil {
		return nil, errors.Join(err, f.release())
	}
	return f, nil
}

// resolve makes the folder and returns the one name of the file, so that two
// ways to write a path meet at the same lock.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("open store %s: %w; give the path from the root on", path, err)
	}
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("open store %s: its folder cannot be made: %w; make it, or set storage.sqlite.path to a folder you may write to", path, err)
	}
	if found, err := filepath.EvalSymlinks(path); err == nil {
		return found, nil
	}
	if found, err := filepath.EvalSymlinks(folder); err == nil {
		folder = found
	}
	return filepath.Join(folder, filepath.Base(path)), nil
}

func (f *file) lockPath() string { return f.path + ".lock" }

// acquire takes the lock that says who owns the file. The kernel drops it with
// the process, however that ends.
func (f *file) acquire() error {
	if info, err := os.Stat(filepath.Dir(f.path)); err == nil && writeProtected(info) {
		return f.problem("its folder is write-protected", "make it writable with chmod u+w, or set storage.sqlite.path to another place")
	}
	lock, err := os.OpenFile(f.lockPath(), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return f.problem(fmt.Sprintf("its lock cannot be made (%v)", err), "make the folder writable, or set storage.sqlite.path to another place")
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		owner := ownerOf(lock)
		_ = lock.Close()
		return f.problem("it is in use by "+owner, "stop that first, or set storage.sqlite.path to another file")
	}
	if err != nil {
		_ = lock.Close()
		return f.problem(fmt.Sprintf("it cannot be locked (%v)", err), "put it on a local disk")
	}
	f.lock = lock
	if err := signLock(lock); err != nil {
		return errors.Join(f.problem(fmt.Sprintf("its lock cannot be written (%v)", err), "see whether the disk is full"), f.release())
	}
	return nil
}

// signLock writes down who has the lock, for the message to the next one.
func signLock(lock *os.File) error {
	if err := lock.Truncate(0); err != nil {
		return err
	}
	_, err := lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func ownerOf(lock *os.File) string {
	text, _ := io.ReadAll(io.LimitReader(lock, 32))
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return "another process"
	}
	if pid == os.Getpid() {
		return "this process"
	}
	return fmt.Sprintf("process %d", pid)
}

// release lets others have the file. The lock file stays: removing it while
// somebody opens it would let two have it. Closing it is not enough to unlock
// it, because a child process that is just being started may still share it.
func (f *file) release() error {
	return errors.Join(
		f.lock.Truncate(0),
		syscall.Flock(int(f.lock.Fd()), syscall.LOCK_UN),
		f.lock.Close(),
	)
}

// checkHeader refuses what is not a store, without changing anything.
func (f *file) checkHeader() error {
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return f.problem(err.Error(), "check the path")
	}
	if !info.Mode().IsRegular() {
		return f.problem("it is not a file", "set storage.sqlite.path to a file in it or beside it")
	}
	if writeProtected(info) {
		return f.problem("it is write-protected", "make it writable with chmod u+w, or use another file")
	}
	opened, err := os.OpenFile(f.path, os.O_RDWR, 0)
	if err != nil {
		return f.problem(err.Error(), "make it readable and writable for this user, or use another file")
	}
	header := make([]byte, headerBytes)
	n, err := io.ReadFull(opened, header)
	if closeErr := opened.Close(); err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = closeErr
	}
	if err != nil {
		return f.problem(err.Error(), "check the disk")
	}
	return f.identify(header[:n])
}

// identify says what a file that begins like this is.
func (f *file) identify(header []byte) error {
	const useAnother = "set storage.sqlite.path to another file; this one was not changed"
	if len(header) == 0 {
		return nil // just made, or never used
	}
	if len(header) < headerBytes || string(header[:16]) != "SQLite format 3\x00" {
		return f.problem("it is not a database", useAnother)
	}
	if binary.BigEndian.Uint32(header[68:]) != applicationID {
		return f.problem("it is a database of another program", useAnother)
	}
	return f.checkVersion(int64(binary.BigEndian.Uint32(header[60:])))
}

func (f *file) checkVersion(version int64) error {
	if version <= schemaVersion {
		return nil
	}
	return f.problem(
		fmt.Sprintf("it was written by a newer angz (format %d, this one knows up to %d)", version, schemaVersion),
		"use the newer angz, or another file; this one was not changed")
}

// writeProtected says whether nobody may write, which also holds for a
// superuser whom the system would not stop.
func writeProtected(info fs.FileInfo) bool { return info.Mode().Perm()&0o222 == 0 }

func (f *file) problem(what, nextStep string) error {
	return fmt.Errorf("open store %s: %s; %s", f.path, what, nextStep)
}

// explain turns an error of the engine while opening into one with a next step.
func (f *file) explain(err error) error {
	if !errors.Is(err, eventstore.ErrUnavailable) {
		return err
	}
	switch code(err) {
	case codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB:
		return fmt.Errorf("open store %s: it is damaged: %w; restore it from a backup, or move it away to begin anew", f.path, err)
	case codes.SQLITE_FULL:
		return fmt.Errorf("open store %s: the disk is full: %w; make room and start again", f.path, err)
	case codes.SQLITE_BUSY, codes.SQLITE_LOCKED:
		return fmt.Errorf("open store %s: another program is using it: %w; close that, and start again", f.path, err)
	case codes.SQLITE_READONLY, codes.SQLITE_CANTOPEN, codes.SQLITE_PERM:
		return fmt.Errorf("open store %s: it cannot be written: %w; make it and its folder writable, or use another file", f.path, err)
	}
	return fmt.Errorf("open store %s: %w; check the disk and the file", f.path, err)
}

// initialise returns the writer's first connection, with the tables in place.
// The tables are made before the write-ahead log is switched on, so that the
// header in the file itself always tells whose it is.
func (f *file) initialise(ctx context.Context) (*conn, error) {
	c, err := connect(ctx, f.uri(), writerPragmas)
	if err != nil {
		return nil, err
	}
	if err = f.prepare(ctx, c); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (f *file) prepare(ctx context.Context, c *conn) error {
	// The header in the file may be older than the one in the write-ahead log.
	version, err := c.number(ctx, `PRAGMA user_version`)
	if err != nil {
		return err
	}
	if err := f.checkVersion(version); err != nil {
		return err
	}
	if err := createSchema(ctx, c); err != nil {
		return err
	}
	if err := migrate(ctx, c); err != nil {
		return err
	}
	return f.useWriteAheadLog(ctx, c)
}

func (f *file) useWriteAheadLog(ctx context.Context, c *conn) error {
	var mode string
	err := c.query(ctx, `PRAGMA journal_mode = WAL`, func(row []driver.Value) error {
		mode = text(row[0])
		return nil
	})
	if err == nil && mode != "wal" {
		err = f.problem("its file system cannot hold a write-ahead log", "put it on a local disk")
	}
	return err
}

func (f *file) connectWriter(ctx context.Context) (*conn, error) {
	return connect(ctx, f.uri(), writerPragmas)
}

func (f *file) connectReader(ctx context.Context) (*conn, error) {
	return connect(ctx, f.uri(), readerPragmas)
}

func (f *file) connectCheckpointer(ctx context.Context) (*conn, error) {
	return connect(ctx, f.uri(), checkpointPragmas)
}

// uri names the file to the engine whatever characters are in its path.
func (f *file) uri() string {
	return (&url.URL{Scheme: "file", OmitHost: true, Path: f.path}).String()
}
