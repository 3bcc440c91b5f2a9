"""Which token ids does the model continue for a question?"""

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from circuitseer_trl.chat_settings import SYSTEM_PROMPT
from circuitseer_trl.modeling.encoding import chat_text, encode_prompt, has_chat_template
from circuitseer_trl.pool.chat import chat_messages, plain_prompt


@dataclass(frozen=True)
class PromptFormat:
    """How questions are shown to one model.

    Attributes:
        tokenizer: The model's tokenizer.
        system_prompt: System message; an empty text leaves the message out.
    """

    tokenizer: PreTrainedTokenizerBase
    system_prompt: str = SYSTEM_PROMPT

    @property
    def template_name(self) -> str:
        """`chat`: the tokenizer's own template. `plain`: it has none, and the plain form is used."""
        return "chat" if has_chat_template(self.tokenizer) else "plain"

    def token_ids(self, question: str) -> list[int]:
        """Prompt as token ids: text would be tokenised again, and get a second BOS where the template writes one."""
        if self.template_name == "chat":
            return encode_prompt(self.tokenizer, question, "chat", self.system_prompt)
        return encode_prompt(self.tokenizer, plain_prompt(question, self.system_prompt), "plain", "")

    def end_of_turn_ids(self) -> set[int]:
        """Tokens that end an answer: the tokenizer's EOS, and the special token that its template writes there."""
        ends = {self.tokenizer.eos_token_id} if self.tokenizer.eos_token_id is not None else set()
        if self.template_name == "chat":
            answer = "ANSWER"
            turns = [*chat_messages("QUESTION", self.system_prompt), {"role": "assistant", "content": answer}]
            text = chat_text(self.tokenizer, turns)
            tail = self.tokenizer(text[text.rindex(answer) + len(answer) :], add_special_tokens=False)["input_ids"]
            if tail and tail[0] in self.tokenizer.all_special_ids:
                ends.add(tail[0])
        return ends
