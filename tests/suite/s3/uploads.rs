//! Outputs that go up in parts, while each kind of request of an upload meets each fault.

use std::time::Duration;

use super::over_each_service;
use super::pipeline::{Copying, LARGE};
use crate::support::proxy::Fault;
use crate::support::s3::Service;
use crate::support::wait::wait_until;

over_each_service!(
    an_upload_that_cannot_begin_at_once_is_published_once,
    an_upload_whose_parts_meet_faults_is_published_once,
    an_upload_whose_completion_meets_faults_is_published_once,
);

/// Copies a large object for each fault, which applies to so many requests of its upload: those
/// with this method and this beginning of their query. Checks after each that nothing is lost or
/// doubled.
async fn survive(service: Service, method: &str, query: &str, faults: &[(u32, Fault)]) -> Copying {
    let mut copying = Copying::new(service).await;
    copying.app.start();
    for (number, (count, fault)) in faults.iter().enumerate() {
        let name = format!("{number}.bin");
        let (struck, refused) = (copying.proxy.struck(), refusals(&copying));
        copying.proxy.next(*count, &format!("{method} /{}/out/{name}?{query}", copying.bucket.name), fault.clone());
        copying.put(&name, LARGE).await;
        wait_until(&format!("{fault:?} to strike"), || copying.proxy.struck() > struck);
        if matches!(fault, Fault::Refuse) {
            wait_until("the host to be refused", || refusals(&copying) > refused);
            copying.proxy.heal();
        }
        copying.check().await;
        copying.proxy.heal();
    }
    copying.check_secrets();
    copying
}

/// Returns how often the watch of the bucket has found that connections are refused.
fn refusals(copying: &Copying) -> usize {
    copying.app.said().matches("raw cannot be reached: Connection refused").count()
}

async fn an_upload_that_cannot_begin_at_once_is_published_once(service: Service) {
    let faults = [
        // More often than the host asks within one attempt.
        (4, Fault::status(500)),
        (1, Fault::retry_after(503, 1)),
        (1, Fault::Late(Duration::from_millis(300))),
        (1, Fault::Refuse),
        (1, Fault::TruncateAfter(20)),
        (1, Fault::ResetAfter(20)),
        (1, Fault::LoseAnswer),
    ];
    let copying = survive(service, "POST", "uploads=", &faults).await;
    // Their ids have not arrived: each could be someone else's.
    let lost = faults
        .iter()
        .filter(|(_, fault)| matches!(fault, Fault::TruncateAfter(_) | Fault::ResetAfter(_) | Fault::LoseAnswer));
    assert_eq!(copying.bucket.uploads().await.len(), lost.count(), "uploads are left behind");
    copying.app.wait_to_say("the service did not return the id of an upload, so it is started again");
}

async fn an_upload_whose_parts_meet_faults_is_published_once(service: Service) {
    let faults = [
        // More often than the library repeats a request.
        (5, Fault::status(500)),
        (1, Fault::retry_after(503, 1)),
        (1, Fault::ResetRequestAfter(1 << 20)),
        (1, Fault::Late(Duration::from_millis(300))),
        (1, Fault::Refuse),
        (1, Fault::LoseAnswer),
    ];
    let copying = survive(service, "PUT", "partNumber=1&", &faults).await;
    assert_eq!(copying.bucket.uploads().await, [""; 0], "what an attempt has not completed is aborted");
}

async fn an_upload_whose_completion_meets_faults_is_published_once(service: Service) {
    let faults = [
        (1, Fault::status(500)),
        (1, Fault::retry_after(503, 1)),
        // The service begins to answer before it has done the work.
        (1, Fault::status(200)),
        (1, Fault::Slow(16, Duration::from_millis(20))),
        (1, Fault::Refuse),
        (1, Fault::TruncateAfter(20)),
        (1, Fault::ResetAfter(20)),
        (1, Fault::LoseAnswer),
    ];
    let copying = survive(service, "POST", "uploadId=", &faults).await;
    assert_eq!(copying.bucket.uploads().await, [""; 0]);
}
