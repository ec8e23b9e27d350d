// Package action counts the rows of each CSV file that arrived, and computes the mean of one of its
// columns.
package action

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"anacostia/guest"
)

// Run is what the host calls.
func Run() (guest.Outcome, error) {
	column := guest.Param("column", "value")
	files, err := guest.Inputs("readings")
	if err != nil {
		return guest.Outcome{}, err
	}

	rows, total := 0, 0.0
	for _, file := range files {
		count, sum, err := sumUp(file, column)
		if err != nil {
			return guest.Outcome{}, err
		}
		guest.Info("summed up", "file", file.Path, "rows", count)
		if count > 0 {
			if err := write(file, count, sum/float64(count)); err != nil {
				return guest.Outcome{}, err
			}
		}
		rows += count
		total += sum
	}
	if rows == 0 {
		return guest.Skip("no rows"), nil
	}

	mean := total / float64(rows)
	if err := guest.LogMetrics(map[string]float64{"rows": float64(rows), "mean": mean}); err != nil {
		return guest.Outcome{}, err
	}
	return guest.Done("%d rows, mean %.3f", rows, mean), nil
}

// sumUp reads a file line by line: it may be larger than memory.
func sumUp(file guest.Artifact, column string) (count int, sum float64, err error) {
	place, number := -1, 0
	for line, err := range guest.Lines(file) {
		if err != nil {
			return 0, 0, err
		}
		number++
		fields := strings.Split(line, ",")
		if number == 1 {
			place = slices.Index(fields, column)
			if place < 0 {
				return 0, 0, guest.Errorf("failed", "%s has no column `%s`", file.Path, column)
			}
			continue
		}
		if line == "" {
			continue
		}
		if place >= len(fields) {
			return 0, 0, guest.Errorf("failed", "line %d of %s has no column `%s`", number, file.Path, column)
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(fields[place]), 64)
		if err != nil {
			return 0, 0, fmt.Errorf("line %d of %s: %w", number, file.Path, err)
		}
		count++
		sum += value
	}
	return count, sum, nil
}

func write(file guest.Artifact, count int, mean float64) error {
	writer, err := guest.Create("summaries", file.Path+".json")
	if err != nil {
		return err
	}
	fmt.Fprintf(writer, "{\"rows\": %d, \"mean\": %.3f}\n", count, mean)
	_, err = writer.Finish()
	return err
}
