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

// chunkBytes is how much is moved at once: large enough that the calls cost nothing beside the
// bytes. At most 8 MiB.
const chunkBytes = 1 << 20

type reader struct {
	host   *anacostia_pipeline_resources.Reader
	offset uint64
}

// Open reads the content of an artifact, which may be larger than memory.
func Open(artifact Artifact) (io.ReadCloser, error) {
	host, err := unwrap(anacostia_pipeline_resources.Open(artifact.Id))
	if err != nil {
		return nil, err
	}
	return &reader{host: host}, nil
}

func (r *reader) Read(into []byte) (int, error) {
	// Room for the chunk is made while the host hands it over, and an action may call nobody then: but
	// a collection that starts or ends there asks for the time. So none is under way, and none starts;
	// what it would have done is done at the next allocation after this.
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

// Lines are the lines of an artifact, without what ends them. It may be larger than memory; a line
// may not. An error is the last that comes.
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
			// Text that goes to the host must be UTF-8, or the action is stopped without a word that helps.
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

// Create begins an artifact. A path that exists gets its next version.
func Create(resource, path string) (*Writer, error) {
	options := anacostia_pipeline_resources.CreateOptions{Overwrite: true}
	host, err := unwrap(anacostia_pipeline_resources.Create(resource, path, options))
	if err != nil {
		return nil, err
	}
	return &Writer{bufio.NewWriterSize(sink{host}, chunkBytes), host}, nil
}

// Finish writes what is left, and completes the artifact. It is published when the attempt has
// succeeded.
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
