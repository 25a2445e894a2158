package watch

import (
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

const (
	// largestRead is up to which size a file's content is compared. Larger ones
	// count as changed when their size or time has.
	largestRead = 8 << 20
	// recent is how old a file has to be, so that another write would change its
	// time: some file systems count in steps of two seconds.
	recent = 2 * time.Second
)

var seed = maphash.MakeSeed()

var buffers = sync.Pool{New: func() any { buffer := make([]byte, 32<<10); return &buffer }}

// file is what tells whether a file has changed. The zero file does not exist.
type file struct {
	there    bool
	size     int64
	modified int64  // ns since 1970; 0 where it says nothing, see recent
	hash     uint64 // of the content; 0 where it has not been read
}

// same reports whether a file is still what it was. A file that has not been
// read before is the same when its size and time are.
func (f file) same(now file) bool {
	if f.there != now.there || f.size != now.size {
		return false
	}
	if f.hash != 0 && now.hash != 0 {
		return f.hash == now.hash
	}
	return !f.there || f.modified == now.modified && f.modified != 0
}

// surely reports whether a file needs no reading to be called the same.
func (f file) surely(info fs.FileInfo) bool {
	return f.there && f.modified != 0 && f.modified == info.ModTime().UnixNano() && f.size == info.Size()
}

// readable reports whether a file has not been read but can be.
func (f file) readable() bool {
	return f.there && f.hash == 0 && f.modified != 0 && f.size <= largestRead
}

// look reads a file. What is no regular file, such as a folder, a device or a
// link to nothing, does not exist.
func look(path string) file {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return file{}
	}
	return read(path, info)
}

// glance is look without reading, where the time of the file can be trusted.
func glance(path string, info fs.FileInfo) file {
	if !info.Mode().IsRegular() {
		return look(path)
	}
	if isRecent(info) {
		return read(path, info)
	}
	return file{there: true, size: info.Size(), modified: info.ModTime().UnixNano()}
}

func read(path string, info fs.FileInfo) file {
	found := file{there: true, size: info.Size(), modified: info.ModTime().UnixNano()}
	if found.size > largestRead {
		return found
	}
	if isRecent(info) {
		found.modified = 0
	}
	found.hash = hashOf(path)
	return found
}

func isRecent(info fs.FileInfo) bool { return time.Since(info.ModTime()) < recent }

// hashOf returns 0 when the file cannot be read.
func hashOf(path string) uint64 {
	opened, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer opened.Close() // it was only read
	var hash maphash.Hash
	hash.SetSeed(seed)
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	if _, err := io.CopyBuffer(&hash, io.LimitReader(opened, largestRead+1), *buffer); err != nil {
		return 0
	}
	return max(hash.Sum64(), 1)
}
