"""Folders that hold something else than a model that can be loaded, and what to do with each."""

from __future__ import annotations

from pathlib import Path

from attnviz.characters import shortened

__all__ = ["ADAPTER", "TRAINING", "what_instead"]

ADAPTER = "adapter_config.json"

FORMATS = (
    ("*.gguf", "a GGUF file, for llama.cpp", "take the model's original safetensors"),
    ("*.onnx", "an ONNX export", "take the model it was exported from"),
    ("tf_model.h5", "TensorFlow weights", "load it with the library and save it from PyTorch"),
    ("flax_model*.msgpack", "Flax weights", "load it with the library and save it from PyTorch"),
    ("*.ckpt.index", "a TensorFlow checkpoint", "convert it with the library's script first"),
    ("consolidated*", "weights in their maker's own layout", "take the transformers version"),
    ("model_index.json", "a pipeline of several models", "give the folder of one of its models"),
)
"""Pattern of a file, what it is, and what to do."""

TRAINING = ("optimizer", "scheduler", "scaler", "rng_state", "training_args", "trainer_state")
"""First parts of the names of files that a training keeps beside its model."""


def what_instead(folder: Path) -> str | None:
    """Return what a folder without configuration or weights holds, and what to do."""
    inside = sorted(
        path.parent.name
        for pattern in ("*/config.json", "*/adapter_config.json")
        for path in folder.glob(pattern)
    )
    for pattern, what, advice in FORMATS:
        files = sorted([*folder.glob(pattern), *folder.glob(f"onnx/{pattern}")])
        if files:
            return f"it holds {shortened(files[0].name)}, {what}; {advice}"
    if inside:
        listed = ", ".join(f"'{shortened(one)}'" for one in inside[:4])
        more = f" and {len(inside) - 4} more" if len(inside) > 4 else ""
        return f"there are models in its folders {listed}{more}; give one of these folders"
    parts = sorted(path.parent.name for path in folder.glob("*/*.safetensors"))
    if parts:
        return (
            f"there are weights in its folder '{shortened(parts[0])}'; put them and config.json "
            "into one folder"
        )
    left = sorted(path.name for one in TRAINING for path in folder.glob(f"{one}*"))
    if left:
        return (
            f"it holds the state of a training ({shortened(left[0])}) without the model; save the "
            "model with trainer.save_model(folder)"
        )
    return None
