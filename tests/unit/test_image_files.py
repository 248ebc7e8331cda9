"""Image files of every kind: the pixels are those that a person sees, whatever the metadata are like."""

import collections
import io
import random
import re
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from resnext.errors import ImageError
from resnext.icc_profiles import coded_profile
from resnext.image_formats import UNSUPPORTED_SUFFIXES, shown_by_browsers
from resnext.image_parts import MAX_PROFILE, read_orientation, take_apart
from resnext.preprocessing import MAX_PIXELS, open_image
from tests.helpers.icc_profiles import ADOBE_RGB, DISPLAY_P3, PROPHOTO, gray_profile, rgb_profile
from tests.helpers.image_corpus import (
    FAULTY_EXIF,
    P3_XY,
    SRGB_XY,
    TURN,
    chunk,
    color_chunks,
    colors,
    compared,
    corpus,
    exif,
    heic,
    png,
    profile_chunk,
    tiff,
    with_code,
)


@pytest.mark.slow
def test_every_file_of_the_corpus_has_the_pixels_that_a_person_sees(browser):
    page = browser.new_page()
    results = [compared(case, page) for case in corpus()]
    page.close()
    assert len(results) > 200
    assert len({result.name for result in results}) == len(results)
    assert not [result for result in results if result.fault]
    assert collections.Counter(result.reference for result in results)["Chromium"] > 140


@pytest.mark.parametrize("fault", FAULTY_EXIF)
def test_the_orientation_is_found_beside_faulty_entries(fault):
    assert read_orientation(FAULTY_EXIF[fault]) == 6
    assert read_orientation(b"Exif\0\0" + FAULTY_EXIF[fault]) == 6


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II*\0",
        b"MM\0*\xff\xff\xff\xff",
        b"text",
        exif(),
        exif((274, 3, 1, 0)),
        exif((274, 3, 1, 9)),
        exif((274, 2, 2, b"6\0\0\0")),
        exif((274, 3, 1000, 6)),
        exif(TURN)[:15],
    ],
)
def test_exif_without_a_valid_orientation_turns_nothing(data):
    assert read_orientation(data) == 1


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_all_metadata_but_orientation_and_profile_are_taken_off(form):
    file = io.BytesIO()
    profile = rgb_profile(DISPLAY_P3)
    data = b"Exif\0\0" + exif(TURN, (271, 2, 4, b"abc\0"))
    Image.fromarray(colors()).save(file, form, exif=data, icc_profile=profile, comment="abc")
    parts = take_apart(file.getvalue())
    assert read_orientation(parts.exif) == 6
    assert parts.profile == profile
    with Image.open(io.BytesIO(parts.content)) as bare, Image.open(file) as whole:
        assert not {"exif", "icc_profile"} & bare.info.keys()
        assert np.array_equal(bare, whole)
    assert take_apart(parts.content).content == parts.content


def test_a_profile_that_unpacks_to_gigabytes_is_ignored():
    bomb = chunk(b"iCCP", b"bomb\0\0" + zlib.compress(bytes(50 * MAX_PROFILE), 1))
    assert take_apart(png(colors(), 8, 2, bomb)).profile == b""


@pytest.mark.parametrize("quality", [50, 95])
@pytest.mark.parametrize("shorter_side", [None, 8])
def test_a_jpeg_without_a_profile_or_with_srgb_s_is_decoded_as_pillow_does(quality, shorter_side):
    image = Image.fromarray(colors()).resize((480, 320), Image.Resampling.BICUBIC)
    decoded = []
    for profile in (b"", rgb_profile()):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, icc_profile=profile)
        decoded.append(np.asarray(open_image(file.getvalue(), shorter_side)))
        with Image.open(file) as plain:
            if shorter_side:
                plain.draft(None, (60, 40))
            assert np.array_equal(decoded[-1], np.asarray(plain))
    assert np.array_equal(*decoded)


@pytest.mark.parametrize("gamma", [45000, 45455, 45500])
@pytest.mark.parametrize("off", [-5, 0, 5])
def test_a_png_with_the_numbers_of_srgb_keeps_its_pixels(gamma, off):
    chunks = color_chunks(gamma, tuple(value + off for value in SRGB_XY))
    for more in (chunks, color_chunks(gamma), color_chunks(code=(1, 13, 0, 1))):
        assert take_apart(png(colors(), 8, 2, more)).profile in (b"", coded_profile(1, 13))
        assert np.array_equal(open_image(png(colors(), 8, 2, more)), colors())


@pytest.mark.parametrize(
    "chunks", [color_chunks(100_000), color_chunks(45455, P3_XY), color_chunks(code=(12, 13, 0, 1))]
)
def test_a_png_with_other_colors_than_srgb_s_is_converted(chunks):
    difference = np.abs(np.asarray(open_image(png(colors(), 8, 2, chunks)), int) - colors())
    assert difference.mean() > 5
    # A profile counts before gamma and primaries, but not before the code.
    profiled = np.asarray(open_image(png(colors(), 8, 2, chunks, profile_chunk(rgb_profile()))))
    assert np.array_equal(profiled, colors()) == (b"cICP" not in chunks)


@pytest.mark.parametrize("form", ["AVIF", "HEIF"])
def test_the_colors_that_a_video_format_gives_as_numbers_are_converted(form):
    file = io.BytesIO()
    pillow_heif.register_heif_opener()
    Image.fromarray(colors()).save(file, form, quality=95)
    plain = np.asarray(open_image(file.getvalue()), int)
    for code in ((1, 1), (1, 2), (1, 6), (2, 2)):
        assert np.array_equal(open_image(with_code(file.getvalue(), *code)), plain)
    for code in ((12, 13), (9, 14), (1, 8), (9, 16), (9, 18)):
        shown = np.asarray(open_image(with_code(file.getvalue(), *code)), int)
        assert np.abs(shown - plain).mean() > 5
        # As in a PNG, of which the corpus compares the colors with a browser's.
        as_png = png(plain.astype(np.uint8), 8, 2, color_chunks(code=(*code, 0, 1)))
        assert code[1] == 14 or np.abs(np.asarray(open_image(as_png), int) - shown).max() <= 1


@pytest.mark.parametrize(
    "profile", [rgb_profile(DISPLAY_P3), rgb_profile(ADOBE_RGB, 2.2), rgb_profile(PROPHOTO, 1.8)]
)
def test_a_wide_profile_changes_colors_and_one_of_gray_does_not(profile):
    file = io.BytesIO()
    Image.fromarray(colors()).save(file, "PNG", icc_profile=profile)
    assert not np.array_equal(open_image(file.getvalue()), colors())
    file = io.BytesIO()
    Image.fromarray(colors()).save(file, "PNG", icc_profile=gray_profile(1.0))
    assert np.array_equal(open_image(file.getvalue()), colors())


def test_an_image_opened_by_the_caller_looks_like_its_file(tmp_path):
    wanted = ("JPEG, orientation 6", "PNG, RGB with tRNS", "JPEG, profile ProPhoto", "TIFF, orientation 6")
    wanted += ("TIFF, floats from 0 to 1", "PNG, gray of 4 bits with tRNS", "HEIC, orientation 6")
    wanted += ("TIFF, RGB of 12 bits in 16", "TIFF, RGB of 12 bits in 16, orientation 6")
    wanted += ("PNG, gamma 1", "PNG, gamma 1 and sRGB", "PNG, primaries of Display P3")
    wanted += ("AVIF, the code of Display P3", "HEIC, the code of Display P3")
    cases = [case for case in corpus() if case.name in wanted]
    assert len(cases) == len(wanted)
    for case in cases:
        with Image.open(io.BytesIO(case.content)) as image:
            assert np.array_equal(open_image(image), open_image(case.content)), case.name


KINDS = {
    "a JPEG 2000 image": [b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51\0\x2f"],
    "a JPEG XL image": [b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a\x01"],
    "a Photoshop image": [b"8BPS\0\1"],
    "an SVG drawing": [
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn -->\n<svg/>',
    ],
    "a PDF document": [b"%PDF-1.7"],
    "a PostScript drawing": [b"%!PS-Adobe-3.0 EPSF-3.0\n"],
    "a PAM image": [b"P7\nWIDTH 4\n"],
    "a PFM image in color": [b"PF\n4 4\n-1.0\n"],
    "a PNG image of an iPhone app": [b"\x89PNG\r\n\x1a\n" + chunk(b"CgBI", b"\x50\0\x20\x02")],
    "an icon": [b"\0\0\1\0\1\0"],
    "a CMYK image in separate planes of 16 bits": [tiff(np.zeros((8, 8, 4), "<u2"), 5, separate=True)],
    "a video": [b"\0\0\0\x14ftypqt  \0\0\2\0qt  ", b"\0\0\0\x18ftypmp42\0\0\0\0isommp42"],
    "a camera's raw file": [
        b"II*\0\x10\0\0\0CR\2\0",
        b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
        b"FUJIFILMCCD-RAW 0201",
        b"IIRO\x08\0\0\0",
        tiff(colors(), 2, t254=1, t330=1000),
        tiff(colors(), 2, t50706=b"\1\4\0\0"),
    ],
}


@pytest.mark.parametrize(
    "kind, content", [(kind, content) for kind, contents in KINDS.items() for content in contents]
)
def test_a_format_that_is_not_read_is_named(tmp_path, kind, content):
    (tmp_path / "photo.jpg").write_bytes(content)
    for source, name in ((tmp_path / "photo.jpg", tmp_path / "photo.jpg"), (content, "The image")):
        with pytest.raises(ImageError) as error:
            open_image(source)
        assert str(error.value) == f"{name} is {kind}, which is not supported: convert it to JPEG or PNG."


@pytest.mark.parametrize(
    "content, kind",
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><title>403</title>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS: run `git lfs pull`"),
        (b"PK\3\4" + bytes(50), "a ZIP file"),
        (b"\xff\xd8\xff\xf7" + bytes(50), "a JPEG that is damaged or of a kind that is not supported"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "a PNG that is damaged or of a kind that is not supported"),
        (bytes(5000), "not an image of a known format"),
    ],
)
def test_what_is_found_in_place_of_an_image_is_named(content, kind):
    with pytest.raises(ImageError) as error:
        open_image(content)
    assert str(error.value) == f"The image cannot be read as an image: it is {kind}."


@pytest.mark.parametrize("suffix", [".nef", ".ARW", ".dng", ".cr2", ".tga", ".jp2"])
def test_a_raw_file_is_not_taken_for_the_small_picture_in_it(tmp_path, suffix):
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(tiff(colors(), 2) if suffix.lower() not in (".tga", ".jp2") else b"unknown")
    with pytest.raises(ImageError, match="is not supported: convert it to JPEG or PNG"):
        open_image(path)


@pytest.mark.parametrize("suffix", [".nef", ".jp2", ".svg", ".bin", ""])
def test_a_jpeg_of_any_name_is_read(tmp_path, suffix):
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(colors()).save(path, "JPEG")
    assert open_image(path).size == (48, 32)


def test_a_tiff_of_an_unknown_kind_is_named():
    planes = np.zeros((8, 8, 3), "<f4")
    with pytest.raises(
        ImageError, match="is a TIFF that is damaged or of a kind that is not supported: convert"
    ):
        open_image(tiff(planes, 2))


def test_a_tiff_that_would_be_decoded_as_noise_is_named(tmp_path):
    Image.fromarray(colors()).convert("YCbCr").save(tmp_path / "scan.tif")
    with pytest.raises(ImageError, match=r"scan.tif is an uncompressed TIFF of YCbCr colors, which is not"):
        open_image(tmp_path / "scan.tif")


def test_a_targa_image_is_not_called_an_icon(tmp_path):
    Image.fromarray(colors()).save(tmp_path / "photo.tga")
    with pytest.raises(ImageError, match="is a Targa image, which is not supported"):
        open_image(tmp_path / "photo.tga")


def test_a_decoder_that_gives_no_reason_is_put_into_words():
    # 50001 is the compression WebP, which Pillow's libtiff lacks.
    with pytest.raises(ImageError, match="an image: it is damaged or of a kind that is not supported"):
        open_image(tiff(colors(), 2, t259=50001))


def test_only_formats_that_browsers_show_need_no_preview():
    for case in corpus():
        assert shown_by_browsers(case.content) == (
            case.suffix in ("jpg", "png", "webp", "gif", "bmp", "avif")
        )


def test_damaged_bmps_with_odd_masks_are_an_image_or_one_clear_error():
    rng = np.random.default_rng(0)
    intact = next(case.content for case in corpus() if case.name == "BMP, 4 bits a color, alpha")
    with pytest.raises(ImageError, match="image file is truncated"):
        open_image(intact[:-100])
    for _ in range(200):
        broken = np.frombuffer(intact, np.uint8).copy()
        broken[rng.integers(10, 70, 3)] = rng.integers(0, 256, 3)
        outcome = image_or_error(broken.tobytes())
        assert isinstance(outcome, ImageError) or outcome.mode == "RGB"


JPEG_KINDS = [
    {"quality": 75},
    {"quality": 95, "subsampling": 0, "optimize": True},
    {"quality": 60, "restart_marker_blocks": 1},
    {"quality": 90, "restart_marker_rows": 1, "subsampling": 1},
    {"quality": 85, "progressive": True},
    {"quality": 60, "progressive": True, "restart_marker_blocks": 8, "subsampling": 0},
]


def jpeg_of_noise(**options):
    """A JPEG whose blocks all differ."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
    Image.fromarray(noise).resize((160, 96), Image.Resampling.BICUBIC).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("options", JPEG_KINDS)
@pytest.mark.parametrize("shorter_side", [None, 8])
def test_a_jpeg_that_lacks_only_its_end_is_read(tmp_path, options, shorter_side):
    jpeg = jpeg_of_noise(**options)
    path = tmp_path / "photo.jpg"
    for missing in (1, 2):
        path.write_bytes(jpeg[:-missing])
        for source in (jpeg[:-missing], path):
            assert np.array_equal(open_image(source, shorter_side), open_image(jpeg, shorter_side))


@pytest.mark.parametrize("options", JPEG_KINDS)
def test_a_jpeg_that_lacks_more_is_refused_or_has_all_its_pixels(options):
    jpeg = jpeg_of_noise(**options)
    whole = open_image(jpeg)
    places = [match.start() for match in re.finditer(rb"\xff[\xc4\xd0-\xd7\xda]", jpeg)]
    # At and beside markers, near the end, and elsewhere.
    cuts = {
        place + beside
        for place in random.Random(0).sample(places, min(9, len(places)))
        for beside in (-1, 0, 1, 2)
    }
    cuts |= {len(jpeg) - missing for missing in range(3, 12)} | set(
        range(len(jpeg) // 3, len(jpeg) - 20, 401)
    )
    outcomes = [image_or_error(jpeg[:cut]) for cut in sorted(cuts)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, ImageError)]
    assert len(refused) > 0.9 * len(cuts)
    assert all(outcome in refused or np.array_equal(outcome, whole) for outcome in outcomes)


def heic_that_claims(side):
    """A HEIC file of 64 x 64 pixels that claims to be as large as that."""
    content = heic(Image.fromarray(colors()).resize((64, 64)))
    claimed = content.replace(struct.pack(">II", 64, 64), struct.pack(">II", side, side))
    assert claimed != content
    return claimed


@pytest.mark.parametrize("side", [int(MAX_PIXELS**0.5) + 1, 60_000])
def test_a_heic_larger_than_allowed_is_refused_before_it_is_decoded(side):
    with pytest.raises(ImageError, match="than the 100,000,000 (pixels )?allowed: make it smaller first"):
        open_image(heic_that_claims(side))


def test_a_heic_that_claims_to_be_smaller_than_it_is_is_refused():
    with pytest.raises(ImageError, match="exceeds the maximum image size|cannot be read as an image"):
        open_image(heic_that_claims(8))


def image_or_error(content):
    try:
        return open_image(content)
    except ImageError as error:
        return error


def test_damaged_heic_files_are_an_image_or_one_clear_error():
    rng = np.random.default_rng(0)
    intact = np.frombuffer(heic(colors(), exif=exif(TURN), icc_profile=rgb_profile(DISPLAY_P3)), np.uint8)
    refused = 0
    for _ in range(200):
        broken = intact.copy()
        broken[rng.integers(0, len(broken), 8)] = rng.integers(0, 256, 8)
        outcome = image_or_error(broken[: rng.integers(8, len(broken) + 1)].tobytes())
        if isinstance(outcome, ImageError):
            refused += 1
            assert str(outcome).startswith("The image ")
            assert "\n" not in str(outcome)
        else:
            assert outcome.mode == "RGB"
    assert refused > 50


def test_suffixes_of_unsupported_formats_are_in_lower_case():
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in UNSUPPORTED_SUFFIXES)
