// Package action fails in the way that its param `how` names.
package action

import (
	"errors"
	"fmt"
	"os"

	"anacostia/guest"
)

// Run is the function that the host calls.
func Run() (guest.Outcome, error) {
	switch how := guest.Param("how", ""); how {
	case "index":
		return guest.Done("%d", pick([]int{1, 2, 3}, len(how)-2)), nil
	case "panic":
		panic(fmt.Errorf("what was not \xff expected"))
	case "deadlock":
		select {}
	case "exit":
		fmt.Fprintln(os.Stderr, "this cannot go on")
		os.Exit(3)
	case "wrapped":
		_, err := guest.Inputs("nowhere")
		return guest.Outcome{}, fmt.Errorf("while looking around: %w", err)
	case "joined":
		return guest.Outcome{}, errors.Join(errors.New("one thing"), errors.New("another"))
	case "memory":
		return memory()
	}
	return guest.Outcome{}, guest.Errorf("invalid", "there is no way to break")
}

// OnFailure is a hook.
func OnFailure(failure guest.Failure) error {
	guest.Info("heard of a failure", "code", failure.Code)
	return nil
}

func pick(numbers []int, at int) int { return numbers[at] }

// memory reads all inputs again and again: memory of earlier reads must be freed.
func memory() (guest.Outcome, error) {
	files, err := guest.Inputs("raw")
	if err != nil {
		return guest.Outcome{}, err
	}
	lines := 0
	for range 20 {
		for _, file := range files {
			for _, err := range guest.Lines(file) {
				if err != nil {
					return guest.Outcome{}, err
				}
				lines++
			}
		}
	}
	return guest.Done("%d lines", lines), nil
}
