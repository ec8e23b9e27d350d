"""A program whose files are written at any place: archives and sounds, which have their sizes in headers that are written
last. The first action writes them to /out and reads them back, the next one finds them in /in."""

import encodings.cp437  # of zipfile; a program finds no modules later
import os
import wave
import zipfile

from wit_world import exports

FRAMES = bytes(range(256)) * 400


def write(folder):
    archive_file, sound_file = f"{folder}/a.zip", f"{folder}/a.wav"
    with zipfile.ZipFile(archive_file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(os.listdir("/in/raw")):
            archive.write(f"/in/raw/{name}", name)
        with archive.open("large.bin", "w") as large:
            for _ in range(100):
                large.write(FRAMES)
    with zipfile.ZipFile(archive_file, "a") as archive:
        archive.writestr("added.txt", "added")
    with wave.open(sound_file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        for start in range(0, len(FRAMES), 1000):
            sound.writeframes(FRAMES[start : start + 1000])


def check(folder):
    with zipfile.ZipFile(f"{folder}/a.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["eggs.txt", "spam.txt", "large.bin", "added.txt"], archive.namelist()
        assert archive.read("spam.txt") == b"spam" and archive.read("added.txt") == b"added"
        assert archive.getinfo("large.bin").file_size == 100 * len(FRAMES)
        with archive.open("large.bin") as large:
            large.seek(50 * len(FRAMES) + 7)
            assert large.read(3) == b"\x07\x08\x09"
    with wave.open(f"{folder}/a.wav", "rb") as sound:
        assert sound.getparams()[:4] == (1, 2, 8000, len(FRAMES) // 2), sound.getparams()
        sound.setpos(100)
        assert sound.readframes(2) == b"\xc8\xc9\xca\xcb"
        sound.rewind()
        assert sound.readframes(sound.getnframes()) == FRAMES
    print(f"read {folder}", flush=True)


class Run(exports.Run):
    def run(self) -> None:
        if os.path.isdir("/out/out"):
            write("/out/out")
            check("/out/out")
        else:
            check("/in/out")
