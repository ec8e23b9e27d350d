"""The peer: what someone writes in an afternoon. A folder, three functions, SQLite; no isolation, no retries, no events.
Usage: script.py FOLDER DATABASE RUNS. Prints `ready`, and `done` when so many runs have ended."""
import os, sqlite3, sys, time

folder, database, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
db = sqlite3.connect(database, isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA synchronous = NORMAL")
db.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, path TEXT UNIQUE, state TEXT)")
db.execute("CREATE TABLE steps (run INTEGER, name TEXT, result TEXT, ended REAL)")

def lines(path): return open(path, "rb").read().count(b"\n")
def words(path): return len(open(path, "rb").read().split())
def size(path): return len(open(path, "rb").read())

seen, ended = set(), 0
print("ready", flush=True)
while ended < wanted:
    for name in sorted(set(os.listdir(folder)) - seen):
        seen.add(name)
        path = os.path.join(folder, name)
        run = db.execute("INSERT INTO runs (path, state) VALUES (?, 'running')", (path,)).lastrowid
        for step in lines, words, size:
            db.execute("INSERT INTO steps VALUES (?, ?, ?, ?)", (run, step.__name__, step(path), time.time()))
        db.execute("UPDATE runs SET state = 'succeeded' WHERE id = ?", (run,))
        ended += 1
    time.sleep(0.005)
print("done", flush=True)
