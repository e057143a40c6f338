"""Copying scores of heads: whether looking at a token makes the same token likelier.

On the direct path from embedding to logits a head is the matrix W_E W_V W_O W_U, [token, token]:
entry (i, j) is what looking at token i adds to the logit of token j. A head that copies raises the
token it looks at, so that the matrix has mostly positive eigenvalues:

    copying = sum(Re(eigenvalues)) / sum(|eigenvalues|)

from -1 (the token becomes less likely) to 1 (it becomes likelier); about 0 for unrelated matrices.
Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits". Eigenvalues other
than 0 are those of the small matrix (W_O W_U)(W_E W_V), [dim, dim]. Gains of norms are part of the
matrices, and so is their subtraction of the mean; their divisions are left out, which scale every
row by a positive number. Position vectors, MLPs and other heads are not on the direct path.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.errors import InputError
from attnviz.experiments.decomposition.frozen_norm import norms_recorded, read_norm
from attnviz.experiments.decomposition.head_matrices import head_matrices
from attnviz.experiments.hooked_model import HookedModel
from attnviz.experiments.model_blocks import prediction_blocks, streams_recorded
from attnviz.models import Model

__all__ = ["copying"]


def copying(model: Model) -> Float[np.ndarray, "layer head"]:
    """Return the copying score of every head, from -1 to 1; NaN for a head that adds nothing.

    >>> import attnviz
    >>> from attnviz.experiments.decomposition.copying import copying
    >>> scores = copying(attnviz.load("gpt-classroom"))
    >>> scores.shape
    (4, 8)

    Args:
        model: a decoder with a trained language head and one norm before it.

    Raises:
        InputError: the model is no such decoder; see `head_matrices`.
    """
    name = model.info.name
    if model.info.family != "decoder" or not model.predicts:
        raise InputError(
            f"copying is measured of models that predict the next token, not of {name}"
        )
    matrices = head_matrices(model, "self")
    if matrices.value is None:
        raise InputError(
            f"the value vectors of {name} are not linear in what a layer reads, so copying has no "
            "matrix; patch outputs instead"
        )
    words = model.network.get_input_embeddings().weight.detach().double()
    width = matrices.output.shape[-1]
    vocabulary = _vocabulary(model, width)
    if words.shape[-1] != width:
        raise InputError(f"the embeddings of {name} have another width than its residual stream")
    loop = vocabulary.T @ words  # (width, width): from the last norm around to the first layer
    small = matrices.output @ loop @ matrices.value  # (layer, head, dim, dim)
    eigenvalues = torch.linalg.eigvals(small)
    scores: np.ndarray = (eigenvalues.real.sum(-1) / eigenvalues.abs().sum(-1)).cpu().numpy()
    return scores


def _vocabulary(model: Model, width: int) -> Float[Tensor, "token width"]:
    """Return the matrix from the stream behind the last block to the logits.

    Raises:
        InputError: the stream is not read by one norm and one matrix.
    """
    refused = InputError(
        f"between the last layer of {model.info.name} and its logits is more than a norm and a "
        "matrix, so copying has no matrix"
    )
    hooked = HookedModel.of(model)
    _, blocks = prediction_blocks(hooked)
    head = hooked.network.get_output_embeddings()
    if head is None or head.weight.shape[-1] != width:
        raise refused
    read: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda module, arguments: read.append(arguments[0]))
    ids = torch.full((1, 1), 5, device=hooked.network.device)
    try:
        with (
            torch.inference_mode(),
            norms_recorded(hooked.network) as norms,
            streams_recorded(hooked, blocks) as streams,
        ):
            hooked.run({"input_ids": ids})
    finally:
        handle.remove()
    last = [one for one in norms if one.given is streams[blocks[-1]]]
    if not last or not read or not torch.equal(last[-1].output, read[-1]):
        raise refused
    norm = read_norm(last[-1].module, width)
    matrix: Tensor = head.weight.detach().double() * norm.gain.double()
    return matrix - matrix.mean(-1, keepdim=True) if norm.centred else matrix
