//! A folder of files.
#[derive(Debug)]
pub struct Folder;
impl Folder {
    pub fn new(_: &str, _: &crate::manifest::FolderSpec, _: bool) -> super::Result<Self> {
        Ok(Self)
    }
}
#[async_trait::async_trait]
impl super::Resource for Folder {
    fn name(&self) -> &str {
        ""
    }
    fn capabilities(&self) -> super::Capabilities {
        std::process::exit(1)
    }
    async fn watch(
        self: std::sync::Arc<Self>,
        _: Vec<crate::model::KnownPath>,
        _: std::sync::Arc<dyn super::ObservationSink>,
        _: tokio_util::sync::CancellationToken,
    ) -> super::Result<()> {
        Ok(())
    }
    async fn open(&self, _: &super::Content) -> super::Result<Box<dyn super::Reader>> {
        std::process::exit(1)
    }
    async fn create(
        &self,
        _: crate::base::AttemptId,
        _: crate::base::ArtifactId,
        _: &str,
        _: bool,
    ) -> super::Result<Box<dyn super::Writer>> {
        std::process::exit(1)
    }
    async fn publish(&self, _: crate::base::AttemptId, _: &crate::model::StagedFile) -> super::Result<()> {
        std::process::exit(1)
    }
    async fn sweep(&self, _: &[crate::base::AttemptId]) -> super::Result<u64> {
        Ok(0)
    }
    async fn discard(&self, _: crate::base::AttemptId) -> super::Result<()> {
        Ok(())
    }
}
