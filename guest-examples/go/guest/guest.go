// Package guest has small helpers for Anacostia actions and trigger components in Go. What only
// trigger components have is built with the tag `trigger`, and what only actions have without it.
//
// The package is optional. The functions of the host are in
// anacostia/imports/anacostia_pipeline_…, which are generated from the WIT and documented there.
// The helpers exist because data is passed in chunks, for which Go has io.Reader and io.Writer.
package guest

import (
	"encoding/json"
	"fmt"

	"anacostia/imports/anacostia_pipeline_log"
	"anacostia/imports/anacostia_pipeline_types"

	"go.bytecodealliance.org/pkg/wit/types"
)

// Artifact is one version of one file in a resource.
type Artifact = anacostia_pipeline_types.Artifact

// Failure is an error as the host has recorded it. OnFailure receives one.
type Failure = anacostia_pipeline_types.Error

// Error is what a guest returns when it cannot do its work, and what calls to the host fail with.
// The host records any other error that a guest returns with the code "failed".
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

// Params returns the params of this action in this run, or of this trigger component.
func Params() map[string]any {
	var params map[string]any
	if err := json.Unmarshal([]byte(paramsText()), &params); err != nil {
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
