package dump

import (
	"bufio"
	"errors"
	"fmt"
	"os"

	"google.golang.org/protobuf/encoding/protodelim"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// spool keeps what was read from a file until it is stored, in a file of its own
// that only this user can read. Reading the lines twice would take three times as
// long, and a pipe can only be read once.
type spool struct {
	file *os.File
	out  *bufio.Writer
	in   *bufio.Reader // nil until it is read
}

func newSpool() (*spool, error) {
	file, err := os.CreateTemp("", "angz-import-*")
	if err != nil {
		return nil, fmt.Errorf("keep what is to be imported: %w", err)
	}
	return &spool{file: file, out: bufio.NewWriterSize(file, 256<<10)}, nil
}

// add keeps a batch.
func (s *spool) add(batch *pb.ArchiveBatch) error {
	if _, err := protodelim.MarshalTo(s.out, batch); err != nil {
		return fmt.Errorf("keep what is to be imported in %s: %w", s.file.Name(), err)
	}
	return nil
}

// next returns the batches in the order in which they were added, then io.EOF.
func (s *spool) next() (*pb.ArchiveBatch, error) {
	if s.in == nil {
		if err := s.out.Flush(); err != nil {
			return nil, fmt.Errorf("keep what is to be imported in %s: %w", s.file.Name(), err)
		}
		if _, err := s.file.Seek(0, 0); err != nil {
			return nil, err
		}
		s.in = bufio.NewReaderSize(s.file, 256<<10)
	}
	batch := &pb.ArchiveBatch{}
	return batch, protodelim.UnmarshalOptions{MaxSize: -1}.UnmarshalFrom(s.in, batch)
}

func (s *spool) close() error {
	return errors.Join(s.file.Close(), os.Remove(s.file.Name()))
}
