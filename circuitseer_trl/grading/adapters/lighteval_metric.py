"""A metric for lighteval: `LightevalTaskConfig(metrics=[math_metric()], ...)`."""

from typing import TYPE_CHECKING

from circuitseer_trl.grading.adapters.answer_texts import question_of
from circuitseer_trl.grading.shared import shared_grader

if TYPE_CHECKING:
    from lighteval.metrics.utils.metric_utils import SampleLevelMetric
    from lighteval.models.model_output import ModelResponse
    from lighteval.tasks.requests import Doc


def math_metric() -> "SampleLevelMetric":
    """The share of a problem's answers that mean the same as one of its references; over problems, the mean."""
    import numpy as np
    from lighteval.metrics.metrics_sample import SampleLevelComputation
    from lighteval.metrics.utils.metric_utils import SampleLevelMetric
    from lighteval.tasks.requests import SamplingMethod

    class SameMeaning(SampleLevelComputation):
        def compute(self, doc: "Doc", model_response: "ModelResponse", **others: object) -> float:
            questions = [question_of(reference, doc.original_query or doc.query) for reference in doc.get_golds()]
            texts = model_response.final_text
            verdicts = shared_grader().grade([(text, question) for text in texts for question in questions])
            right = [verdict.correct for verdict in verdicts]
            count = len(questions)
            return sum(any(right[count * n : count * (n + 1)]) for n in range(len(texts))) / max(len(texts), 1)

    return SampleLevelMetric(
        metric_name="circuitseer_math",
        higher_is_better=True,
        category=SamplingMethod.GENERATIVE,
        sample_level_fn=SameMeaning(),
        corpus_level_fn=np.mean,
    )
