//! The XML of the requests that this kind sends itself. Source:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html>

use std::fmt::Write as _;

use serde::Deserialize;

/// A page of a listing (`ListObjectsV2`).
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listing {
    /// The objects, by key.
    #[serde(default)]
    pub(super) contents: Vec<Listed>,
    /// Whether there are more. Mandatory, so that no other document is taken for an empty listing.
    pub(super) is_truncated: bool,
    /// The key that was asked for, which some services do not repeat.
    pub(super) start_after: Option<String>,
    /// The prefix that was asked for.
    pub(super) prefix: Option<String>,
}

/// An object of a listing.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    /// The key.
    pub(super) key: String,
    /// The entity tag, with quotes.
    #[serde(rename = "ETag", default)]
    pub(super) etag: String,
    /// The size in bytes.
    pub(super) size: u64,
}

/// Parses the answer to `ListObjectsV2`.
pub(super) fn listing(text: &str) -> Result<Listing, String> {
    let mut listing: Listing = parse(text)?;
    listing.prefix.get_or_insert_default();
    Ok(listing)
}

/// Parses the answer to `ListMultipartUploads`; returns the ids of the uploads to `key`.
pub(super) fn uploads(text: &str, key: &str) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Upload {
        key: String,
        upload_id: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Uploads {
        #[serde(default)]
        upload: Vec<Upload>,
    }
    let uploads: Uploads = parse(text)?;
    Ok(uploads.upload.into_iter().filter(|upload| upload.key == key).map(|upload| upload.upload_id).collect())
}

/// Parses the answer to `CompleteMultipartUpload`; returns the entity tag. The answer may be an
/// error, although its status is 200.
pub(super) fn completed(text: &str) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Completed {
        #[serde(rename = "ETag")]
        etag: Option<String>,
    }
    if let Some(error) = error(text) {
        return Err(error);
    }
    let completed: Completed = parse(text)?;
    completed
        .etag
        .map(|etag| etag.trim_matches('"').to_owned())
        .ok_or_else(|| "it does not say what it has stored".to_owned())
}

/// Returns what an error of the service says, if `text` is one.
pub(super) fn error(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Refusal {
        code: String,
        #[serde(default)]
        message: String,
    }
    let Refusal { code, message } = quick_xml::de::from_str(text).ok()?;
    Some(if message.is_empty() { code } else { format!("{code}: {message}") })
}

/// Returns the body of `CompleteMultipartUpload`.
pub(super) fn parts(etags: &[String]) -> String {
    let mut body = "<CompleteMultipartUpload>".to_owned();
    for (number, etag) in (1..).zip(etags) {
        let etag = quick_xml::escape::escape(etag);
        // Writing to a string cannot fail.
        let _ = write!(body, "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    body + "</CompleteMultipartUpload>"
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    quick_xml::de::from_str(text).map_err(|error| format!("its answer cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_has_keys_as_they_are() {
        let text = r#"<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
            <Name>b</Name><Prefix>a/</Prefix><StartAfter>a/0</StartAfter><IsTruncated>true</IsTruncated>
            <Contents><Key>a/b &amp; c//d&#x1;</Key><ETag>&quot;12&quot;</ETag><Size>7</Size><StorageClass>S</StorageClass></Contents>
            </ListBucketResult>"#;
        let listing = listing(text).unwrap();
        assert_eq!(listing.contents, [Listed { key: "a/b & c//d\u{1}".into(), etag: "\"12\"".into(), size: 7 }]);
        assert!(listing.is_truncated);
        assert_eq!((listing.prefix.as_deref(), listing.start_after.as_deref()), (Some("a/"), Some("a/0")));
    }

    #[test]
    fn an_answer_that_is_an_error_is_one_whatever_its_status() {
        let text = "<Error><Code>InternalError</Code><Message>try again</Message></Error>";
        assert_eq!(completed(text), Err("InternalError: try again".to_owned()));
        assert_eq!(
            completed("<CompleteMultipartUploadResult><ETag>\"x-2\"</ETag></CompleteMultipartUploadResult>"),
            Ok("x-2".to_owned())
        );
        assert_eq!(error("<html>"), None);
        assert!(listing(text).is_err(), "an error is not an empty listing");
    }

    #[test]
    fn uploads_to_other_keys_are_left_out() {
        let text = "<ListMultipartUploadsResult><Upload><Key>a</Key><UploadId>1</UploadId></Upload>\
            <Upload><Key>ab</Key><UploadId>2</UploadId></Upload></ListMultipartUploadsResult>";
        assert_eq!(uploads(text, "a").unwrap(), ["1"]);
    }

    #[test]
    fn the_parts_of_an_upload_are_numbered_from_one() {
        let body = parts(&["\"a\"".to_owned(), "b".to_owned()]);
        assert!(body.contains("<Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag></Part>"), "{body}");
        assert!(body.contains("<PartNumber>2</PartNumber><ETag>b</ETag>"), "{body}");
    }
}
