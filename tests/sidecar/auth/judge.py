"""A scripted stand-in for the control service."""

from typing import Any


class Judge:
    """Returns its answers in order; an answer that is an error is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.questions: list[dict[str, object]] = []

    async def ask(self, question: dict[str, object]) -> dict[str, object]:
        """Answer a question about a token."""
        self.questions.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)
