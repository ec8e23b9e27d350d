// Removes the rows from CSV files whose value is not a finite number. This is an ordinary program,
// with nothing specific to Anacostia.
//
//	ingest-command FROM TO
//
// Writes every file below the folder FROM to the folder TO, under the same path and without those
// rows.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

const (
	header  = "sensor,value"
	metrics = "/out/metrics.jsonl"
)

var decimal = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)

type counts struct {
	files, kept, dropped int
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Println("usage: ingest-command FROM TO")
		os.Exit(2)
	}
	var rows counts
	if err := cleanAll(os.Args[1], os.Args[2], &rows); err != nil {
		log.Fatal(err)
	}
	if err := writeMetrics(rows); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("kept %d rows of %d files, dropped %d\n", rows.kept, rows.files, rows.dropped)
}

func cleanAll(from, to string, rows *counts) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		rows.files++
		return cleanFile(path, filepath.Join(to, relative), rows)
	})
}

func cleanFile(from, to string, rows *counts) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	output := bufio.NewWriter(target)
	err = clean(bufio.NewReader(source), output, from, rows)
	return errors.Join(err, output.Flush(), target.Close())
}

func clean(source *bufio.Reader, target io.Writer, name string, rows *counts) error {
	for number := 1; ; number++ {
		line, err := source.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		ended := err != nil
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		_, value, _ := strings.Cut(line, ",")
		switch {
		case number == 1 && line != header:
			return fmt.Errorf("%s begins with %q, not with %q", name, line, header)
		case line == "":
		case number == 1:
			fmt.Fprintln(target, line)
		case isFinite(value):
			rows.kept++
			fmt.Fprintln(target, line)
		default:
			rows.dropped++
			log.Printf("dropped line %d of %s: %q is not a finite number", number, name, value)
		}
		if ended {
			return nil
		}
	}
}

func isFinite(text string) bool {
	if !decimal.MatchString(text) {
		return false
	}
	_, err := strconv.ParseFloat(text, 64) // an error when it is too large
	return err == nil
}

// writeMetrics writes one JSON object per line, to a file where the host of this program may look
// for metrics.
func writeMetrics(rows counts) error {
	file, err := os.Create(metrics)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(file)
	for _, metric := range []struct {
		Name  string `json:"name"`
		Value int    `json:"value"`
	}{{"rows_kept", rows.kept}, {"rows_dropped", rows.dropped}} {
		if err := encoder.Encode(metric); err != nil {
			return err
		}
	}
	return file.Close()
}
