"""The client with a real host."""

import io
import tempfile
import unittest
import uuid
from itertools import islice
from pathlib import Path
from unittest import mock

from anacostia import AnacostiaError, Client, client as module

from .pipeline import DEADLINE, URL, WithHost


def rows(name: str) -> bytes:
    return f"name,value\n{name},1\n".encode()


class Runs(WithHost):
    def uploaded(self, name: str):
        """Uploads an artifact, and returns it and the run that took it."""
        artifact = self.client.upload("inbox", f"{name}.csv", rows(name))
        for event in self.client.events(after=0):
            if event["type"] == "run_created":
                run = self.client.wait(event["run_id"], DEADLINE)
                if artifact["id"] in [found["id"] for found in run["inputs"]]:
                    return artifact, run
        self.fail("the events have ended")

    def test_a_list_has_all_pages_and_fetches_those_that_are_needed(self):
        for name in ("page-a", "page-b", "page-c"):
            self.uploaded(name)
        whole = self.client.runs()
        numbers = [run["number"] for run in whole]
        self.assertGreaterEqual(len(numbers), 3)
        self.assertEqual(numbers, sorted(numbers, reverse=True))
        transport = self.client._transport
        with mock.patch.object(module, "_PAGE", 1), mock.patch.object(transport, "json", wraps=transport.json) as asked:
            lazy = self.client.runs()
            self.assertEqual(asked.call_count, 0)
            self.assertEqual([run["number"] for run in islice(lazy, 2)], numbers[:2])
            self.assertEqual(asked.call_count, 2)
            self.assertEqual(lazy[1]["number"], numbers[1])
            self.assertEqual(asked.call_count, 2, "what was fetched is kept")
            self.assertEqual([run["number"] for run in lazy], numbers)
            self.assertEqual(asked.call_count, len(numbers))
            self.assertEqual(len(lazy), len(numbers))
            self.assertEqual(lazy[-1]["number"], numbers[-1])
            self.assertEqual([run["number"] for run in lazy[1:]], numbers[1:])
        self.assertEqual([run["number"] for run in self.client.runs(limit=2)], numbers[:2])
        self.assertEqual(len(self.client.runs(limit=0)), 0)
        self.assertFalse(self.client.runs(state="cancelling"))
        states = {run["state"] for run in self.client.runs(state=["succeeded", "failed"])}
        self.assertLessEqual(states, {"succeeded", "failed"})
        with self.assertRaises(IndexError):
            whole[10_000]

    def test_a_run_is_named_by_number_by_id_and_by_itself(self):
        _, run = self.uploaded("named")
        for name in (run["number"], run["id"], str(run["number"]), run):
            self.assertEqual(self.client.run(name)["id"], run["id"])

    def test_an_alias_of_a_model_leads_to_its_content(self):
        first, _ = self.uploaded("model-a")
        second, _ = self.uploaded("model-b")
        model = f"model-{uuid.uuid4()}"
        self.assertEqual(self.client.register(model, first, by="ann", note="by hand")["version"], 1)
        self.assertEqual(self.client.register(model, second["id"])["version"], 2)
        self.assertEqual([it["version"] for it in self.client.model_versions(model)], [2, 1])
        self.client.promote(model, 1, "production")
        moved = self.client.promote(model, 2, "production", by="ann", note="better")
        self.assertEqual((moved["version"], moved["before"], moved["by"]), (2, 1, "ann"))
        self.assertEqual(self.client.rollback(model, "production")["version"], 1)
        self.assertIn(model, [it["name"] for it in self.client.models()])
        [alias] = self.client.model(model)["aliases"]
        self.assertEqual(self.client.read(alias["artifact_id"]), rows("model-a"))
        with self.assertRaisesRegex(AnacostiaError, "has no version 9: its newest is 2"):
            self.client.promote(model, 9, "production")

    def test_facts_of_a_run(self):
        artifact, run = self.uploaded("facts")
        metrics = self.client.metrics("accuracy", run=run)
        self.assertEqual([(it["step"], it["value"]) for it in metrics], [(2, 0.75), (1, 0.5)])
        self.assertEqual([it["value"] for it in self.client.params("model", run=run)], ["tree"])
        self.assertEqual([it["value"] for it in self.client.tags("stage", run=run["id"])], ["test"])
        self.assertIn("copied facts.csv", [line["text"] for line in self.client.logs(run, action="measure")])
        self.assertEqual([it["id"] for it in self.client.inputs(run)], [artifact["id"]])
        self.assertEqual(sorted(edge["kind"] for edge in self.client.lineage(run)), ["read", "wrote"])
        self.assertEqual([it["path"] for it in self.client.outputs(run)], ["facts.csv"])
        self.assertEqual([it["path"] for it in self.client.artifacts("inbox", run=run)], ["facts.csv"])

    def test_a_run_is_started_with_params_and_inputs(self):
        artifact, run = self.uploaded("again")
        one = self.client.trigger(params={"note": 1}, inputs=[artifact])
        self.assertEqual((one["params"], one["number"] > run["number"]), ({"note": 1}, True))
        done = self.client.wait(one, DEADLINE)
        self.assertEqual((done["state"], [it["given"] for it in done["inputs"]]), ("succeeded", [True]))
        other = self.client.wait(self.client.trigger(rerun_of=run), DEADLINE)
        self.assertEqual((other["state"], other["rerun_of"]), ("succeeded", run["id"]))

    def test_a_run_fails_and_is_retried(self):
        artifact, _ = self.uploaded("fails")
        steps = [{"do": "fail", "attempts": 1, "message": "no luck"}]
        run = self.client.wait(self.client.trigger({"steps": steps}, [artifact]), DEADLINE)
        self.assertEqual(run["state"], "failed")
        self.assertIn("no luck", run["reason"])
        self.client.retry(run)
        self.assertEqual(self.client.wait(run, DEADLINE)["state"], "succeeded")

    def test_a_wait_ends_and_a_run_is_cancelled(self):
        artifact, _ = self.uploaded("waits")
        run = self.client.trigger({"steps": [{"do": "await_cancel"}]}, [artifact])
        with self.assertRaisesRegex(TimeoutError, f"run {run['number']} is (queued|running) after 0.2 s"):
            self.client.wait(run, 0.2)
        self.client.cancel(run)
        self.assertEqual(self.client.wait(run, DEADLINE)["state"], "cancelled")

    def waiting(self, name: str):
        artifact = self.client.upload("gate", name, uuid.uuid4().bytes)
        for event in self.client.events(after=0):
            if event["type"] == "approval_requested":
                run = self.client.run(event["run_id"])
                if artifact["id"] in [found["id"] for found in run["inputs"]]:
                    return run
        self.fail("the events have ended")

    def test_an_action_is_approved_and_another_is_rejected(self):
        for name, decide, state in (("good", self.client.approve, "succeeded"), ("bad", self.client.reject, "failed")):
            run = self.waiting(name)
            self.assertIn(run["id"], [it["run_id"] for it in self.client.approvals()])
            decide(run, "publish", by="ann", note="looked at it")
            run = self.client.wait(run, DEADLINE)
            decision = next(it for it in run["actions"] if it["name"] == "publish")["approval"]["decision"]
            self.assertEqual((run["state"], decision["by"], decision["note"]), (state, "ann", "looked at it"))

    def test_the_pipeline(self):
        self.assertEqual(self.client.pipeline()["name"], "notebook")
        kinds = {node["name"]: node["type"] for node in self.client.nodes()}
        self.assertEqual((kinds["inbox"], kinds["measure"]), ("resource", "action"))
        self.assertEqual(self.client.node("measure")["action"]["grants"]["writes"], ["out"])
        self.client.pause(action="publish", reason="moves")
        self.assertEqual(self.client.node("publish")["paused"]["reason"], "moves")
        self.client.resume(action="publish")
        self.assertIsNone(self.client.node("publish")["paused"])
        with self.assertRaises(ValueError):
            self.client.pause(action="publish", resource="inbox")

    def test_events_go_on_after_one_that_was_seen(self):
        self.uploaded("events")
        first = list(islice(self.client.events(after=0), 5))
        self.assertEqual([event["seq"] for event in first], [1, 2, 3, 4, 5])
        rest = list(islice(self.client.events(after=first[2]), 2))
        self.assertEqual(rest, first[3:])
        run = self.client.runs(limit=1)[0]
        of_run = list(islice(self.client.events(after=0, run=run), 3))
        self.assertEqual({event["run_id"] for event in of_run}, {run["id"]})

    def test_what_is_too_new_is_a_reset(self):
        with self.assertRaisesRegex(AnacostiaError, "events were missed: there is no event 99999999 yet"):
            next(self.client.events(after=99_999_999))
        reasons = []
        self.uploaded("reset")

        def told(reset):
            reasons.append(reset["reason"])
            raise StopIteration

        with self.assertRaises(RuntimeError):
            next(self.client.events(after=99_999_999, on_reset=told))
        self.assertIn("there is no event 99999999 yet", reasons[0])


class Content(WithHost):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_bytes_files_and_streams_are_uploaded_and_come_back(self):
        content = bytes(range(256)) * 4096
        file = self.folder / "big.bin"
        file.write_bytes(content)
        steps = []
        one = self.client.upload("inbox", "kept/big.bin", file, lambda done, total: steps.append((done, total)))
        self.assertEqual(steps, [(262144 * n, 1 << 20) for n in (1, 2, 3, 4)])
        self.assertEqual(self.client.upload("inbox", "kept/big.bin", content)["id"], one["id"], "the same content")

        class Stream(io.RawIOBase):
            """Has no length, and cannot be read twice."""

            def __init__(self):
                self.rest = io.BytesIO(content)

            def readable(self):
                return True

            def readinto(self, buffer):
                return self.rest.readinto(buffer)

        steps.clear()
        told = lambda done, total: steps.append((done, total))
        stream = self.client.upload("inbox", "kept/big.bin", io.BufferedReader(Stream()), told)
        self.assertEqual((stream["id"], steps[-1]), (one["id"], (1 << 20, None)))
        steps.clear()
        place = self.client.download(one, self.folder, told)
        self.assertEqual((place, place.read_bytes()), (self.folder / "big.bin", content))
        self.assertEqual(steps[-1], (1 << 20, 1 << 20))
        self.assertEqual(self.client.read(one["id"]), content)

    def test_a_download_goes_on_where_it_was_cut_off(self):
        content = bytes(range(256)) * 1024
        artifact = self.client.upload("inbox", "resumed.bin", content)
        place = self.folder / "there.bin"
        part = place.with_name(f".there.bin.{artifact['id']}.part")
        part.write_bytes(content[:100_000])
        steps = []
        self.client.download(artifact, place, lambda done, total: steps.append(done))
        self.assertEqual((place.read_bytes(), part.exists()), (content, False))
        self.assertGreater(steps[0], 100_000, "it began where the file ended")
        # What is there is damaged: the next call begins anew.
        place.unlink()
        part.write_bytes(b"x" * 100_000)
        with self.assertRaisesRegex(AnacostiaError, "the content is damaged: what arrived is sha256:"):
            self.client.download(artifact, place)
        self.assertEqual((place.exists(), part.exists()), (False, False))
        self.assertEqual(self.client.download(artifact, place).read_bytes(), content)

    def test_an_empty_artifact(self):
        artifact = self.client.upload("inbox", "empty", b"")
        self.assertEqual(self.client.download(artifact, self.folder).read_bytes(), b"")


class Errors(WithHost):
    def test_an_error_has_the_members_of_the_problem(self):
        with self.assertRaises(AnacostiaError) as raised:
            self.client.run(99_999)
        error = raised.exception
        self.assertEqual(
            (error.status, error.kind, error.title, error.detail, error.request),
            (404, "not-found", "not found", "there is no run 99999", "GET /api/v1/runs/99999"),
        )
        self.assertEqual(str(error), "GET /api/v1/runs/99999: not found (404): there is no run 99999")
        with self.assertRaises(AnacostiaError) as raised:
            len(self.client.runs(state="suceeded"))
        self.assertEqual(raised.exception.advice, "did you mean `succeeded`?")
        self.assertEqual(raised.exception.problem["parameter"], "state")

    def test_an_upload_that_is_refused_says_why(self):
        with self.assertRaises(AnacostiaError) as raised:
            self.client.upload("out", "a", bytes(64 << 20))
        self.assertEqual((raised.exception.status, raised.exception.kind), (409, "conflict"))
        self.assertIn("`out` takes no uploads", raised.exception.detail)

    def test_a_host_that_is_not_there(self):
        with self.assertRaises(AnacostiaError) as raised:
            Client("http://127.0.0.1:9").pipeline()
        self.assertIsNone(raised.exception.status)
        self.assertRegex(
            str(raised.exception),
            r"^GET /api/v1/pipeline: the host cannot be reached: http://127\.0\.0\.1:9: .*refused; is it running\?",
        )

    def test_an_address_of_nothing(self):
        for url in ("", "ftp://host", "http://"):
            with self.assertRaises(ValueError):
                Client(url)
        self.assertEqual(repr(Client(URL.removeprefix("http://") + "/")), f"Client({URL!r})")


if __name__ == "__main__":
    unittest.main()
