"""Fetch what the tests and the area pages need and the repository has not: ``make data``.

Models and cell libraries come from the repositories that publish them, each at one commit and with
one SHA-256, into the folder `data` of the checkout (or ``$STOS_DATA``). Nothing but Python's
standard library is needed. A file that is there and right is not fetched again.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report.files import write_atomically

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file that somebody publishes.

    Parameters
    ----------
    name : str
        Where it lies in the folder.
    address : str
        Where it is published, at one commit.
    sha256 : str
        Of the content at that address; of a ``.lib``, which is kept packed as ``.lib.gz``, of the
        text.
    licence : str
        Under which its publisher gives it.
    """

    name: str
    address: str
    sha256: str
    licence: str = "Apache-2.0"

    @property
    def packed(self) -> bool:
        """Whether it is kept packed, and published as it is."""
        return self.name.endswith(".gz") and not self.address.endswith(".gz")

    def is_right(self, kept: bytes) -> bool:
        """Whether a kept file has the content that is wanted."""
        try:
            content = gzip.decompress(kept) if self.packed else kept
        except (EOFError, OSError):
            return False
        return hashlib.sha256(content).hexdigest() == self.sha256


_RAW = "https://raw.githubusercontent.com"
_TINY = f"{_RAW}/mlcommons/tiny/4addd0fa08d216e20637637874e084895f289da4/benchmark/training"

SOURCES = (
    Source(
        name="models/vww_96_int8.tflite",
        address=f"{_TINY}/visual_wake_words/trained_models/vww_96_int8.tflite",
        sha256="597a384c8c2c8a1276f04702f25013b7838f2f814f1ca7c174d295b73e3d6b7b",
    ),
    Source(
        name="models/pretrainedResnet_quant.tflite",
        address=f"{_TINY}/image_classification/trained_models/pretrainedResnet_quant.tflite",
        sha256="3c002613d1b2475eb51dd78dfb85a546c8ae658dee71cf6ade43b022fe205415",
    ),
    Source(
        name="models/kws_ref_model.tflite",
        address=f"{_TINY}/keyword_spotting/trained_models/kws_ref_model.tflite",
        sha256="aeea436800704fce17b17292e4412630ad856e9d777c044c64ef748a880bd0ae",
    ),
    Source(
        name="models/ad01_int8.tflite",
        address=f"{_TINY}/anomaly_detection/trained_models/ad01_int8.tflite",
        sha256="87cf24194ef93d1d9b11a591d805526b98008e351655d29883c825c9c106ba24",
    ),
    Source(
        name="models/users/person_detect.tflite",
        address=f"{_RAW}/tensorflow/tflite-micro/fddd3707a3c5733af4cb866f18650441e6712504"
        "/tensorflow/lite/micro/models/person_detect.tflite",
        sha256="808cfdfc0cf3a6fa6f6fa26bfa379ea97c16d5db7334637766e39c3408502e9d",
    ),
    Source(
        name="models/users/rps_84.tflite",
        address=f"{_RAW}/SiliconLabs/mltk/5e3d8ce2bb30a3e778fb115a6bdd9eb9ae7218bf"
        "/cpp/shared/apps/image_classifier/config/tflite/rock_paper_scissors.tflite",
        sha256="b817435d89dde371e9b90c5f0ed5565824dad9718de205a0643dd01ac55190e4",
        licence="Zlib",
    ),
    Source(
        name="models/users/dogs_vs_cats.tflite",
        address=f"{_RAW}/robmarkcole/tensorflow-lite-rest-server/9dd15e31de506486a662d74ac6d8885b98dbf262"
        "/models/classification/dogs-vs-cats/model.tflite",
        sha256="5564d594a05f7562b9bbd63bf9a3787020865e426f22fd711c9eb6260e3602d8",
    ),
    Source(
        name="models/users/blazeface_i8.tflite",
        address=f"{_RAW}/Efinix-Inc/tinyml/e5bc129e17f7a457dff334aa3fd040ccb85dbe27"
        "/tools/tinyml_generator/model/mediapipe_face_detection.tflite",
        sha256="886687a6a62e7a9508f5c6cc9f0fcc0fb1462058aa2bbe54496dc570a1e22751",
        licence="MIT",
    ),
    Source(
        name="models/users/nxp_yolo_face.tflite",
        address=f"{_RAW}/NXP/eiq-model-zoo/386e32f46cb78855834f7d859ab1592a74da7558"
        "/tasks/vision/object-detection/faceDet/yolo_face_detect.tflite",
        sha256="9aac54044b311409d5e371c7e9c8ebbf7eaa27832b12ee869b76bf5f1b13c6cf",
        licence="NXP permissive",
    ),
    Source(
        name="models/users/mnv2_160_035.tflite",
        address=f"{_RAW}/google/CFU-Playground/af11c509d5b703dc83405a1d656c76d3c6580795"
        "/proj/kws_micro_accel/build/src/models/mnv2/model_mobilenetv2_160_035.tflite",
        sha256="030239860f26cb560e548960a23d77ce3291bea951c75df2cf6d0e3294d31ae1",
    ),
    Source(
        name="models/users/te_vww.tflite",
        address=f"{_RAW}/mit-han-lab/tinyengine/c71768bb551dae171c815230d247ff4beee5634e"
        "/assets/vww.tflite",
        sha256="dfd1a2bec6f170299cba46d797eb7392aca207faa8a26004fffedcdca76befcb",
        licence="MIT",
    ),
    Source(
        name="models/users/hps_74ops.tflite",
        address=f"{_RAW}/google/CFU-Playground/ba3e90d18c15f916b0927e6d1438e0500812fa10"
        "/proj/proj_nn_1/build/src/models/hps_model/hps_model_2022_01_05_74ops.tflite",
        sha256="d93ecc415207fbc231139a620858b3102c3fb7376a64207fd5e01ff6457b7bbb",
    ),
    Source(
        name="models/users/mlt_ad_reshape.tflite",
        address=f"{_RAW}/SiliconLabs/mltk/ee2a1fc32dbafa5a2e5af66c54f6b3b62c445f2a"
        "/mltk/utils/test_helper/data/anomaly_detection.tflite",
        sha256="2f7e4928d41d1d151bb7a366aab6c15039816a634733872505f91efb91568081",
        licence="Zlib",
    ),
    Source(
        name="pdk/sg13g2_stdcell_typ_1p20V_25C.lib.gz",
        address=f"{_RAW}/IHP-GmbH/IHP-Open-PDK/219e824b1b35244d0db72bb41d32983131f2e826"
        "/ihp-sg13g2/libs.ref/sg13g2_stdcell/lib/sg13g2_stdcell_typ_1p20V_25C.lib",
        sha256="968b0cfdcefc49a88d9a5c48874769eaad9aba3509e1240b5e14a821bb07a3c4",
    ),
    Source(
        name="pdk/sky130hd_tt.lib.gz",
        address=f"{_RAW}/The-OpenROAD-Project/OpenSTA/b04def2de07e3bcec6a648c2d491e5fcff09ebd0"
        "/examples/sky130hd_tt.lib.gz",
        sha256="210e56be3a3a0907b5241a34d277f664cf4b4d91dcb49a27ff813df4406a5889",
    ),
)

_USERS = (
    "person_detect", "rps_84", "dogs_vs_cats", "blazeface_i8", "nxp_yolo_face", "mnv2_160_035",
    "te_vww", "hps_74ops", "mlt_ad_reshape", "mnv1_025_128_u8",
)  # fmt: skip
_RESULTS = "inputs, and what an interpreter of TensorFlow Lite computed from them"
#: Files that tests use and nobody publishes: what they are. Their tests are skipped without them.
UNPUBLISHED = {
    "models/vww_astronaut.npz": _RESULTS,
    "models/vww_coffee.npz": _RESULTS,
    "models/resnet8_chelsea.npz": _RESULTS,
    "models/kws_random7.npz": _RESULTS,
    "models/autoencoder_random1.npz": _RESULTS,
    "models/users/mnv1_025_128_u8.tflite": "mobilenet_v1_0.25_128_quant.tflite of "
    "google-coral/edgetpu, at a commit that is not known here",
    **{f"models/users/{name}.npz": _RESULTS for name in _USERS},
    "faults/buffers_after_the_flatbuffer.tflite": "a MobileNetV2 that a converter wrote",
    "data/cifar10_jpeg.npz": "CIFAR-10 as JPEG files, in an .npz",
}


def folders() -> list[Path]:
    """Return where files are looked for: $STOS_DATA, the checkout's `data`, and beside it."""
    chosen = os.environ.get("STOS_DATA")
    ours = [CHECKOUT / "data", CHECKOUT.parent / "shared"]
    return [Path(chosen), *ours] if chosen else ours


def find(name: str) -> Path:
    """Return where a file is, or would be after ``make data``."""
    places = [folder / name for folder in folders()]
    return next((place for place in places if place.exists()), places[0])


def missing(*names: str) -> str:
    """Return what a test says of the files that are absent; nothing if all are there."""
    absent = [name for name in names if not find(name).exists()]
    known = [name for name in absent if name in {source.name for source in SOURCES}]
    others = [f"{name} ({UNPUBLISHED[name]})" for name in absent if name not in known]
    said = [f"needs {', '.join(known)}: run `make data`"] if known else []
    said += [f"needs what nobody publishes: {', '.join(others)}"] if others else []
    return "; ".join(said)


def needs(*names: str) -> Any:
    """Return a mark that skips a test without some files, and says how to get them."""
    import pytest  # not needed to fetch

    reason = missing(*names)
    return pytest.mark.skipif(bool(reason), reason=reason)


class FetchError(RuntimeError):
    """A file could not be had."""


def download(source: Source) -> bytes:
    """Return the content at an address, checked."""
    try:
        with urllib.request.urlopen(source.address, timeout=60) as answer:
            content: bytes = answer.read()
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise FetchError(f"{source.address}: {getattr(error, 'reason', error)}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        raise FetchError(f"{source.address}: SHA-256 is {found}, not {source.sha256}")
    return content


def fetch(source: Source, folder: Path) -> bool:
    """Bring a file into a folder; return whether it had to be fetched.

    Raises
    ------
    FetchError
        If it cannot be had, or is not what it should be. Nothing is changed then.
    """
    path = folder / source.name
    if path.is_file() and source.is_right(path.read_bytes()):
        return False
    content = download(source)
    if source.packed:
        content = gzip.compress(content, mtime=0)
    write_atomically({path: content})
    return True


def main(sources: Sequence[Source] = SOURCES) -> int:
    """Fetch everything; return the exit status."""
    folder = Path(os.environ.get("STOS_DATA") or CHECKOUT / "data")
    failed = 0
    for number, source in enumerate(sources, 1):
        if sys.stderr.isatty():
            print(f"\r\033[K{number} of {len(sources)}: {source.name}", end="", file=sys.stderr)
        try:
            news = "fetched" if fetch(source, folder) else "is there"
        except (FetchError, OSError) as error:
            failed += 1
            news = f"FAILED: {error}"
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
        print(f"{source.name}: {news}", file=sys.stderr if news[0] == "F" else sys.stdout)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
