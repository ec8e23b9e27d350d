//go:build !trigger

package guest

import (
	"bufio"
	"errors"
	"io"
	"iter"
	"runtime/debug"
	"strings"
	"unicode/utf8"

	"anacostia/imports/anacostia_pipeline_resources"
)

// chunkBytes is how much one call to the host transfers: large enough that the overhead of the call
// is negligible. At most 8 MiB.
const chunkBytes = 1 << 20

type reader struct {
	host   *anacostia_pipeline_resources.Reader
	offset uint64
}

// Open returns a reader of the content of an artifact, which may be larger than memory.
func Open(artifact Artifact) (io.ReadCloser, error) {
	host, err := unwrap(anacostia_pipeline_resources.Open(artifact.Id))
	if err != nil {
		return nil, err
	}
	return &reader{host: host}, nil
}

func (r *reader) Read(into []byte) (int, error) {
	// The guest allocates memory for the chunk while the host passes it, and must not call the host
	// then. But a garbage collection that starts or ends asks the host for the time. Disabling
	// collection waits for one in progress and prevents new ones; the next allocation catches up.
	percent := debug.SetGCPercent(-1)
	chunk, err := unwrap(r.host.Read(r.offset, uint32(min(len(into), chunkBytes))))
	debug.SetGCPercent(percent)
	if err != nil {
		return 0, err
	}
	if len(chunk) == 0 && len(into) > 0 {
		return 0, io.EOF
	}
	r.offset += uint64(len(chunk))
	return copy(into, chunk), nil
}

func (r *reader) Close() error {
	r.host.Drop()
	return nil
}

// Lines returns the lines of an artifact, without line endings. The artifact may be larger than
// memory; a line may not. The sequence ends after an error.
func Lines(artifact Artifact) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		file, err := Open(artifact)
		if err != nil {
			yield("", err)
			return
		}
		defer file.Close()
		text := bufio.NewReaderSize(file, chunkBytes)
		for number := 1; ; number++ {
			line, err := text.ReadString('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				yield("", err)
				return
			}
			if err != nil && line == "" {
				return
			}
			// Text that is passed to the host must be UTF-8: otherwise the host stops the action, with a
			// message that does not name the file.
			if !utf8.ValidString(line) {
				yield("", Errorf("invalid", "%s is not text: line %d is not UTF-8", artifact.Path, number))
				return
			}
			if !yield(strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil) {
				return
			}
		}
	}
}

// Writer writes an artifact piece by piece.
type Writer struct {
	*bufio.Writer
	host *anacostia_pipeline_resources.Writer
}

// Create starts an artifact. If the path exists, the artifact becomes its next version.
func Create(resource, path string) (*Writer, error) {
	options := anacostia_pipeline_resources.CreateOptions{Overwrite: true}
	host, err := unwrap(anacostia_pipeline_resources.Create(resource, path, options))
	if err != nil {
		return nil, err
	}
	return &Writer{bufio.NewWriterSize(sink{host}, chunkBytes), host}, nil
}

// Finish writes the buffered rest, and completes the artifact. The host publishes it when the
// attempt has succeeded.
func (w *Writer) Finish() (Artifact, error) {
	if err := w.Flush(); err != nil {
		return Artifact{}, err
	}
	return unwrap(w.host.Finish())
}

type sink struct {
	host *anacostia_pipeline_resources.Writer
}

func (s sink) Write(bytes []byte) (int, error) {
	for at := 0; at < len(bytes); at += chunkBytes {
		if _, err := unwrap(s.host.Write(bytes[at:min(at+chunkBytes, len(bytes))])); err != nil {
			return at, err
		}
	}
	return len(bytes), nil
}
