// Package action records the mean, the minimum, the maximum and the number of the values in sensor
// readings.
package action

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"anacostia/guest"
)

const header = "sensor,value"

type summary struct {
	count                int
	sum, least, greatest float64
}

// Run is the function that the host calls.
func Run() (guest.Outcome, error) {
	from := guest.Param("from", "clean")
	files, err := guest.Inputs(from)
	if err != nil {
		return guest.Outcome{}, err
	}

	all := summary{least: math.Inf(1), greatest: math.Inf(-1)}
	for _, file := range files {
		if err := all.add(file); err != nil {
			return guest.Outcome{}, err
		}
	}
	if all.count == 0 {
		return guest.Skip("no values in %s", from), nil
	}

	mean := all.sum / float64(all.count)
	metrics := map[string]float64{"mean": mean, "min": all.least, "max": all.greatest, "count": float64(all.count)}
	if err := guest.LogMetrics(metrics); err != nil {
		return guest.Outcome{}, err
	}
	if err := guest.LogParam("language", "go"); err != nil {
		return guest.Outcome{}, err
	}
	guest.Info(fmt.Sprintf("mean %.3f of %d values in %d files", mean, all.count, len(files)))
	return guest.Done("mean %.3f of %d values", mean, all.count), nil
}

// add adds the values of one file.
func (s *summary) add(file guest.Artifact) error {
	number := 0
	for line, err := range guest.Lines(file) {
		if err != nil {
			return err
		}
		number++
		if number == 1 && line != header {
			return wrongHeader(file, line)
		}
		if number == 1 || line == "" {
			continue
		}
		_, text, _ := strings.Cut(line, ",")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("line %d of %s: %w", number, file.Path, err)
		}
		s.count++
		s.sum += value
		s.least, s.greatest = min(s.least, value), max(s.greatest, value)
	}
	if number == 0 {
		return wrongHeader(file, "")
	}
	return nil
}

func wrongHeader(file guest.Artifact, line string) error {
	return guest.Errorf("invalid", "%s begins with \"%s\", not with \"%s\"", file.Path, line, header)
}
