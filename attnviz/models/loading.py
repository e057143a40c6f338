"""A model by catalogue name, hub id or local folder: safetensors only, never foreign code."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSpeechSeq2Seq,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from attnviz.attention import Sites, find_sites
from attnviz.errors import (
    InputError,
    ModelError,
    ModelNotAllowed,
    ModelNotFound,
    ModelNotSupported,
    ModelOffline,
    ModelUnsafe,
)
from attnviz.models.catalogue import known_heads, shipped
from attnviz.types import Family, ModelInfo

__all__ = ["Model", "best_device", "instrument", "load"]

Source = Literal["classroom", "folder", "hub", "object"]
AUTO_CLASSES: dict[Family, Any] = {
    "encoder": AutoModelForMaskedLM,
    "decoder": AutoModelForCausalLM,
    "encoder-decoder": AutoModelForSeq2SeqLM,
}
LONGEST_NAME = 1000  # characters of a path; hub names have at most 96
FEWEST_WORDS = 2  # T5's empty vocabulary still holds a lone space
UNBOUNDED = 10**6  # tokenizers without a limit say so with a huge number


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model whose attention is instrumented.

    Attributes:
        network: the library's model, in evaluation mode.
        vocabulary: its tokenizer; None for a model of pictures.
        info: what a person should know about it.
        sites: where its attentions are.
        prompt: what it was trained to see before a text, for shipped models.
        predicts: whether its language head was trained; a body saved without one has attention,
            but what it would predict is noise.
    """

    network: PreTrainedModel
    vocabulary: PreTrainedTokenizerBase | None
    info: ModelInfo
    sites: Sites
    prompt: str = ""
    predicts: bool = True

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Its tokenizer, where there has to be one.

        Raises:
            InputError: there is none, as in a model of pictures.
        """
        if self.vocabulary is None:
            raise InputError(
                f"{self.info.name} reads no text: it has no tokenizer. Capture what it reads with "
                f"attnviz.capture_inputs(model, {{'{self.sites.reads[0]}': tensor}})"
            )
        return self.vocabulary


def best_device() -> str:
    """The fastest device this machine has: CUDA, then Apple's, then the processor."""
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def load(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    allowed_folders: Sequence[str | Path] | None = None,
) -> Model:
    """Load a BERT, a GPT, a T5 or a relative, a ViT, CLIP or Whisper, ready to be captured.

    Args:
        name: a catalogue name ("gpt-classroom"), a local folder, or a hub id ("org/model").
        device: "auto", or a torch device.
        dtype: "auto" (float32 on a processor; on a GPU what the weights are stored in), or the
            name of a torch float type.
        revision: branch, tag or commit on the hub; the commit it resolves to is recorded.
        allowed_folders: when given, local folders outside these are refused (for servers).

    Raises:
        ModelNotFound: no such model, folder or revision.
        ModelNotAllowed: gated, or outside the allowed folders.
        ModelOffline: not on this machine, and the hub cannot be reached.
        ModelUnsafe: it has no safetensors weights.
        ModelNotSupported: no attention that attnviz could see.
    """
    name = _readable(name)
    chosen = shipped(name)
    if chosen is not None and not (chosen.folder / "config.json").is_file():
        raise ModelNotFound(
            f"'{name}' is listed but its weights are not in this installation "
            f"({chosen.folder.name}); reinstall attnviz or choose another model"
        )
    folder = chosen.folder if chosen else _local_folder(name, allowed_folders)
    if folder is not None:
        _check_weights(folder, name)
    place = str(folder) if folder is not None else name
    options: dict[str, Any] = {
        "trust_remote_code": False,
        "local_files_only": folder is not None,
    }
    chosen_device = _device(device)
    with _Explained(name, revision, local=folder is not None):
        config = AutoConfig.from_pretrained(place, revision=revision, **options)
        commit = getattr(config, "_commit_hash", None) or revision
        if folder is None:
            options["revision"] = commit
        family, auto_class = _family(config)
        tokenizer = None
        if _reads_text(auto_class, config):
            tokenizer = AutoTokenizer.from_pretrained(place, **options)
            _check_words(tokenizer, name)
        network, loaded = auto_class.from_pretrained(
            place,
            config=config,
            dtype=_dtype(dtype, chosen_device, config),
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
        network = network.to(chosen_device)
    predicts = _check_complete(network, loaded["missing_keys"], name)
    return instrument(
        network,
        tokenizer,
        name=name,
        title=chosen.title if chosen else name,
        source="classroom" if chosen else "folder" if folder is not None else "hub",
        revision=_digest(folder) if folder is not None else str(commit),
        folder=folder,
        family=family,
        prompt=chosen.prompt if chosen else "",
        predicts=predicts,
    )


def instrument(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    name: str | None = None,
    title: str | None = None,
    source: Source = "object",
    revision: str = "",
    folder: Path | None = None,
    family: Family | None = None,
    prompt: str = "",
    predicts: bool = True,
) -> Model:
    """Make a model that is already in memory ready to be captured.

    The model's attention implementation is switched to attnviz's; its numbers do not change.
    Without a tokenizer it can be given ids, pictures and sounds, but no text.

    Raises:
        ModelNotSupported: no attention that attnviz could see.
    """
    network.eval()
    sites = find_sites(network)
    config = network.config
    label = name or type(network).__name__
    info = ModelInfo(
        name=label,
        title=title or label,
        source=source,
        revision=revision,
        model_type=config.model_type,
        family=family or _family(config)[0],
        heads=sites.heads,
        key_heads=sites.key_heads,
        max_tokens=None if sites.reads == ("pixel_values",) else _max_tokens(network, tokenizer),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        device=str(network.device),
        dtype=str(network.dtype).removeprefix("torch."),
        known_heads=known_heads(folder) if folder is not None else (),
        layers=sites.layers,
    )
    return Model(network, tokenizer, info, sites, prompt, predicts)


def _readable(name: str) -> str:
    """The name without spaces around it, if it can be one."""
    name = name.strip()
    if not name:
        raise ModelNotFound(
            "no model name was given; choose a listed model, a folder, or a hub name (org/model)"
        )
    if len(name) > LONGEST_NAME or not name.isprintable():
        start = "".join(
            one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in name[:40]
        )
        raise ModelNotFound(
            f"'{start}' is no model name (it has {len(name)} characters, or some that nobody can "
            "see); choose a listed model, a folder, or a hub name (org/model)"
        )
    return name


def _local_folder(name: str, allowed: Sequence[str | Path] | None) -> Path | None:
    """The folder a name points to, or None when it can only be a hub id."""
    looks_local = name.startswith((".", "/", "~", "\\")) or "\\" in name or name.count("/") > 1
    try:
        path: Path | None = Path(name).expanduser().resolve()
        there = path is not None and path.exists()
    except (OSError, RuntimeError, ValueError):  # too long, nobody's home, a loop of links
        path, there = None, False
    if not looks_local and not there:
        return None
    if allowed is not None:
        roots = [Path(root).expanduser().resolve() for root in allowed]
        # The same answer whether or not the path exists: a stranger learns nothing about the disk.
        # And no way around it through the hub's name for the same thing: the library, too, looks
        # for a folder first.
        if path is None or not any(path.is_relative_to(root) for root in roots):
            raise ModelNotAllowed(
                "this server loads models from its own model folders only; "
                "choose a listed model or a hub name such as org/model"
            )
    if path is None or not path.is_dir():
        raise ModelNotFound(f"there is no folder '{name}'; give a folder with a config.json")
    if not (path / "config.json").is_file():
        raise ModelNotFound(
            f"'{name}' has no config.json; expected a folder as `save_pretrained` writes it"
        )
    return path


def _check_weights(folder: Path, name: str) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickles = [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]
    if pickles:
        raise ModelUnsafe(
            f"'{name}' has only {pickles[0].name}, a pickle: reading it could run a stranger's "
            "code. Convert it to safetensors where you trust it: "
            "model.save_pretrained(folder, safe_serialization=True)"
        )
    raise ModelNotFound(f"'{name}' has a config.json but no *.safetensors weights")


def _check_words(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Refuse what the library makes up where a folder holds no vocabulary: one without words."""
    if len(tokenizer) - len(set(tokenizer.all_special_ids)) < FEWEST_WORDS:
        raise ModelNotFound(
            f"'{name}' comes without a tokenizer: expected a tokenizer.json (or vocabulary files) "
            "beside its config.json, as `tokenizer.save_pretrained(folder)` writes them"
        )


def _check_complete(network: PreTrainedModel, missing: Collection[str], name: str) -> bool:
    """Whether the weights that were missing are at most those of the language head.

    The library fills what is missing with random numbers; attention made of those is nobody's.
    """
    body = network.base_model
    inside = {id(one) for one in body.parameters()}
    if body is network and network.get_output_embeddings() is not None:
        inside -= {id(one) for one in network.get_output_embeddings().parameters()}
    lost = [one for one, weights in network.named_parameters() if one in missing]
    # A pooler comes after all attention: without it, too, that is the model's own.
    needed = [
        one
        for one in lost
        if id(network.get_parameter(one)) in inside and "pooler" not in one.split(".")
    ]
    if needed:
        raise ModelError(
            f"the weights of '{name}' are incomplete: {needed[0]} is missing"
            + (f", and {len(needed) - 1} more" if len(needed) > 1 else "")
        )
    return not lost


def _family(config: PreTrainedConfig) -> tuple[Family, Any]:
    """What a configuration describes, and the class that loads it with its language head."""
    architecture = next(iter(config.architectures or ()), "")
    if type(config) in AutoModelForSpeechSeq2Seq._model_mapping:
        return ("encoder-decoder", AutoModelForSpeechSeq2Seq)
    if "ImageClassification" in architecture:
        return ("encoder", AutoModelForImageClassification)
    if config.is_encoder_decoder:
        family: Family = "encoder-decoder"
    elif "MaskedLM" in architecture or "PreTraining" in architecture:
        family = "encoder"
    elif "CausalLM" in architecture or "LMHead" in architecture:
        family = "decoder"
    else:
        # A body without a head (BertModel, GPT2Model), or a classifier on one.
        known = AutoModelForMaskedLM._model_mapping
        causal = AutoModelForCausalLM._model_mapping
        masked_only = type(config) in known and not getattr(config, "is_decoder", False)
        family = "encoder" if masked_only else "decoder"
        if type(config) not in known and type(config) not in causal:
            return ("encoder", AutoModel)
    auto_class = AUTO_CLASSES[family]
    if type(config) not in auto_class._model_mapping:
        raise ModelNotSupported(
            f"models of type '{config.model_type}' ({architecture or 'no architecture named'}) "
            "are not text models with attention that attnviz knows how to run"
        )
    return family, auto_class


def _reads_text(auto_class: Any, config: PreTrainedConfig) -> bool:
    """Whether a model needs a tokenizer: all but those that read pictures and write nothing."""
    if config.is_encoder_decoder or type(config) not in auto_class._model_mapping:
        return True
    chosen = auto_class._model_mapping[type(config)]
    chosen = chosen[0] if isinstance(chosen, (list, tuple)) else chosen
    return str(chosen.main_input_name) != "pixel_values"


def _device(device: str) -> torch.device:
    """The device asked for, once something has been put there."""
    try:
        chosen = torch.device(best_device() if device == "auto" else device)
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(
            f"this machine has no device '{device}' that could compute; use 'auto' or 'cpu'"
        ) from error
    return chosen


def _dtype(dtype: str, device: torch.device, config: PreTrainedConfig) -> torch.dtype:
    """The type to compute in: exact where memory is cheap, as stored on a GPU."""
    if dtype == "auto":
        stored = getattr(config, "dtype", None)
        if device.type == "cpu" or not isinstance(stored, torch.dtype):
            return torch.float32
        return stored
    found = getattr(torch, dtype, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ModelError(
            f"dtype {dtype!r} is not a float type; use 'auto', 'float32', 'bfloat16' or 'float16'"
        )
    return found


def _max_tokens(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> int | None:
    """Tokens of text it was made for; None where neither it nor its tokenizer names a limit."""
    config = getattr(network.config, "text_config", None) or network.config
    limits = [] if tokenizer is None else [int(tokenizer.model_max_length)]
    names = ["max_position_embeddings", "max_target_positions"]
    if not config.is_encoder_decoder:  # T5 names n_positions, but its positions are relative
        names.append("n_positions")
    limits += [found for name in names if isinstance(found := getattr(config, name, None), int)]
    for name, module in network.named_modules():
        # RoBERTa and its kin count positions from behind the padding id: some rows are never used.
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - unused)
    sensible = [limit for limit in limits if 0 < limit < UNBOUNDED]
    return min(sensible) if sensible else None


def _digest(folder: Path) -> str:
    """A short name for the exact weights in a folder: the start of their SHA-256."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    return digest.hexdigest()[:12]


class _Explained:
    """Turns the library's many ways of failing to load into sentences with a next step."""

    def __init__(self, name: str, revision: str | None, local: bool) -> None:
        self.name = name
        self.revision = revision
        self.local = local

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, ModelError) or not isinstance(error, Exception):
            return
        raise self._explain(error) from error

    def _explain(self, error: Exception) -> ModelError:
        name = self.name
        causes = list(_causes(error))

        def caused_by(*types: type[BaseException]) -> bool:
            return any(isinstance(cause, types) for cause in causes)

        text = " ".join(str(cause) for cause in causes)
        if caused_by(GatedRepoError):
            return ModelNotAllowed(
                f"'{name}' is gated: its owners grant access one by one. Ask for it on the "
                "model's page and log in with `hf auth login` on this machine"
            )
        if caused_by(RevisionNotFoundError):
            return ModelNotFound(f"'{name}' has no revision '{self.revision}'")
        if caused_by(RepositoryNotFoundError):
            return ModelNotFound(
                f"there is no model '{name}' on the hub (or it is private); check the spelling: "
                "org/model"
            )
        if caused_by(HFValidationError):
            return ModelNotFound(
                f"'{name}' is neither a listed model, nor a folder, nor a hub name (org/model)"
            )
        if "safetensors" in text and ("does not appear to have" in text or "no file" in text):
            return ModelUnsafe(
                f"'{name}' offers no safetensors weights; attnviz does not unpickle strangers' "
                "files. Many models have a safetensors revision: pass it as `revision`"
            )
        if "trust_remote_code" in text:
            return ModelNotSupported(
                f"'{name}' comes with its own code, which attnviz does not run; choose a model of "
                "an architecture the library knows"
            )
        offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
        unreachable = caused_by(OfflineModeIsEnabled, LocalEntryNotFoundError) or any(
            # By name: which library the hub is asked through changes with its version.
            base.__name__ in ("ConnectionError", "TransportError", "Timeout", "TimeoutError")
            for cause in causes
            for base in type(cause).__mro__
        )
        if not self.local and (unreachable or offline or "couldn't connect" in text.lower()):
            return ModelOffline(
                f"'{name}' is not on this machine and the hub cannot be reached. The classroom "
                "models need no network; or give a local folder"
            )
        if isinstance(error, (ValueError, KeyError)) and "model type" in text:
            return ModelNotSupported(f"the architecture of '{name}' is unknown to the library")
        # Whatever else a stranger's files make the library stumble over.
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        return ModelError(f"'{name}' could not be loaded: {reason[:200]}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
