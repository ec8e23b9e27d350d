//! Makes outputs visible.
//!
//! Each request says what may be at the key: nothing, or the object that the output is to replace.
//! So the service refuses the request if another writer was faster. A repeated request does no
//! harm, because the object that is then at the key names its artifact. Once the service has
//! answered, a note beside the staged file says so, and no later try looks at the bucket again:
//! others may have moved or replaced the object since.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore as _, PutMode, PutOptions, UpdateVersion};

use super::client::{Answer, Condition, attributes, quoted, unquoted};
use super::{Bucket, errors, staged, upload};
use crate::base::{bounds, fault};
use crate::model::StagedFile;
use crate::resource::{Result, noted};

/// How often to look again after someone else's object was found at the key.
const MAX_TRIES: usize = 16;

/// Does what can be done before the commit point: notes what the file is to replace, and uploads a
/// large file, so that only one short request is left for afterwards.
pub(super) async fn prepare(bucket: &Bucket, file: &mut StagedFile) -> Result<()> {
    let (key, about) = (bucket.key(&file.path)?, bucket.about(&file.path));
    if file.overwrite {
        let there = bucket.client.head(&key).await.map_err(|error| errors::failed(about, "look at", &error))?;
        file.replaces = there.map(|object| object.etag);
    } else if let Some(only) = &file.replaces {
        let there = bucket.client.head(&key).await.map_err(|error| errors::failed(about, "look at", &error))?;
        if there.is_some_and(|object| object.etag != *only) {
            return Err(about.exists());
        }
    }
    if upload::is_large(file) {
        upload::upload(bucket, &key, file).await?;
    }
    Ok(())
}

/// Makes one file visible, unless an earlier try has done so; see
/// [`crate::resource::Resource::publish`]. Returns its stamp.
pub(super) async fn publish(bucket: &Bucket, file: &StagedFile) -> Result<String> {
    let staged = bucket.spool.path().join(&file.staged);
    let failed = |error| bucket.about(&file.path).unavailable("publish", error);
    if let Some(etag) = noted::read(&staged).await.map_err(failed)? {
        return Ok(etag);
    }
    let etag = put_until_there(bucket, file).await?;
    match noted::write(&staged, etag.clone()).await {
        // The staged file is gone, so it cannot be published again.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        noted => noted.map_err(failed)?,
    }
    fault::point("s3.noted");
    Ok(etag)
}

/// Puts a file at its key, whatever is there. Returns its stamp.
async fn put_until_there(bucket: &Bucket, file: &StagedFile) -> Result<String> {
    let (key, about) = (bucket.key(&file.path)?, bucket.about(&file.path));
    let failed =
        |error: &object_store::Error| about.unavailable("publish", std::io::Error::other(errors::reason(error)));
    let mut condition = match &file.replaces {
        Some(etag) => Condition::Matches(etag.clone()),
        None => Condition::Absent,
    };
    for _ in 0..MAX_TRIES {
        fault::point("s3.before_put");
        match put(bucket, &key, file, &condition).await? {
            Ok(etag) => {
                fault::point("s3.put");
                return Ok(etag);
            }
            Err(object_store::Error::Precondition { .. } | object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(failed(&error)),
        }
        condition = match bucket.client.head(&key).await.map_err(|error| failed(&error))? {
            None => Condition::Absent,
            // An earlier request was carried out, and its answer was lost.
            Some(there) if there.artifact == Some(file.artifact_id.to_string()) => return Ok(there.etag),
            Some(there) => {
                // The output of another run may be replaced. Anything else belongs to someone else.
                if there.artifact.is_none() || !file.overwrite {
                    displace(bucket, &key, file).await.map_err(|error| failed(&error))?;
                }
                Condition::Matches(there.etag)
            }
        };
    }
    Err(about.unavailable("publish", std::io::Error::other("someone keeps putting another object there")))
}

/// Puts the file at its key, if what is there meets the condition. The outer error is one of the
/// spool, the inner one the answer of the service.
async fn put(bucket: &Bucket, key: &Path, file: &StagedFile, condition: &Condition) -> Result<Answer<String>> {
    if upload::is_large(file) {
        return upload::complete(bucket, key, file, condition).await;
    }
    let Some(content) = staged::read(bucket, file, 0, file.size).await? else {
        return already_published(bucket, key, file).await.map(Ok);
    };
    let mode = match condition {
        Condition::Absent => PutMode::Create,
        Condition::Matches(etag) => PutMode::Update(UpdateVersion { e_tag: Some(quoted(etag)), version: None }),
    };
    let options = PutOptions { mode, attributes: attributes(file.artifact_id), ..PutOptions::default() };
    let put = bucket.client.sending.put_opts(key, Bytes::from(content).into(), options).await;
    Ok(put.map(|done| unquoted(done.e_tag.as_deref())))
}

/// Handles a file that is not in the spool: it was published before, or the spool was lost.
async fn already_published(bucket: &Bucket, key: &Path, file: &StagedFile) -> Result<String> {
    let about = bucket.about(&file.path);
    let there = bucket.client.head(key).await.map_err(|error| errors::failed(about, "publish", &error))?;
    let ours = there.filter(|there| there.artifact == Some(file.artifact_id.to_string()));
    ours.map(|there| there.etag).ok_or_else(|| staged::lost(bucket, file))
}

/// Copies an object that someone put at the key since the commit, to a name that never counts, and
/// logs a warning.
async fn displace(bucket: &Bucket, key: &Path, file: &StagedFile) -> Answer<()> {
    let id = format!("{:08x}", fastrand::u32(..));
    let name = format!("{}.displaced-{id}~", bounds::cut(key.as_ref(), 1_000));
    bucket.client.copy(key, &Path::parse(&name)?).await?;
    tracing::warn!(
        resource = file.resource,
        path = file.path,
        aside = name,
        "an object at the key of an output was copied to another name"
    );
    Ok(())
}
