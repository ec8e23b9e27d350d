// Package action removes the rows from sensor readings whose value is not a finite number.
package action

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"anacostia/guest"
)

const header = "sensor,value"

var decimal = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)

type counts struct {
	kept, dropped int
}

// Run is the function that the host calls.
func Run() (guest.Outcome, error) {
	from, to := guest.Param("from", "readings"), guest.Param("to", "clean")
	files, err := guest.Inputs(from)
	if err != nil {
		return guest.Outcome{}, err
	}
	if len(files) == 0 {
		return guest.Skip("no inputs in %s", from), nil
	}

	var rows counts
	for _, file := range files {
		if err := clean(file, to, &rows); err != nil {
			return guest.Outcome{}, err
		}
	}

	metrics := map[string]float64{"rows_kept": float64(rows.kept), "rows_dropped": float64(rows.dropped)}
	if err := guest.LogMetrics(metrics); err != nil {
		return guest.Outcome{}, err
	}
	return guest.Done("kept %d rows of %d files, dropped %d", rows.kept, len(files), rows.dropped), nil
}

// clean writes the rows that are kept to the same path.
func clean(file guest.Artifact, to string, rows *counts) error {
	output, err := guest.Create(to, file.Path)
	if err != nil {
		return err
	}
	number := 0
	for line, err := range guest.Lines(file) {
		if err != nil {
			return err
		}
		number++
		switch {
		case number == 1:
			if line != header {
				return wrongHeader(file, line)
			}
			fmt.Fprintln(output, header)
		case line == "":
		default:
			if _, value, _ := strings.Cut(line, ","); isFinite(value) {
				rows.kept++
				fmt.Fprintln(output, line)
			} else {
				rows.dropped++
				drop(file, number, value)
			}
		}
	}
	if number == 0 {
		return wrongHeader(file, "")
	}
	_, err = output.Finish()
	return err
}

func wrongHeader(file guest.Artifact, line string) error {
	return guest.Errorf("invalid", "%s begins with \"%s\", not with \"%s\"", file.Path, line, header)
}

func drop(file guest.Artifact, line int, value string) {
	message := fmt.Sprintf("dropped line %d of %s: \"%s\" is not a finite number", line, file.Path, value)
	guest.Warn(message, "path", file.Path, "line", line)
}

func isFinite(text string) bool {
	if !decimal.MatchString(text) {
		return false
	}
	_, err := strconv.ParseFloat(text, 64) // an error when it is too large
	return err == nil
}
