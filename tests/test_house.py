"""`docs/house.svg` shows the packages, drawers and modules that there are."""

from tests.house import PICTURE, draw_house


def test_the_picture_of_the_house_shows_it_as_it_is():
    assert PICTURE.read_text() == draw_house(), "make house"
