"""Models of transformers from local files: folders as the hub has them, and single GGUF files.

Nothing is downloaded and no code from a model's folder is run. A GGUF file is unpacked once on a machine.
"""

import importlib.util
import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

from tamis.schemas.errors import ConfigError, ModelError
from tamis.schemas.wording import install_extra
from tamis.scorers.causal.unpacked import known_unpacked, unpack

__all__ = [
    "CausalModel",
    "check_causal_model",
    "context_limit",
    "empty_causal_model",
    "load_causal_model",
    "load_encoder",
    "load_tokenizer",
    "quiet_transformers",
    "resolve_device",
    "start_token",
    "text_tokens",
]

DTYPES = ("float32", "bfloat16", "float16")
GGUF = ".gguf"
# What transformers, tokenizers, safetensors and gguf raise for files that are missing, damaged or of an unknown kind.
_FAULTS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError, struct.error)


class CausalModel(NamedTuple):
    """A language model and its tokenizer, ready to score.

    Attributes:
        model: a `transformers` causal language model on its device.
        tokenizer: its tokenizer.
    """

    model: Any
    tokenizer: Any


def load_causal_model(
    path: str | Path, *, gguf_file: str | None = None, device: str = "cpu", dtype: str = "float32"
) -> CausalModel:
    """Load model and tokenizer.

    Args:
        path: a model's folder, or a GGUF file.
        gguf_file: name of a GGUF file in the folder; its numbers are unpacked to `dtype`.
        device: as PyTorch calls it, or `auto`: see `resolve_device`.
        dtype: of weights and activations: `float32`, `bfloat16` or `float16`.

    Raises:
        ConfigError: if torch or transformers is missing, or device or dtype isn't known.
        ModelError: if the files can't be loaded; the message names them.
    """
    model = _load("AutoModelForCausalLM", path, gguf_file, device, dtype, unpacks=True)
    return CausalModel(model, load_tokenizer(path, gguf_file=gguf_file))


def load_encoder(path: str | Path, *, device: str = "cpu", dtype: str = "float32") -> tuple[Any, Any]:
    """Load a model without its head, such as a BERT, and its tokenizer; the arguments are `load_causal_model`'s.

    Raises:
        ConfigError: if torch or transformers is missing, or device or dtype isn't known.
        ModelError: if the files can't be loaded; the message names them.
    """
    return _load("AutoModel", path, None, device, dtype), load_tokenizer(path)


def load_tokenizer(path: str | Path, *, gguf_file: str | None = None) -> Any:
    """Load the tokenizer of a model's folder or GGUF file.

    Raises:
        ConfigError: if torch or transformers is missing.
        ModelError: if it can't be loaded.
    """
    transformers = _transformers()
    folder, options = _located(path, gguf_file)
    with quiet_transformers(transformers), _faults(path, gguf_file):
        return transformers.AutoTokenizer.from_pretrained(folder, **options)


def check_causal_model(path: str | Path, *, gguf_file: str | None = None, context: int | None = None) -> None:
    """Check from config and tokenizer alone that a model can score texts: seconds, where loading may take minutes.

    Args:
        path: a model's folder, or a GGUF file.
        gguf_file: name of a GGUF file in the folder.
        context: tokens in a window; None: as many as the model takes.

    Raises:
        ConfigError: if torch or transformers is missing, or the model is shorter than `context`.
        ModelError: if config or tokenizer can't be loaded, or the tokenizer has no start token.
    """
    transformers = _transformers()
    folder, options = _located(path, gguf_file)
    with quiet_transformers(transformers), _faults(path, gguf_file):
        config = transformers.AutoConfig.from_pretrained(folder, **options)
    start_token(load_tokenizer(path, gguf_file=gguf_file), str(path))
    limit = context_limit(config)
    if limit is None and context is None:
        msg = f"the config of {path} says nothing of its context: give `context`"
        raise ConfigError(msg)
    if limit is not None and context is not None and context > limit:
        msg = f"context is {context}, more than the {limit} tokens that {path} takes: lower it"
        raise ConfigError(msg)


def empty_causal_model(path: str | Path, *, gguf_file: str | None = None) -> Any:
    """Return a model without its weights, on PyTorch's device `meta`: for its sizes and the names of its layers.

    Raises:
        ConfigError: if torch or transformers is missing.
        ModelError: if its config can't be loaded.
    """
    transformers = _transformers()
    import torch

    folder, options = _located(path, gguf_file)
    with quiet_transformers(transformers), _faults(path, gguf_file), torch.device("meta"):
        config = transformers.AutoConfig.from_pretrained(folder, **options)
        return transformers.AutoModelForCausalLM.from_config(config, **{_dtype_option(transformers): torch.float32})


def context_limit(config: Any) -> int | None:
    """Return the most tokens that a model takes, by its `transformers` config; None if it doesn't say."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    for name in ("max_position_embeddings", "n_positions", "n_ctx"):
        size = getattr(text, name, None)
        if isinstance(size, int):
            return size
    return None


def start_token(tokenizer: Any, name: str = "the tokenizer") -> int:
    """Return the token that stands before a document: beginning of text, else end of text.

    Raises:
        ModelError: if there is neither.
    """
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    msg = f"{name} has neither a beginning-of-text nor an end-of-text token to start a document with"
    raise ModelError(msg)


def resolve_device(device: str) -> str:
    """Return the PyTorch device; `auto` is the first GPU, else the CPU.

    Raises:
        ConfigError: if there is no such device here.
    """
    _transformers()
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch built without CUDA asserts
        msg = f"the device {device!r} can't be used here ({str(error).splitlines()[0]}): try auto or cpu"
        raise ConfigError(msg) from error
    return device


def text_tokens(tokenizer: Any, text: str) -> list[int]:
    """Return the tokens of a text: special tokens aren't added, nor is a special token's name in it read as one."""
    tokens: list[int] = tokenizer(
        text, add_special_tokens=False, split_special_tokens=True, return_attention_mask=False, verbose=False
    )["input_ids"]
    return tokens


def _load(
    kind: str, path: str | Path, gguf_file: str | None, device: str, dtype: str, *, unpacks: bool = False
) -> Any:
    """Return a model that is ready to score, by the class of transformers that finds its architecture."""
    transformers = _transformers()
    where = resolve_device(device)
    if dtype not in DTYPES:
        msg = f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}"
        raise ConfigError(msg)
    import torch

    folder, options = _located(path, gguf_file)
    file = options.get("gguf_file")
    with quiet_transformers(transformers), _faults(path, gguf_file):
        if file is not None and unpacks:

            def packed() -> tuple[Any, Any]:
                wide = {_dtype_option(transformers): torch.float32}
                model = getattr(transformers, kind).from_pretrained(folder, **wide, **options)
                return model, transformers.AutoTokenizer.from_pretrained(folder, **options)

            found = unpack(Path(folder) / file, transformers.__version__, packed)
            if found is not None:
                folder, options = str(found), {"local_files_only": True}
        model = getattr(transformers, kind).from_pretrained(
            folder, **{_dtype_option(transformers): getattr(torch, dtype)}, **options
        )
        return model.to(where).eval()


def _transformers() -> Any:
    try:
        import torch  # noqa: F401  (transformers imports without it, and then has no models)
        import transformers
    except ImportError as error:
        msg = f"language models need the packages torch and transformers: {install_extra('lm')}"
        raise ConfigError(msg) from error
    return transformers


def _located(path: str | Path, gguf_file: str | None) -> tuple[str, dict[str, Any]]:
    """Return the folder and the options that make transformers read it."""
    place = Path(path)
    if gguf_file is None and place.suffix == GGUF:
        place, gguf_file = place.parent, place.name
    file = place / gguf_file if gguf_file else place
    # ORG/NAME may be a model in the hub's cache, where transformers looks.
    if not file.exists() and (gguf_file or place.is_absolute() or len(place.parts) > 2):
        msg = f"the language model or tokenizer {file} can't be loaded: there is no such file or folder"
        raise ModelError(msg)
    missing = [name for name in ("gguf", "accelerate") if gguf_file and importlib.util.find_spec(name) is None]
    if missing:
        msg = f"{file} is a GGUF file, and reading it needs the package {missing[0]}: {install_extra('lm')}"
        raise ConfigError(msg)
    known = known_unpacked(file, _transformers().__version__) if gguf_file and file.is_file() else None
    if known is not None:
        return str(known), {"local_files_only": True}
    return str(place), {"local_files_only": True, **({"gguf_file": gguf_file} if gguf_file else {})}


def _dtype_option(transformers: Any) -> str:
    """Return what `from_pretrained` calls the dtype: the old name warns in new versions."""
    major, minor = (int(part) for part in transformers.__version__.split(".")[:2])
    return "dtype" if (major, minor) >= (4, 56) else "torch_dtype"


@contextmanager
def _faults(path: str | Path, gguf_file: str | None) -> Iterator[None]:
    """Turn what the libraries raise for bad files into one sentence."""
    import safetensors

    shown = Path(path) / gguf_file if gguf_file else path
    try:
        yield
    except (*_FAULTS, safetensors.SafetensorError) as error:
        reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
        msg = f"the language model or tokenizer {shown} can't be loaded: {reason}"
        raise ModelError(msg) from error


@contextmanager
def quiet_transformers(transformers: Any) -> Iterator[None]:
    """Keep progress bars and notes of transformers off the terminal; errors are raised all the same."""
    logs = transformers.utils.logging
    level, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):  # unpacking GGUF shows a bar of its own
            yield
    finally:
        logs.set_verbosity(level)
        if bars:
            logs.enable_progress_bar()
