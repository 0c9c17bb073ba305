"""Archives: one checkpoint comes out, and nothing lands outside of the folder."""

import io
import tarfile
from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from trainer.weights import od_api


def member(name: str, content: bytes | None = b"", kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content or b"")
    info.linkname = "extremenet/ckpt-1.index" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    return info, content or b""


CHECKPOINT = [
    member("extremenet", kind=tarfile.DIRTYPE),
    member("extremenet/ckpt-1.data-00000-of-00001", b"values"),
    member("extremenet/ckpt-1.index", b"index"),
]


def written(folder: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> str:
    with tarfile.open(folder / "given.tar.gz", "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return str(folder / "given.tar.gz")


def test_an_archive_is_unpacked(tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    prefix = od_api.unpacked(written(tmp_path, CHECKPOINT), str(folder))
    assert prefix == str(folder / "extremenet" / "ckpt-1")
    assert Path(f"{prefix}.index").read_bytes() == b"index"
    assert Path(f"{prefix}.data-00000-of-00001").read_bytes() == b"values"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "holds 0 checkpoints"),
        ([*CHECKPOINT, member("other/ckpt-2.index")], "holds 2 checkpoints"),
        ([*CHECKPOINT, member("../outside")], "'../outside' is neither a file nor a folder inside"),
        ([*CHECKPOINT, member("/outside")], "'/outside' is neither a file nor a folder inside"),
        ([*CHECKPOINT, member("extremenet/../../outside")], "is neither a file nor a folder inside"),
        ([*CHECKPOINT, member("link", kind=tarfile.SYMTYPE)], "'link' is neither"),
        ([*CHECKPOINT, member("link", kind=tarfile.LNKTYPE)], "'link' is neither"),
        ([*CHECKPOINT, member("pipe", kind=tarfile.FIFOTYPE)], "'pipe' is neither"),
        ([*CHECKPOINT, member("large", bytes(1000))], "unpacks to more than 0 GB"),
    ],
)
def test_what_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    members: list[tuple[tarfile.TarInfo, bytes]],
    message: str,
) -> None:
    monkeypatch.setattr(od_api, "EXTRACTED_LIMIT", 1000)
    with pytest.raises(InputError, match=message):
        od_api.unpacked(written(tmp_path, members), str(tmp_path / "unpacked"))
    assert not list(tmp_path.rglob("outside"))
