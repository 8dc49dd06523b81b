from __future__ import annotations

from pathlib import Path

from tadshrink.data import overlaps
from tadshrink.data.overlaps import SplitFile, same_files
from tadshrink.data.sampled import PIECE


def split_file(folder: Path, split: str, name: str, content: bytes) -> SplitFile:
    (folder / name).write_bytes(content)
    return SplitFile(split, f"video {name!r}", folder / name)


def test_the_same_content_under_another_name_in_another_split(tmp_path: Path) -> None:
    long = bytes(range(256)) * 200
    files = [split_file(tmp_path, *item) for item in (("training", "a", long), ("testing", "b", long), ("testing", "c", long[1:] + b"x"),
                                                      ("training", "d", long), ("validation", "e", b"short"), ("testing", "f", b"short"))]
    found = list(same_files([*files, SplitFile("testing", "video 'gone'", tmp_path / "gone")]))
    assert [(problem.file.name, str(problem), problem.fatal) for problem in found] == [
        ("b", "video 'b' of 'testing': 51,200 bytes as in video 'a' of 'training' (a), and the same at start, middle and end", False),
        ("f", "video 'f' of 'testing': 5 bytes as in video 'e' of 'validation' (e), and the same at start, middle and end", False)]


def test_start_middle_and_end_are_compared(tmp_path: Path) -> None:
    whole = bytes(10 * PIECE)
    for number, place in enumerate((5, 5 * PIECE, 10 * PIECE - 1)):
        files = [split_file(tmp_path, "training", f"{number}a", whole),
                 split_file(tmp_path, "testing", f"{number}b", whole[:place] + b"x" + whole[place + 1:])]
        assert not list(same_files(files))


def test_what_differs_in_size_or_lies_in_one_split_is_not_read(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(overlaps, "sampled", None)
    files = [("training", "a", b"1"), ("training", "b", b"1"), ("testing", "c", b"12"), ("training", "d", b""), ("testing", "e", b"")]
    assert not list(same_files([split_file(tmp_path, *item) for item in files]))


def test_one_name_in_two_splits_is_told_elsewhere(tmp_path: Path) -> None:
    file = split_file(tmp_path, "training", "a", b"1")
    assert not list(same_files([file, SplitFile("testing", file.record, file.path)]))
    assert len(list(same_files([file, SplitFile("testing", "video 'link'", file.path)]))) == 1
