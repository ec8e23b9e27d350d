//! Floor 5: running one component, within its grants and limits.

mod order;

pub use order::{AttemptOrder, AttemptReport, CANCEL_GRACE, MAX_DENIALS, Progress, Stop, StopSignal};
