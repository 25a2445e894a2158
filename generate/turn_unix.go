//go:build unix

package generate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// takeTurn waits until nobody else generates into a folder: angz dev and a person
// may both want to when a .proto file is saved, and languages' own tools do not bear
// to be run twice at once. The folder itself is locked, so that there is no file to
// be left behind; the lock goes with the process, however that ends.
func takeTurn(ctx context.Context, dir string, log io.Writer) (leave func(), err error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	leave = func() { _ = folder.Close() }
	switch err := lock(folder, syscall.LOCK_EX|syscall.LOCK_NB); {
	case err == nil:
		return leave, nil
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.ENOLCK):
		return leave, nil // a file system without locks
	case !errors.Is(err, syscall.EWOULDBLOCK):
		leave()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if log != nil {
		fmt.Fprintln(log, "waiting for another angz that generates code here")
	}
	locked := make(chan error, 1)
	go func() { locked <- lock(folder, syscall.LOCK_EX) }()
	select {
	case err := <-locked:
		if err != nil {
			leave()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		return leave, nil
	case <-ctx.Done():
		go func() {
			<-locked
			_ = folder.Close()
		}()
		return nil, ctx.Err()
	}
}

func lock(file *os.File, how int) error {
	for {
		if err := syscall.Flock(int(file.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
