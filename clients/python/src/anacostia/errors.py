"""The one exception of this package."""

from __future__ import annotations

from typing import Any


class AnacostiaError(Exception):
    """A request that failed: what failed, why, and what to do about it.

    `status` is `None` if there was no answer, because the host cannot be reached.
    """

    #: The status of the answer, or `None` if there was none.
    status: int | None
    #: The kind of problem, for programs: `not-found`, `conflict`, `bad-parameter`.
    kind: str
    #: The kind of problem, for people.
    title: str
    #: What is wrong with this request.
    detail: str
    #: What to do about it, as far as `detail` does not say; may be empty.
    advice: str
    #: All members of the answer, such as `allowed`, `parameter` and `reasons`.
    problem: dict[str, Any]
    #: The request: `GET /api/v1/runs/9`.
    request: str

    def __init__(
        self,
        request: str,
        title: str,
        detail: str,
        *,
        status: int | None = None,
        kind: str = "",
        advice: str = "",
        problem: dict[str, Any] | None = None,
    ) -> None:
        self.request = request
        self.title = title
        self.detail = detail
        self.status = status
        self.kind = kind
        self.advice = advice
        self.problem = {} if problem is None else problem
        super().__init__(request, title, detail)

    @classmethod
    def of_answer(cls, request: str, status: int, reason: str, problem: dict[str, Any]) -> AnacostiaError:
        """Returns the error for an answer whose body is a problem (RFC 9457), or empty if it was none."""
        kind = str(problem.get("type", "")).rpartition(":")[2]
        title = str(problem.get("title") or reason or "the request failed")
        detail = str(problem.get("detail") or f"the answer has the status {status}, and does not say why")
        return cls(
            request, title, detail, status=status, kind=kind, advice=_advice(problem), problem=problem
        )

    def __str__(self) -> str:
        status = "" if self.status is None else f" ({self.status})"
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.request}: {self.title}{status}: {self.detail}{advice}"


def _advice(problem: dict[str, Any]) -> str:
    if near := problem.get("did_you_mean"):
        return f"did you mean `{near}`?"
    if allowed := problem.get("allowed"):
        return "allowed: " + ", ".join(map(str, allowed))
    return ""
