"""A scorer for inspect_ai: `Task(dataset=..., solver=generate(), scorer=math_scorer())`."""

from typing import TYPE_CHECKING

from circuitseer_trl.grading.adapters.answer_texts import answer_in
from circuitseer_trl.grading.shared import agrade

if TYPE_CHECKING:
    from inspect_ai.scorer import Scorer, Target
    from inspect_ai.solver import TaskState


def math_scorer() -> "Scorer":
    """Correct where the last box of the completion means the same as the target; the explanation is the rule that decided."""
    from inspect_ai.scorer import CORRECT, INCORRECT, Score, accuracy, scorer, stderr

    @scorer(metrics=[accuracy(), stderr()], name="math_scorer")
    def made() -> "Scorer":
        async def score(state: "TaskState", target: "Target") -> Score:
            verdicts = [
                await agrade(state.output.completion, answer_in(reference), question=state.input_text)
                for reference in target
            ]
            best = next((verdict for verdict in verdicts if verdict.correct), verdicts[0])
            return Score(
                value=CORRECT if best.correct else INCORRECT,
                answer=best.extracted,
                explanation=best.reason,
                metadata={"undecided": best.undecided},
            )

        return score

    return made()
