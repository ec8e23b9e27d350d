// Package decider fires once `least` artifacts are new. With the param `of`, it asks for those of
// that resource, and with `fails` it panics.
package decider

import (
	"anacostia/guest"
	"anacostia/imports/anacostia_pipeline_trigger_context"
)

// Decide is the function that the host calls.
func Decide() (guest.Decision, error) {
	info := anacostia_pipeline_trigger_context.Info()
	guest.Info("asked", "trigger", info.Trigger)
	resources := info.Resources
	if of := guest.Param("of", ""); of != "" {
		resources = []string{of}
	}
	if guest.Param("fails", "") != "" {
		panic("no idea")
	}
	least, _ := guest.Params()["least"].(float64)
	count := uint64(0)
	for _, resource := range resources {
		fresh, err := guest.CountNew(resource)
		if err != nil {
			return guest.Decision{}, err
		}
		count += fresh.Count
	}
	if float64(count) < least {
		return guest.Skip("%d of %g", count, least), nil
	}
	return guest.Fire("%d are enough", count), nil
}
