"""Connections that break, and answers that are damaged: with a server that does so."""

import hashlib
import json
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from unittest import mock

from anacostia import AnacostiaError, Client, client, stream
from anacostia.run_id import new_run_id
from anacostia.stream import parse

CONTENT = bytes(range(256)) * 4000
ARTIFACT = {
    "id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "path": "a/data.bin",
    "size": len(CONTENT),
    "digest": f"sha256:{hashlib.sha256(CONTENT).hexdigest()}",
}


class Fake:
    """A server whose answers are functions of the handler, one for each request, in order. The
    last one answers all further requests."""

    def __init__(self, test: unittest.TestCase, *answers):
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                fake.requests.append((self.command, self.path, dict(self.headers)))
                number = min(len(fake.requests), len(answers)) - 1
                answers[number](self)
                self.close_connection = True

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        test.addCleanup(thread.join)
        test.addCleanup(self.server.server_close)
        test.addCleanup(self.server.shutdown)
        self.client = Client(f"http://127.0.0.1:{self.server.server_port}/base/", token="secret", timeout=10)


def says(value, status=200):
    def answer(handler):
        body = json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def sends(content, upto, at=0, etag=None):
    """Sends content from `at` on, and closes the connection before `upto`."""

    def answer(handler):
        handler.send_response(206 if at else 200)
        handler.send_header("Content-Length", str(len(content) - at))
        handler.end_headers()
        handler.wfile.write(content[at:upto])

    return answer


def streams(text):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        handler.wfile.write(text.encode())

    return answer


def event(seq):
    return f"id: 1-{seq}\ndata: {json.dumps({'seq': seq, 'epoch': 1})}\n\n"


class Downloads(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.place = Path(folder.name) / "data.bin"

    def test_a_download_that_is_cut_off_goes_on_by_itself(self):
        fake = Fake(
            self,
            says(ARTIFACT),
            sends(CONTENT, 500_000),
            sends(CONTENT, 700_000, 500_000),
            sends(CONTENT, None, 700_000),
        )
        done = []
        fake.client.download(ARTIFACT["id"], self.place, lambda now, total: done.append(now))
        self.assertEqual(self.place.read_bytes(), CONTENT)
        self.assertEqual((done, done[-1]), (sorted(done), len(CONTENT)))
        ranges = [headers.get("Range") for _, _, headers in fake.requests]
        self.assertEqual(ranges, [None, None, "bytes=500000-", "bytes=700000-"])
        self.assertEqual(fake.requests[2][2]["If-Range"], f'"{ARTIFACT["digest"]}"')
        self.assertTrue(all(headers["Authorization"] == "Bearer secret" for _, _, headers in fake.requests))
        self.assertEqual({path for _, path, _ in fake.requests[1:]}, {f"/base/api/v1/artifacts/{ARTIFACT['id']}/content"})

    def test_it_gives_up_if_nothing_more_comes_and_keeps_what_it_has(self):
        fake = Fake(self, says(ARTIFACT), sends(CONTENT, 1000), sends(CONTENT, 1000, 1000))
        with self.assertRaisesRegex(AnacostiaError, "the connection was closed after 1000 of 1024000 bytes"):
            fake.client.download(ARTIFACT["id"], self.place)
        part = self.place.with_name(f".data.bin.{ARTIFACT['id']}.part")
        self.assertEqual((self.place.exists(), part.stat().st_size, len(fake.requests)), (False, 1000, 5))

    def test_other_bytes_are_an_error_and_are_not_kept(self):
        fake = Fake(self, says(ARTIFACT), sends(CONTENT[::-1], None))
        with self.assertRaises(AnacostiaError) as raised:
            fake.client.download(ARTIFACT["id"], self.place)
        self.assertEqual((raised.exception.title, raised.exception.advice), ("the content is damaged", "try again"))
        self.assertEqual(list(self.place.parent.iterdir()), [])

    def test_content_that_is_gone_is_no_file(self):
        fake = Fake(self, says(ARTIFACT), says({"title": "the content is gone", "detail": "x"}, 410))
        with self.assertRaises(AnacostiaError) as raised:
            fake.client.download(ARTIFACT["id"], self.place)
        self.assertEqual((raised.exception.status, list(self.place.parent.iterdir())), (410, []))


class Uploads(unittest.TestCase):
    def test_an_upload_that_arrives_damaged_is_an_error(self):
        def takes(handler):
            handler.rfile.read(int(handler.headers["Content-Length"]))
            says({**ARTIFACT, "digest": "sha256:" + "0" * 64}, 201)(handler)

        fake = Fake(self, takes)
        with self.assertRaisesRegex(AnacostiaError, "the content is damaged: what was sent is sha256:"):
            fake.client.upload("inbox", "ä b", CONTENT)
        _, path, headers = fake.requests[0]
        self.assertEqual(path, "/base/api/v1/resources/inbox/artifacts?path=%C3%A4+b")
        self.assertTrue(headers["Content-Digest"].startswith("sha-256=:"))

    def test_a_stream_without_a_length_is_sent_in_chunks(self):
        received = []

        def takes(handler):
            while size := int(handler.rfile.readline(), 16):
                received.append(handler.rfile.read(size))
                handler.rfile.readline()
            handler.rfile.readline()
            says(ARTIFACT, 201)(handler)

        fake = Fake(self, takes)
        file = mock.Mock(seekable=lambda: False, read=mock.Mock(side_effect=[CONTENT[:9], CONTENT[9:], b""]))
        fake.client.upload("inbox", "a", file)
        self.assertEqual(b"".join(received), CONTENT)
        self.assertNotIn("Content-Digest", fake.requests[0][2])


class Events(unittest.TestCase):
    def setUp(self):
        patch = mock.patch.object(stream, "_PAUSES", (0.0,))
        patch.start()
        self.addCleanup(patch.stop)

    def test_no_event_is_lost_or_seen_twice_when_connections_break(self):
        busy = says({"title": "not available at the moment", "detail": "starting"}, 503)
        fake = Fake(
            self,
            streams("retry: 1000\nid: 1-3\n\n"),
            streams(event(4) + ": beat\n\n" + event(5) + 'id: 1-6\ndata: {"seq": 6'),
            busy,
            streams(event(6) + event(7)),
        )
        self.assertEqual([it["seq"] for it in islice(fake.client.events(), 4)], [4, 5, 6, 7])
        positions = [headers.get("Last-Event-ID") for _, _, headers in fake.requests]
        self.assertEqual(positions, [None, "1-3", "1-5", "1-5"])

    def test_what_was_missed_is_told(self):
        fake = Fake(self, streams('event: reset\nid: 2-9\ndata: {"reason": "gone", "newest": 9}\n\n' + event(10)))
        told = []
        events = fake.client.events(after="1-2", on_reset=told.append)
        self.assertEqual((next(events)["seq"], told), (10, [{"reason": "gone", "newest": 9}]))

    def test_a_refusal_ends_them(self):
        fake = Fake(self, says({"type": "urn:anacostia:problem:unauthorized", "detail": "no"}, 401))
        with self.assertRaises(AnacostiaError) as raised:
            next(fake.client.events(after=1))
        self.assertEqual((raised.exception.kind, len(fake.requests)), ("unauthorized", 1))

    def test_messages_are_read_as_the_standard_says(self):
        text = b": comment\r\nevent: a\r\nid: 7\r\ndata: [1,\r\ndata:2]\r\n\r\nid: 8\n\ndata: {}\n"
        self.assertEqual(list(parse(text.splitlines(keepends=True))), [("a", "7", [1, 2]), ("message", "8", None)])


class Answers(unittest.TestCase):
    def test_words_for_numbers_are_floats(self):
        values = [0.5, "NaN", "Infinity", "-Infinity"]
        fake = Fake(self, says({"items": [{"value": value} for value in values], "next_cursor": None}))
        self.assertEqual([str(it["value"]) for it in fake.client.metrics()], ["0.5", "nan", "inf", "-inf"])

    def test_a_list_that_still_grows_ends_where_it_is(self):
        page = lambda items, cursor: says({"items": items, "next_cursor": cursor})
        fake = Fake(self, page([{"n": 1}], "1"), page([{"n": 2}], "2"), page([], "2"))
        self.assertEqual([line["n"] for line in fake.client.logs(7)], [1, 2])
        self.assertEqual(len(fake.requests), 3)

    def test_a_limit_that_ends_inside_a_page(self):
        page = says({"items": [{"n": 1}, {"n": 2}], "next_cursor": "2"})
        fake = Fake(self, page)
        with mock.patch.object(client, "_PAGE", 2):
            self.assertEqual(len(fake.client.runs(limit=3)), 3)
        self.assertEqual([path for _, path, _ in fake.requests], ["/base/api/v1/runs?limit=2", "/base/api/v1/runs?limit=2&cursor=2"])

    def test_names_cannot_leave_their_place_in_a_path(self):
        fake = Fake(self, says({}))
        fake.client.node("a/../b?c#d")
        fake.client.cancel({"id": "7/.."})
        paths = [path for _, path, _ in fake.requests]
        self.assertEqual(paths, ["/base/api/v1/nodes/a%2F..%2Fb%3Fc%23d", "/base/api/v1/runs/7%2F../cancel"])

    def test_an_answer_that_is_no_problem_is_an_error_too(self):
        def breaks(handler):
            handler.send_response(502)
            handler.end_headers()
            handler.wfile.write(b"<html>")

        fake = Fake(self, breaks)
        with self.assertRaises(AnacostiaError) as raised:
            fake.client.pipeline()
        self.assertEqual(
            str(raised.exception),
            "GET /base/api/v1/pipeline: Bad Gateway (502): the answer has the status 502, and does not say why",
        )
        with self.assertRaisesRegex(AnacostiaError, "the answer is not JSON"):
            Fake(self, streams("<html>")).client.pipeline()
        with self.assertRaisesRegex(AnacostiaError, "the host cannot be reached"):
            Fake(self, lambda handler: None).client.pipeline()

    def test_choices_are_advice(self):
        fake = Fake(self, says({"title": "bad", "detail": "it is not", "allowed": ["a", "b"]}, 400))
        with self.assertRaises(AnacostiaError) as raised:
            fake.client.pipeline()
        self.assertEqual(raised.exception.advice, "allowed: a, b")

    def test_ids_are_of_version_7_and_sort_by_time(self):
        ids = [new_run_id() for _ in range(100)]
        self.assertEqual({(it.version, it.variant) for it in ids}, {(7, "specified in RFC 4122")})
        self.assertEqual(len(set(ids)), 100)
        self.assertEqual([it.int >> 80 for it in ids], sorted(it.int >> 80 for it in ids))


if __name__ == "__main__":
    unittest.main()
