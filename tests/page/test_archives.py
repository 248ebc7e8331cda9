"""The files of an upload: ZIP archives are read in place, within limits."""

import zipfile

import pytest

from resnext.errors import ImageError
from resnext.page import archives


def test_a_zip_is_read_without_folders_and_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../evil.jpg", b"content")
        archive.writestr("bomb.jpg", bytes(10_000_000))
    (evil, content), (bomb, large) = archives.files_in([str(tmp_path / "all.zip")])
    assert (evil, content.read(evil)) == ("evil.jpg", b"content")
    with pytest.raises(ImageError, match="bomb.jpg is larger than"):
        large.read(bomb)
    assert not (tmp_path.parent / "evil.jpg").exists()


def test_hidden_and_system_files_in_a_zip_are_left_out(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in (".DS_Store", "Thumbs.db", "a/._1.jpg", "__MACOSX/a/._1.jpg", "@eaDir/1.jpg/2.jpg"):
            archive.writestr(f"photos/{name}", b"content")
        archive.writestr("./photos/a/1.jpg", b"content")
    assert [name for name, _ in archives.files_in([str(tmp_path / "all.zip")])] == ["1.jpg"]


def test_a_zip_that_is_too_large_or_lists_too_much_is_refused_unread(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(3):
            archive.writestr(f"{index}.jpg", bytes(1000))
    monkeypatch.setattr(archives, "MAX_UNPACKED", 2500)
    *_, (name, fault) = found = archives.files_in([str(tmp_path / "all.zip")])
    assert len(found) == 3
    assert name == "2.jpg"
    assert "all.zip unpacks to more than" in str(fault)
    monkeypatch.setattr(archives, "MAX_DIRECTORY", 100)
    ((name, fault),) = archives.files_in([str(tmp_path / "all.zip")])
    assert name == "all.zip"
    assert "contains far more than 200 files" in str(fault)


def test_a_photograph_with_a_zip_behind_it_is_a_photograph(tmp_path):
    with zipfile.ZipFile(tmp_path / "behind.zip", "w") as archive:
        archive.writestr("inside.jpg", b"content")
    photograph = tmp_path / "photograph.jpg"
    photograph.write_bytes(b"\xff\xd8\xff" + bytes(100) + (tmp_path / "behind.zip").read_bytes())
    assert zipfile.is_zipfile(photograph)
    assert archives.files_in([str(photograph)]) == [("photograph.jpg", str(photograph))]


def test_files_beyond_the_limit_are_left_out_with_an_error(tmp_path):
    found = archives.files_in([f"{index}.jpg" for index in range(archives.MAX_FILES + 5)])
    assert len(found) == archives.MAX_FILES + 1
    assert "Only the first 200 files" in str(found[-1][1])
