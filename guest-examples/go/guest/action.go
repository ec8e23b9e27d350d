//go:build !trigger

package guest

import (
	"fmt"
	"sort"

	"anacostia/imports/anacostia_pipeline_metadata"
	"anacostia/imports/anacostia_pipeline_resources"
	"anacostia/imports/anacostia_pipeline_run_context"
	"anacostia/imports/anacostia_pipeline_types"

	"go.bytecodealliance.org/pkg/wit/types"
)

// Outcome says how a successful action ended: Done or Skip.
type Outcome = anacostia_pipeline_types.Outcome

// Done returns the outcome of completed work. The host displays the text beside the action.
func Done(format string, values ...any) Outcome {
	return anacostia_pipeline_types.MakeOutcomeDone(wit_types.Some(fmt.Sprintf(format, values...)))
}

// Skip returns the outcome of an action that had nothing worth doing: the action counts as
// succeeded, and the actions after it are skipped.
func Skip(format string, values ...any) Outcome {
	return anacostia_pipeline_types.MakeOutcomeSkip(fmt.Sprintf(format, values...))
}

func paramsText() string { return anacostia_pipeline_run_context.Params() }

// LogMetrics records metrics of this attempt.
func LogMetrics(metrics map[string]float64) error {
	list := make([]anacostia_pipeline_metadata.Metric, 0, len(metrics))
	for name, value := range metrics {
		list = append(list, anacostia_pipeline_metadata.Metric{Name: name, Value: value, Step: wit_types.None[uint64]()})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	_, err := unwrap(anacostia_pipeline_metadata.LogMetrics(list))
	return err
}

// LogParam records a param that the action has chosen itself.
func LogParam(name, value string) error {
	_, err := unwrap(anacostia_pipeline_metadata.LogParams([]anacostia_pipeline_metadata.Entry{{Name: name, Value: value}}))
	return err
}

// Tag adds a tag to an artifact. The tag takes effect when the attempt publishes.
func Tag(artifact Artifact, tag string) error {
	_, err := unwrap(anacostia_pipeline_metadata.TagArtifact(artifact.Id, tag, false))
	return err
}

// Inputs returns the artifacts in a resource that this action is to process, sorted by path.
func Inputs(resource string) ([]Artifact, error) {
	return unwrap(anacostia_pipeline_resources.Inputs(resource))
}
