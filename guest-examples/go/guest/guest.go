// Package guest has small helpers for Anacostia actions in Go.
//
// Nothing here is needed: the functions of the host are in anacostia/imports/anacostia_pipeline_…,
// which are made from wit/pipeline.wit, and everything is described there. It is here because data
// moves in chunks, and Go has io.Reader and io.Writer for that.
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

// Artifact is one version of one thing in a resource.
type Artifact = anacostia_pipeline_types.Artifact

// Outcome is how an action ended well: Done or Skip.
type Outcome = anacostia_pipeline_types.Outcome

// Failure is an error as the host has it on record: what OnFailure is told.
type Failure = anacostia_pipeline_types.Error

// Done says that the work is done; the text is shown beside the action.
func Done(format string, values ...any) Outcome {
	return anacostia_pipeline_types.MakeOutcomeDone(wit_types.Some(fmt.Sprintf(format, values...)))
}

// Skip says that there was nothing worth doing: the action has succeeded, and those after it are
// skipped.
func Skip(format string, values ...any) Outcome {
	return anacostia_pipeline_types.MakeOutcomeSkip(fmt.Sprintf(format, values...))
}

// Error is what an action returns when it cannot do its work, and what calls of the host fail
// with. Any other error an action returns is on record with the code "failed".
type Error struct {
	Code      string // a word to branch on, such as "invalid"
	Message   string
	Retryable bool // whether another try may succeed
}

func (e *Error) Error() string { return e.Message }

// Failure is the error as the host takes it.
func (e *Error) Failure() Failure {
	return Failure{Code: e.Code, Message: e.Message, Retryable: e.Retryable}
}

// Errorf makes an error that is final.
func Errorf(code, format string, values ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, values...)}
}

// unwrap makes Go's two results of the host's one.
func unwrap[T any](result wit_types.Result[T, Failure]) (T, error) {
	if result.IsErr() {
		failure := result.Err()
		var nothing T
		return nothing, &Error{failure.Code, failure.Message, failure.Retryable}
	}
	return result.Ok(), nil
}

// Params are the params of this action in this run.
func Params() map[string]any {
	var params map[string]any
	if err := json.Unmarshal([]byte(anacostia_pipeline_run_context.Params()), &params); err != nil {
		panic(err) // the host made them
	}
	return params
}

// Param is a param that is a string, or otherwise where it is absent.
func Param(name, otherwise string) string {
	if text, ok := Params()[name].(string); ok {
		return text
	}
	return otherwise
}

// Info logs what is going on. What follows the message are names and values that belong to it, in
// turn.
func Info(message string, fields ...any) { write(anacostia_pipeline_log.Level_Info, message, fields) }

// Warn logs something that is odd, and does not stop the work.
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

// LogParam records a param that the action chose itself.
func LogParam(name, value string) error {
	_, err := unwrap(anacostia_pipeline_metadata.LogParams([]anacostia_pipeline_metadata.Entry{{Name: name, Value: value}}))
	return err
}

// Tag puts a tag on an artifact when the attempt publishes.
func Tag(artifact Artifact, tag string) error {
	_, err := unwrap(anacostia_pipeline_metadata.TagArtifact(artifact.Id, tag, false))
	return err
}

// Inputs are what this action is to work on in a resource, sorted by path.
func Inputs(resource string) ([]Artifact, error) {
	return unwrap(anacostia_pipeline_resources.Inputs(resource))
}
