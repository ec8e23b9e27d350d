//go:build trigger

package guest

import (
	"fmt"
	"time"

	"anacostia/imports/anacostia_pipeline_decider"
	"anacostia/imports/anacostia_pipeline_trigger_context"

	"go.bytecodealliance.org/pkg/wit/types"
)

// Decision says whether a run starts: Fire, Skip or AskAgain.
type Decision = anacostia_pipeline_decider.Decision

// Fire returns the decision that a run may start, for this reason.
func Fire(format string, values ...any) Decision {
	return anacostia_pipeline_decider.MakeDecisionFire(fmt.Sprintf(format, values...))
}

// Skip returns the decision that no run starts, until something has changed.
func Skip(format string, values ...any) Decision {
	return skip(wit_types.None[uint64](), fmt.Sprintf(format, values...))
}

// AskAgain returns the decision that no run starts, and that the host asks again after this time,
// even if nothing has changed.
func AskAgain(after time.Duration, format string, values ...any) Decision {
	return skip(wit_types.Some(uint64(max(after.Milliseconds(), 0))), fmt.Sprintf(format, values...))
}

func skip(after wit_types.Option[uint64], reason string) Decision {
	return anacostia_pipeline_decider.MakeDecisionSkip(anacostia_pipeline_decider.Skipped{Reason: reason, AskAgainMs: after})
}

func paramsText() string { return anacostia_pipeline_trigger_context.Params() }

// CountNew counts the new artifacts of one of the trigger's resources.
func CountNew(resource string) (anacostia_pipeline_trigger_context.NewArtifacts, error) {
	return unwrap(anacostia_pipeline_trigger_context.CountNew(resource))
}
