from __future__ import annotations

import os
from pathlib import Path

import pytest

from tadshrink.errors import UserError
from tadshrink.files import atomic_path, check_output, copy_file, read_json, read_text, read_with, write_json, write_text


def test_text_and_json_come_back(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "folder" / "a.txt", "héllo\n")
    assert read_text(tmp_path / "new" / "folder" / "a.txt") == "héllo\n"
    write_json(tmp_path / "a.json", {"x": [1, None, 2.5]})
    assert read_json(tmp_path / "a.json") == {"x": [1, None, 2.5]}


def test_a_byte_order_mark_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"x": 1}')
    assert read_json(tmp_path / "a.json") == {"x": 1}


def test_the_temporary_file_lies_beside_and_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.mp4") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".mp4"
        assert not (tmp_path / "a.mp4").exists()
        temporary.write_bytes(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("problem", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_content_and_no_other_file(
    tmp_path: Path, problem: type[BaseException]
) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(problem), atomic_path(target) as temporary:
        temporary.write_text("ha")
        raise problem
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_obey_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode


def test_a_folder_or_device_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"folder: cannot write here \(not a regular file\)"):
        write_text(tmp_path / "folder", "x")
    with pytest.raises(UserError, match="not a regular file"):
        write_text("/dev/null", "x")


def test_a_path_below_a_file_is_a_user_error(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "x")
    with pytest.raises(UserError, match="cannot write here"):
        write_text(tmp_path / "a.txt" / "b.txt", "x")


def test_a_failing_write_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write \(No space left on device"), atomic_path(tmp_path / "a.txt"):
        raise OSError(28, os.strerror(28))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(22, os.strerror(22))

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "a.txt", "x")
    assert read_text(tmp_path / "a.txt") == "x"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"\xff\xfe", "byte 0 is not UTF-8"),
        (b'{"x": }', "Expecting value at line 1, column 7"),
        (b"[" * 100_000, "nesting too deep"),
        (b"9" * 10_000, "a number is too long"),
    ],
)
def test_each_unreadable_json_is_one_line_that_names_the_file(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_folder_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Is a directory"):
        read_with(tmp_path, lambda path: path.read_bytes())


def test_values_that_are_not_numbers_are_never_written_as_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.pth", "new/folder/a.pth", "there.pth"])
def test_a_good_output_passes_and_nothing_is_created(tmp_path: Path, name: str) -> None:
    (tmp_path / "there.pth").touch()
    check_output(tmp_path / name)
    check_output(None)
    assert [item.name for item in tmp_path.iterdir()] == ["there.pth"]


@pytest.mark.parametrize("name", [".", "file/a.pth", "file/more/a.pth"])
def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write here"):
        check_output(tmp_path / name)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(UserError, match="cannot write here"):
        check_output(tmp_path / "locked" / "a.pth")


def test_a_relative_output_is_looked_for_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_output(Path("a.pth"))


def test_a_copy_that_is_there_stays_untouched(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 9)
    copy_file(tmp_path / "a", tmp_path / "b")
    os.utime(tmp_path / "b", (1, 1))
    copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").stat().st_mtime == 1
    (tmp_path / "a").write_bytes(b"y" * 9)
    copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"y" * 9
