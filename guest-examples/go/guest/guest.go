// Package guest has small helpers for Anacostia actions in Go.
//
// The package is optional. The functions of the host are in
// anacostia/imports/anacostia_pipeline_…, which are generated from wit/pipeline.wit and documented
// there. The helpers exist because data is passed in chunks, for which Go has io.Reader and
// io.Writer.
package guest

import (
	"encoding/json"
	"fmt"
	"sort"

	"anacostia/imports/anacostia_pipeline_log"
	"anacostia/imports/anacostia_pipeline_metadata"
	"anacostia/imports/anacostia_pipeline_resources"
	"anacostia/imports/anacostia_pipeline_run_context"
	"anacostia/imports/anacostia_pipeline_types"

	"go.bytecodealliance.org/pkg/wit/types"
)

// Artifact is one version of one file in a resource.
type Artifact = anacostia_pipeline_types.Artifact

// Outcome says how a successful action ended: Done or Skip.
type Outcome = anacostia_pipeline_types.Outcome

// Failure is an error as the host has recorded it. OnFailure receives one.
type Failure = anacostia_pipeline_types.Error

// Done returns the outcome of completed work. The host displays the text beside the action.
func Done(format string, values ...any) Outcome {
	return anacostia_pipeline_types.MakeOutcomeDone(wit_types.Some(fmt.Sprintf(format, values...)))
}

// Skip returns the outcome of an action that had nothing worth doing: the action counts as
// succeeded, and the actions after it are skipped.
func Skip(format string, values ...any) Outcome {
	return anacostia_pipeline_types.MakeOutcomeSkip(fmt.Sprintf(format, values...))
}

// Error is what an action returns when it cannot do its work, and what calls to the host fail with.
// The host records any other error that an action returns with the code "failed".
type Error struct {
	Code      string // the reason, as a word to branch on, such as "invalid"
	Message   string
	Retryable bool // whether another attempt may succeed
}

func (e *Error) Error() string { return e.Message }

// Failure converts the error to the host's type.
func (e *Error) Failure() Failure {
	return Failure{Code: e.Code, Message: e.Message, Retryable: e.Retryable}
}

// Errorf returns an error that is final: the host does not try again.
func Errorf(code, format string, values ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, values...)}
}

// unwrap converts a result of the host to a value and an error.
func unwrap[T any](result wit_types.Result[T, Failure]) (T, error) {
	if result.IsErr() {
		failure := result.Err()
		var nothing T
		return nothing, &Error{failure.Code, failure.Message, failure.Retryable}
	}
	return result.Ok(), nil
}

// Params returns the params of this action in this run.
func Params() map[string]any {
	var params map[string]any
	if err := json.Unmarshal([]byte(anacostia_pipeline_run_context.Params()), &params); err != nil {
		panic(err) // cannot happen: the host made the JSON
	}
	return params
}

// Param returns a param that is a string, or otherwise if it is absent or not a string.
func Param(name, otherwise string) string {
	if text, ok := Params()[name].(string); ok {
		return text
	}
	return otherwise
}

// Info logs what is going on. After the message come the fields of the line: names and values in
// turn.
func Info(message string, fields ...any) { write(anacostia_pipeline_log.Level_Info, message, fields) }

// Warn logs something unexpected that does not stop the work.
func Warn(message string, fields ...any) { write(anacostia_pipeline_log.Level_Warn, message, fields) }

func write(level anacostia_pipeline_log.Level, message string, fields []any) {
	var pairs []wit_types.Tuple2[string, string]
	for at := 0; at+1 < len(fields); at += 2 {
		pairs = append(pairs, wit_types.Tuple2[string, string]{F0: fmt.Sprint(fields[at]), F1: fmt.Sprint(fields[at+1])})
	}
	anacostia_pipeline_log.Log(level, message, pairs)
}

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
