"""Text that was generated on the page: its prompt, its steps, and changes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import streamlit as st
from jaxtyping import Float

from attnviz.experiments.generation.sampling import Sampling
from attnviz.experiments.generation.token_by_token import Candidate, GenerationStep, prompt_ids
from attnviz.models import Encoded, Model, labels
from attnviz.types import Head
from attnviz.ui.session.model_cache import Request, captured, load_model

__all__ = ["WRITTEN", "Written", "prompt_of"]

WRITTEN = "written"
"""Key of the session with the text on the page."""


@dataclass(frozen=True, eq=False)
class Written:
    """Generated text.

    Attributes:
        request: model and prompt; another request begins another text.
        encoded: ids of the prompt.
        steps: generated tokens so far.
        draws: number of random draws behind the steps.
    """

    request: Request
    encoded: Encoded
    steps: tuple[GenerationStep, ...] = ()
    draws: int = 0

    @classmethod
    def current(cls, request: Request, model: Model) -> Written:
        """Return the text of the session if it belongs to this request, or an empty one."""
        held = st.session_state.get(WRITTEN)
        if isinstance(held, Written) and held.request == request:
            return held
        return cls(request, prompt_of(model, request))

    @property
    def prompt(self) -> tuple[int, ...]:
        """Ids that the writing stack read first: the text, or the decoder's start."""
        return self.encoded.target if self.encoded.target is not None else self.encoded.ids

    @property
    def ids(self) -> tuple[int, ...]:
        """Ids of prompt and generated tokens."""
        return (*self.prompt, *(step.token.id for step in self.steps))

    @property
    def ended(self) -> bool:
        """True if the last token ends the text."""
        return bool(self.steps) and self.steps[-1].ends

    def continued_from(self) -> Encoded:
        """Return the ids with which the generation continues."""
        if self.encoded.target is not None:
            return replace(self.encoded, target=self.ids)
        return replace(self.encoded, ids=self.ids)

    def with_steps(self, steps: tuple[GenerationStep, ...], sampling: Sampling) -> Written:
        """Return the text with further steps."""
        draws = self.draws + (len(steps) if sampling.sample else 0)
        return replace(self, steps=(*self.steps, *steps), draws=draws)

    def with_choice(self, place: int, token: Candidate) -> Written:
        """Return the text up to one step, with another token chosen there."""
        step = replace(self.steps[place], token=token, ends=False)
        return replace(self, steps=(*self.steps[:place], step))

    def first(self, count: int) -> Written:
        """Return the text with its first steps only."""
        return replace(self, steps=self.steps[:count])

    def labels(self) -> tuple[str, ...]:
        """Return a label per token of the writing stack."""
        return labels(load_model(self.request.model).vocabulary, self.ids)

    def source_labels(self) -> tuple[str, ...]:
        """Return a label per token that the encoder reads."""
        return labels(load_model(self.request.model).vocabulary, self.encoded.ids)

    def weights(self, head: Head) -> Float[np.ndarray, "query key"]:
        """Return the map of one head: rows of the prompt, and a row per generated token.

        The row of a step is that of the token that was read before it; the last token was not read
        yet and has no row. NaN where a query cannot see a key.
        """
        first = len(self.prompt) - 1
        keys = len(self.encoded.ids) if head.kind == "cross" else len(self.prompt) + len(self.steps)
        rows = np.full((first + max(len(self.steps), 1), keys), np.nan, np.float32)
        if self.encoded.target is None:
            # Rows of the prompt do not change: no token sees what comes after it.
            stack = captured(self.request)[head.kind]
            known = stack.weights(head.layer, head.head)
            visible = stack.layers[head.layer].visibility.table()[0].cpu().numpy()
            rows[: len(known), : known.shape[1]] = np.where(visible, known, np.nan)
        for place, step in enumerate(self.steps):
            row = step.rows[head.kind][head.layer, head.head]
            rows[first + place, : len(row)] = row
        return rows


def prompt_of(model: Model, request: Request) -> Encoded:
    """Return the ids of the side bar's text as a prompt.

    Raises:
        AttnvizError: the text is empty, or the model does not write.
    """
    text = model.prompt + request.text if request.text.strip() else ""
    return prompt_ids(model, text, target=request.target or None, begin=request.begin)
