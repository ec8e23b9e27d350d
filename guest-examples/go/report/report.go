// Package action writes a report on sensor readings: a table with the number of values and the mean
// for each sensor.
package action

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"anacostia/guest"
)

const (
	header = "sensor,value"
	report = "report-go.md"
)

type sensor struct {
	count int
	sum   float64
}

// Run is the function that the host calls.
func Run() (guest.Outcome, error) {
	from, to := guest.Param("from", "clean"), guest.Param("to", "reports")
	files, err := guest.Inputs(from)
	if err != nil {
		return guest.Outcome{}, err
	}

	sensors, values := map[string]*sensor{}, 0
	for _, file := range files {
		count, err := add(sensors, file)
		if err != nil {
			return guest.Outcome{}, err
		}
		values += count
	}
	if values == 0 {
		return guest.Skip("no values in %s", from), nil
	}

	if err := write(sensors, to); err != nil {
		return guest.Outcome{}, err
	}
	guest.Info(fmt.Sprintf("%s has %d sensors, %d values", report, len(sensors), values))
	return guest.Done("%d sensors, %d values", len(sensors), values), nil
}

func write(sensors map[string]*sensor, to string) error {
	output, err := guest.Create(to, report)
	if err != nil {
		return err
	}
	fmt.Fprint(output, "# Sensors\n\n| sensor | count | mean |\n|---|---:|---:|\n")
	for _, name := range slices.Sorted(maps.Keys(sensors)) {
		sensor := sensors[name]
		fmt.Fprintf(output, "| %s | %d | %.3f |\n", name, sensor.count, sensor.sum/float64(sensor.count))
	}
	written, err := output.Finish()
	if err != nil {
		return err
	}
	return guest.Tag(written, "report")
}

// add adds the values of one file, and returns their number.
func add(sensors map[string]*sensor, file guest.Artifact) (int, error) {
	number, values := 0, 0
	for line, err := range guest.Lines(file) {
		if err != nil {
			return 0, err
		}
		number++
		if number == 1 && line != header {
			return 0, wrongHeader(file, line)
		}
		if number == 1 || line == "" {
			continue
		}
		name, text, _ := strings.Cut(line, ",")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, fmt.Errorf("line %d of %s: %w", number, file.Path, err)
		}
		if sensors[name] == nil {
			sensors[name] = &sensor{}
		}
		sensors[name].count++
		sensors[name].sum += value
		values++
	}
	if number == 0 {
		return 0, wrongHeader(file, "")
	}
	return values, nil
}

func wrongHeader(file guest.Artifact, line string) error {
	return guest.Errorf("invalid", "%s begins with \"%s\", not with \"%s\"", file.Path, line, header)
}
