//! Random operations: at the end, the record must be equal to what is on disk.
//!
//! Events refer to names, not to files. If a file with several names is written under a name that
//! is ignored, or that is gone by the time of the check, it changes under its other names without
//! an event. Only the next scan can find that. So such files are compared after a scan, and all
//! others before it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anacostia::base::Digest;

use super::recorder::{Records, Watched};

const STEPS: usize = 400;

fn disk(root: &Path) -> BTreeMap<String, Digest> {
    fn walk(root: &Path, at: &Path, found: &mut BTreeMap<String, Digest>) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let digest = Digest::of(&std::fs::read(&path).unwrap());
                found.insert(path.strip_prefix(root).unwrap().display().to_string(), digest);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found.retain(|path, _| counts(Path::new(path)));
    found
}

fn counts(path: &Path) -> bool {
    !path.iter().map(|part| part.to_string_lossy()).any(|part| part.starts_with('.') || part.ends_with('~'))
}

struct Chaos {
    random: fastrand::Rng,
    root: PathBuf,
    outside: PathBuf,
    /// Files that were written while they had several names: the names, by inode.
    shared: BTreeMap<u64, BTreeSet<PathBuf>>,
}

impl Chaos {
    /// Returns one of a small number of paths, so that operations often use the same path.
    fn path(&mut self) -> PathBuf {
        let part = |random: &mut fastrand::Rng| ["a", "b", "c", ".d", "e~"][random.usize(..5)];
        let mut path = self.root.clone();
        for _ in 0..self.random.usize(1..=3) {
            path.push(part(&mut self.random));
        }
        path
    }

    /// Performs one operation. Most operations fail because their preconditions do not hold; that
    /// is fine.
    fn step(&mut self, round: usize) {
        let (path, other) = (self.path(), self.path());
        let _ = match self.random.usize(..12) {
            0..=3 => self.write(&path, format!("{round}").into_bytes()),
            4 => {
                let bytes = vec![self.random.u8(..3); 300 << 10];
                self.write(&path, bytes)
            }
            5 => std::fs::remove_file(&path),
            6 => std::fs::rename(&path, &other),
            7 => std::fs::create_dir_all(&path),
            8 => std::fs::remove_dir_all(&path),
            9 => std::fs::rename(&path, self.outside.join(self.random.usize(..4).to_string())),
            10 => std::fs::rename(self.outside.join(self.random.usize(..4).to_string()), &path),
            _ if self.random.bool() => std::fs::hard_link(&path, &other),
            _ => std::os::unix::fs::symlink("a", &path),
        };
    }

    fn write(&mut self, path: &Path, bytes: Vec<u8>) -> std::io::Result<()> {
        std::fs::write(path, bytes)?;
        // Links may lead to it.
        let name = path.canonicalize()?;
        let file = name.metadata()?;
        if file.nlink() > 1 {
            self.shared.entry(file.ino()).or_default().insert(name);
        } else {
            // All its content was written under the name that it has.
            self.shared.remove(&file.ino());
        }
        Ok(())
    }

    /// Returns whether a file was written under a name that raises no events, or that it no longer
    /// has.
    fn is_for_a_scan(&self, path: &str) -> bool {
        let ino = |path: &Path| path.symlink_metadata().map(|file| file.ino()).ok();
        let file = ino(&self.root.join(path));
        let mut names = file.and_then(|file| self.shared.get(&file)).into_iter().flatten();
        names.any(|name| ino(name) != file || !name.strip_prefix(&self.root).is_ok_and(counts))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_random_operations_the_record_matches_the_disk() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    for seed in (0..12_u64).map(|at| seed.wrapping_add(at)) {
        println!("SEED={seed}");
        let mut watched = Watched::new().await;
        let outside = watched.beside();
        let random = fastrand::Rng::with_seed(seed);
        let mut chaos = Chaos {
            random,
            root: watched.path.canonicalize().unwrap(),
            outside: outside.path().to_owned(),
            shared: BTreeMap::new(),
        };
        for round in 0..STEPS {
            chaos.step(round);
            match chaos.random.usize(..60) {
                0 => watched.stop().await,
                1..=6 => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
                _ => continue,
            }
            if chaos.random.bool() && !watched.is_watched() {
                // Some operations happen while nothing watches.
                (0..20).for_each(|at| chaos.step(round + at));
            }
            if !watched.is_watched() {
                watched.start().await;
            }
        }
        let expected = disk(&watched.path);
        let what = format!("the record is what lies on the disk (SEED={seed}): {expected:?}");
        let told = |records: &Records| {
            let contents = records.contents();
            contents.keys().eq(expected.keys())
                && expected.iter().all(|(path, digest)| contents[path] == *digest || chaos.is_for_a_scan(path))
        };
        watched.recorder.until(&what, told).await;
        watched.stop().await;
        watched.start().await;
        watched.recorder.until(&format!("{what}, after a scan"), |records| records.contents() == expected).await;
        watched.stop().await;
    }
}
