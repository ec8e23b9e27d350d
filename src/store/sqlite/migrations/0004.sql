-- Version 4: who used an artifact is found by an index. An attempt that uses any writes one page more for it.
CREATE INDEX accesses_artifact ON accesses (artifact, seq);
