"""What is a chat template given beside the problem?"""

from dataclasses import dataclass

SYSTEM_PROMPT = "Please reason step by step, and put your final answer within \\boxed{}."
# Llama 3's templates take this date where they are given none. Any would do, as long as it is always the same.
CHAT_DATE = "2024-07-26"


@dataclass(frozen=True)
class ChatSettings:
    """What a chat template is given beside the problem. It is the same for probe, training and evaluation.

    Attributes:
        system_prompt: The system message; an empty text leaves the message out.
        chat_date: Today's date in templates that write it.
    """

    system_prompt: str = SYSTEM_PROMPT
    chat_date: str = CHAT_DATE
