//! Random operations: in the end what is on record is what lies on the disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anacostia::base::Digest;

use super::recorder::Watched;

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
    found.retain(|path, _| !path.split('/').any(|part| part.starts_with('.') || part.ends_with('~')));
    found
}

struct Chaos {
    random: fastrand::Rng,
    root: PathBuf,
    outside: PathBuf,
}

impl Chaos {
    /// One of few paths, so that they meet.
    fn path(&mut self) -> PathBuf {
        let part = |random: &mut fastrand::Rng| ["a", "b", "c", ".d", "e~"][random.usize(..5)];
        let mut path = self.root.clone();
        for _ in 0..self.random.usize(1..=3) {
            path.push(part(&mut self.random));
        }
        path
    }

    /// One operation. Most fail, because things are not as they would have to be; that is fine.
    fn step(&mut self, round: usize) {
        let (path, other) = (self.path(), self.path());
        let _ = match self.random.usize(..12) {
            0..=3 => std::fs::write(&path, format!("{round}")),
            4 => std::fs::write(&path, vec![self.random.u8(..3); 300 << 10]),
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
}

#[tokio::test(flavor = "multi_thread")]
async fn after_any_operations_the_record_is_what_lies_on_the_disk() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    for seed in (0..12_u64).map(|at| seed.wrapping_add(at)) {
        println!("SEED={seed}");
        let mut watched = Watched::new().await;
        let outside = watched.beside();
        let random = fastrand::Rng::with_seed(seed);
        let mut chaos = Chaos { random, root: watched.path.clone(), outside: outside.path().to_owned() };
        for round in 0..STEPS {
            chaos.step(round);
            match chaos.random.usize(..60) {
                0 => watched.stop().await,
                1..=6 => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
                _ => continue,
            }
            if chaos.random.bool() && !watched.is_watched() {
                // Some of it happens while no one watches.
                (0..20).for_each(|at| chaos.step(round + at));
            }
            if !watched.is_watched() {
                watched.start().await;
            }
        }
        let expected = disk(&watched.path);
        let what = format!("the record is what lies on the disk (SEED={seed}): {expected:?}");
        watched.recorder.until(&what, |records| records.contents() == expected).await;
        watched.stop().await;
    }
}
