package chembed

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// maxHeldMemory is how much of a result is held in memory, whatever a client asks for; the rest goes to a file.
const maxHeldMemory = 4 << 20

// hold keeps the beginning of a result, or all of it, until the status of its response is known. It must be closed.
type hold struct {
	dir    string // where a file is made
	memory int    // bytes to keep in memory
	buf    bytes.Buffer
	file   *os.File
	size   int64
}

func (h *hold) Write(p []byte) (int, error) {
	if h.file == nil && h.buf.Len()+len(p) <= h.memory {
		h.size += int64(len(p))
		return h.buf.Write(p)
	}
	if h.file == nil {
		f, err := os.CreateTemp(h.dir, "http-result-*")
		if err != nil {
			return 0, fmt.Errorf("hold a result back until its query ends: %w", err)
		}
		h.file = f
		// Without a name it goes when it is closed, even by a crash.
		if err := os.Remove(f.Name()); err != nil {
			return 0, fmt.Errorf("hold a result back until its query ends: %w", err)
		}
	}
	n, err := h.file.Write(p)
	h.size += int64(n)
	if err != nil {
		err = fmt.Errorf("hold a result back until its query ends: %w", err)
	}
	return n, err
}

// copyTo passes on what is held, and forgets it.
func (h *hold) copyTo(w io.Writer) error {
	defer h.close()
	if _, err := w.Write(h.buf.Bytes()); err != nil {
		return err
	}
	if h.file == nil {
		return nil
	}
	if _, err := h.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read a held result: %w", err)
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{h.file}, make([]byte, wireChunk))
	return err
}

// close forgets what is held.
func (h *hold) close() {
	h.buf = bytes.Buffer{}
	h.size = 0
	if h.file != nil {
		h.file.Close()
		h.file = nil
	}
}
