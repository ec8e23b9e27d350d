//! Floor 0: basic types that do not depend on pipelines.
//!
//! Small value types with their text forms ([`Digest`], [`ByteSize`], [`Endpoint`], [`Timestamp`],
//! the ids), bounds that several modules use ([`bounds`]), the identity of a file version
//! ([`filestamp`]), the reading of forms and queries ([`read_form`]), and the fault points at which
//! tests kill the process ([`fault`]).

pub mod bounds;
mod cause;
mod clock;
mod digest;
pub mod double;
mod endpoint;
mod escape;
pub mod fault;
pub mod filestamp;
mod form;
mod freed;
mod id;
pub mod memory;
mod name;
mod numbers;
mod panicked;
pub mod postgres;
pub mod proxy;
mod schedule;
mod size;
mod span;
pub mod tls;
mod when;

pub use cause::innermost;
pub use clock::{Clock, Moment, Now, SystemClock, Timestamp};
pub use digest::{Digest, DigestError, Hasher};
pub use endpoint::{DEFAULT_PORT, Endpoint, EndpointError, Host};
pub use escape::{escape, misleads};
pub use form::{read_form, read_query};
pub use freed::Freed;
pub use id::{ArtifactId, AttemptId, IdError, NotificationId, RunId, WriteId};
pub use name::{NameError, check_name};
pub use numbers::{first_beyond_64_bits, is_beyond_64_bits, is_large_integer};
pub use panicked::panicked;
pub use schedule::{Schedule, ScheduleError};
pub use size::{ByteSize, SizeError};
pub use span::{SpanError, TimeSpan};
pub use when::{When, WhenError};
