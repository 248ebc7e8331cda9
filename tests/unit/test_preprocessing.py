import io
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from resnext.config import Preprocessing
from resnext.errors import ImageError
from resnext.preprocessing import MAX_PIXELS, center_crop, open_image, preprocess, resize, seen_part

TIMM = np.load(pathlib.Path(__file__).parents[1] / "fixtures" / "timm_pixels.npz")


@pytest.fixture
def photograph():
    """A smooth picture, 160 x 120, as photographs are."""
    y, x = np.mgrid[0:120, 0:160] / 160
    pixels = np.stack([200 * x + 20, 150 * y + 60 * np.sin(9 * x) + 60, 255 - 200 * x * y], axis=-1)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8), "RGB")


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def difference(first, second):
    return np.abs(np.asarray(first, float) - np.asarray(second, float)).mean()


def test_png_is_decoded_exactly(photograph):
    assert difference(open_image(encoded(photograph, "PNG")), photograph) == 0


@pytest.mark.parametrize(
    "orientation, turned",
    [
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_270),
        (8, Image.Transpose.ROTATE_90),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
    ],
)
def test_exif_orientation_is_applied(photograph, orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = open_image(encoded(photograph, "PNG", exif=exif))
    assert difference(upright, photograph.transpose(turned)) == 0


def test_a_cmyk_jpeg_looks_like_its_rgb_twin(photograph):
    image = open_image(encoded(photograph.convert("CMYK"), "JPEG", quality=95))
    assert image.mode == "RGB"
    assert difference(image, photograph) < 3


def test_palette_and_gray_become_rgb(photograph):
    palette = photograph.quantize(128)
    assert difference(open_image(encoded(palette, "PNG")), palette.convert("RGB")) == 0
    gray = photograph.convert("L")
    assert difference(open_image(encoded(gray, "PNG")), gray.convert("RGB")) == 0
    black_and_white = photograph.convert("1")
    assert difference(open_image(encoded(black_and_white, "PNG")), black_and_white.convert("RGB")) == 0


def test_transparency_is_laid_on_white(photograph):
    clear = photograph.copy()
    clear.putalpha(0)
    assert np.asarray(open_image(encoded(clear, "PNG"))).min() == 255
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30])
    assert np.asarray(open_image(encoded(palette, "PNG", transparency=0))).min() == 255


def test_sixteen_bit_gray_is_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    pixels = np.asarray(open_image(encoded(Image.fromarray(ramp), "PNG")))
    assert np.abs(pixels[..., 0].astype(float) - ramp / 257).max() <= 1


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    for form in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if form == "WEBP" else {}
        image = open_image(encoded(frames[0], form, save_all=True, append_images=frames[1:], **options))
        assert image.getpixel((5, 5)) == (255, 0, 0), form


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2), (223, 1000)])
def test_every_size_and_shape_becomes_a_square(size, mode):
    mean = tuple(np.array((10, 200, 30)) / 255)
    pixels = preprocess(Image.new("RGB", size, (10, 200, 30)), Preprocessing(64, mean=mean, crop_mode=mode))
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == (10, 200, 30)).all()


@pytest.mark.parametrize("case", [name for name in TIMM if name.startswith("case")])
def test_a_photograph_is_cropped_as_timm_crops_it(case):
    photograph, size, crop_pct, mode, interpolation = json.loads(str(TIMM[case]))
    seen = preprocess(
        Image.fromarray(TIMM[photograph]), Preprocessing(size, crop_pct, interpolation, crop_mode=mode)
    )
    expected = TIMM[case.replace("case", "pixels")]
    assert seen.shape == expected.shape
    assert difference(seen, expected) < 0.5


def test_a_border_has_the_mean_color_and_nothing_is_cropped(photograph):
    prep = Preprocessing(64, 1.0, "bilinear", crop_mode="border")
    seen = preprocess(photograph, prep)
    assert (seen[:8] == (124, 116, 104)).all()
    assert (seen[56:] == (124, 116, 104)).all()
    assert np.array_equal(seen[8:56], np.asarray(photograph.resize((64, 48), Image.Resampling.BILINEAR)))


def test_the_part_that_the_network_sees(photograph):
    for mode, part in (("center", (0.6, 0.8)), ("squash", (0.8, 0.8)), ("border", (0.8, 0.8 * 4 / 3))):
        assert seen_part(*photograph.size, Preprocessing(64, 0.8, crop_mode=mode)) == pytest.approx(part)


def test_the_shorter_side_is_resized_and_the_center_cropped(photograph):
    prep = Preprocessing(image_size=48, crop_pct=0.75, interpolation="bilinear")
    by_hand = photograph.resize((85, 64), Image.Resampling.BILINEAR).crop((18, 8, 66, 56))
    assert np.array_equal(preprocess(photograph, prep), np.asarray(by_hand))
    assert resize(photograph, 64, "bicubic").size == (85, 64)
    assert resize(photograph.rotate(90, expand=True), 64, "bicubic").size == (64, 85)
    assert center_crop(photograph, 48).size == (48, 48)


def test_a_jpeg_decoded_at_reduced_scale_hardly_differs(photograph):
    large = encoded(photograph.resize((1600, 1200), Image.Resampling.BICUBIC), "JPEG", quality=95)
    prep = Preprocessing(64)
    reduced = open_image(large, prep.resize_to)
    assert reduced.size == (400, 300)
    for mode in ("center", "squash", "border"):
        prep = Preprocessing(64, crop_mode=mode)
        assert difference(preprocess(reduced, prep), preprocess(open_image(large), prep)) < 0.5


def test_a_jpeg_of_indivisible_sides_is_decoded_at_full_scale(photograph):
    odd = encoded(photograph.resize((1601, 1199), Image.Resampling.BICUBIC), "JPEG")
    assert open_image(odd, 73).size == (1601, 1199)  # at 1/2, half a pixel would be added on two sides
    assert open_image(encoded(photograph.resize((1604, 1196)), "JPEG"), 37).size == (401, 299)


def test_more_pixels_than_allowed_are_refused_before_decoding():
    side = int(MAX_PIXELS**0.5) + 1
    with pytest.raises(ImageError, match="far more than the 100,000,000 pixels"):
        open_image(encoded(Image.new("1", (2 * side, 2 * side)), "PNG")[:200])
    header = encoded(Image.new("1", (side, side)), "PNG")[
        :200
    ]  # no pixel data: decoding would say something else
    with pytest.raises(ImageError, match=rf"{side} x {side} pixels, more than the 100,000,000 allowed"):
        open_image(header)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text, not pixels",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
        b"\xff\xd8\xff" + b"\0" * 200,
    ],
)
def test_what_is_not_an_image_is_named(tmp_path, content):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match="photo.jpg cannot be read as an image") as error:
        open_image(path)
    assert "\n" not in str(error.value)


def test_truncated_files_folders_and_missing_files_are_named(tmp_path, photograph):
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(photograph, "PNG")[:3000])
    with pytest.raises(ImageError, match="photo.png cannot be read"):
        open_image(path)
    with pytest.raises(ImageError, match="cannot be read"):
        open_image(tmp_path)
    with pytest.raises(ImageError, match="does not exist"):
        open_image(tmp_path / "none.png")


def image_or_error(content):
    try:
        return open_image(content)
    except ImageError as error:
        return error


def test_random_damage_is_an_image_or_one_clear_error(photograph):
    rng = np.random.default_rng(0)
    for form in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"):
        intact = np.frombuffer(encoded(photograph.resize((40, 30)), form), np.uint8)
        for _ in range(40):
            broken = intact.copy()
            broken[rng.integers(0, len(broken), 8)] = rng.integers(0, 256, 8)
            outcome = image_or_error(broken[: rng.integers(8, len(broken))].tobytes())
            if isinstance(outcome, ImageError):
                assert str(outcome).startswith("The image ")
            else:
                assert outcome.mode == "RGB"


def test_orientation_is_applied_to_a_jpeg_decoded_at_reduced_scale(photograph):
    exif = Image.Exif()
    exif[0x0112] = 6
    large = photograph.resize((1600, 1200), Image.Resampling.BICUBIC)
    turned = open_image(encoded(large, "JPEG", quality=95, exif=exif), 73)
    assert turned.size == (300, 400)
    assert (
        difference(
            turned,
            photograph.resize((400, 300), Image.Resampling.BICUBIC).transpose(Image.Transpose.ROTATE_270),
        )
        < 2
    )


def test_an_image_opened_by_the_caller_is_not_changed(photograph):
    large = Image.open(io.BytesIO(encoded(photograph.resize((1600, 1200)), "JPEG")))
    assert open_image(large, 73).size == large.size == (1600, 1200)


def test_a_camera_s_multi_picture_jpeg_is_its_first_picture(photograph):
    data = encoded(
        photograph, "MPO", save_all=True, append_images=[Image.new("RGB", photograph.size)], quality=95
    )
    assert difference(open_image(data), photograph) < 3


@pytest.mark.parametrize(
    "size, crop_pct, side",
    [(224, 0.875, 256), (224, 0.95, 235), (288, 1.0, 288), (144, 0.9, 160), (64, 0.7, 91)],
)
def test_the_resize_is_the_floor_of_size_over_crop_ratio(size, crop_pct, side):
    assert Preprocessing(size, crop_pct).resize_to == side
