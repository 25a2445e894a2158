package gateway

import (
	"errors"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// source is a stream of answers.
type source[T any] interface {
	Recv() (*T, error)
}

// each hands every answer of a stream to take. It returns nil at the end.
func each[T any](from source[T], take func(*T) error) error {
	for {
		answer, err := from.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := take(answer); err != nil {
			return err
		}
	}
}

// merge hands the answers of streams that are in order to take, in order. Equal
// ones are taken in the order of the streams.
func merge[T any](from []source[T], compare func(a, b *T) int, take func(*T) error) error {
	if len(from) == 1 {
		return each(from[0], take)
	}
	heads := make([]*T, len(from)) // nil: the stream has ended
	for i := range from {
		if err := advance(from[i], &heads[i]); err != nil {
			return err
		}
	}
	for {
		least := -1
		for i, head := range heads {
			if head != nil && (least < 0 || compare(head, heads[least]) < 0) {
				least = i
			}
		}
		if least < 0 {
			return nil
		}
		if err := take(heads[least]); err != nil {
			return err
		}
		if err := advance(from[least], &heads[least]); err != nil {
			return err
		}
	}
}

// advance replaces head by the next answer, or nil at the end.
func advance[T any](from source[T], head **T) error {
	answer, err := from.Recv()
	if errors.Is(err, io.EOF) {
		*head = nil
		return nil
	}
	*head = answer
	return err
}

// endOfStream turns the end of a stream that should not end into an error.
func endOfStream(err error) error {
	if errors.Is(err, io.EOF) {
		return status.Error(codes.Unavailable, "the event stream ended without saying why")
	}
	return err
}
