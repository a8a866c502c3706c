import io

import numpy as np
import pytest
from jpegs import encode, picture
from PIL import Image

from collectives import InvalidArgument
from trainer.images import decode
from trainer.images.decode import DECODERS, FACTORS, Encoded, UnreadableImage

installed = [name for name in DECODERS if name == "pillow" or decode.fastest() == name]
every_decoder = pytest.mark.parametrize("decoder", installed)


def test_the_fast_decoder_is_tested_where_the_extra_is_installed():
    assert decode.fastest() in installed


@every_decoder
@pytest.mark.parametrize("size", [(60, 44), (61, 45), (500, 375), (9, 200)])
def test_a_jpeg_is_decoded_as_pillow_does(decoder, size):
    data = encode(picture(*size), quality=90)
    image = Encoded(data, decoder)
    assert (image.width, image.height) == size
    expected = np.asarray(Image.open(io.BytesIO(data)))
    difference = np.abs(image.pixels().astype(int) - expected)
    assert difference.max() <= 2  # simplejpeg and Pillow come with libraries of theirs


@every_decoder
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("size", [(64, 48), (61, 45), (500, 375), (9, 200)])
def test_a_scaled_jpeg_has_a_fraction_of_the_size_rounded_up(decoder, factor, size):
    pixels = Encoded(encode(picture(*size), quality=90), decoder).pixels(factor)
    assert pixels.shape == (-(-size[1] // factor), -(-size[0] // factor), 3)
    assert pixels.dtype == np.uint8


@every_decoder
@pytest.mark.parametrize("factor", FACTORS)
def test_decoding_at_a_scale_is_decoding_and_averaging(decoder, factor):
    data = encode(picture(320, 240), quality=95)
    whole = Encoded(data, decoder).pixels().astype(float)
    blocks = whole.reshape(240 // factor, factor, 320 // factor, factor, 3)
    difference = np.abs(Encoded(data, decoder).pixels(factor) - blocks.mean((1, 3)))
    assert difference.mean() < 1 and difference.max() < 8


KINDS = {
    "grey": ("L", "JPEG"),
    "CMYK": ("CMYK", "JPEG"),
    "PNG": ("RGB", "PNG"),
    "palette": ("P", "PNG"),
    "transparent": ("RGBA", "PNG"),
    "two colours": ("1", "PNG"),
}


@every_decoder
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [1, 2])
def test_any_kind_of_image_becomes_three_colours(decoder, kind, factor):
    mode, form = KINDS[kind]
    data = encode(Image.fromarray(picture(60, 44)).convert(mode), form)
    image = Encoded(data, decoder)
    pixels = image.pixels(factor)
    shrunk = factor if form == "JPEG" else 1
    assert pixels.shape == (44 // shrunk, 60 // shrunk, 3) and pixels.dtype == np.uint8
    assert 20 < pixels.mean() < 235


@every_decoder
def test_sixteen_bits_of_grey_keep_their_brightness(decoder):
    grey = np.linspace(0, 65535, 60 * 44).reshape(44, 60).astype(np.uint16)
    pixels = Encoded(encode(grey, "PNG"), decoder).pixels()
    np.testing.assert_array_equal(pixels[:, :, 1], grey >> 8)


@every_decoder
def test_the_suffix_does_not_matter_and_broken_tags_neither(decoder):
    data = encode(picture(60, 44))
    tags = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40
    head = b"\xff\xe1" + (len(tags) + 2).to_bytes(2, "big") + tags
    tagged = Encoded(data[:2] + head + data[2:], decoder)
    np.testing.assert_array_equal(tagged.pixels(), Encoded(data, decoder).pixels())


@every_decoder
def test_orientation_tags_are_not_followed(decoder):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image = Encoded(encode(picture(60, 44), exif=exif), decoder)
    assert image.pixels().shape == (44, 60, 3)


def damaged():
    jpeg, png = encode(picture(60, 44), quality=95), encode(picture(60, 44), "PNG")
    return {
        "empty": b"",
        "text": b"no image at all",
        "head only": jpeg[:30],
        "cut JPEG": jpeg[: len(jpeg) // 2],
        "cut PNG": png[: len(png) // 2],
        "damaged PNG": png[:60] + bytes(100) + png[160:],
    }


@every_decoder
@pytest.mark.parametrize("kind", damaged())
def test_a_damaged_image_is_unreadable(decoder, kind):
    with pytest.raises(UnreadableImage):
        Encoded(damaged()[kind], decoder).pixels()


def test_reasons_name_no_objects():
    with pytest.raises(UnreadableImage) as caught:
        Encoded(b"no image at all")
    assert str(caught.value) == "no image of a known format"


def test_an_unknown_decoder_is_refused_with_the_valid_ones():
    with pytest.raises(InvalidArgument, match="'opencv'.* simplejpeg, pillow"):
        decode.check("opencv")


def test_a_decoder_that_is_not_installed_is_refused_with_a_cure(monkeypatch):
    monkeypatch.setattr(decode.importlib.util, "find_spec", lambda name: None)
    assert decode.fastest() == "pillow"
    decode.check("pillow")
    with pytest.raises(InvalidArgument, match="pip install simplejpeg"):
        decode.check("simplejpeg")
