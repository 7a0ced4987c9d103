import pytest
from omegaconf import OmegaConf

from devias.config.instantiate import instantiate
from devias.data.datamodule import MissingDataError
from devias.errors import ConfigError


def missing():
    raise MissingDataError("No list.", "fetch it from there")


FAME = "devias.masks.fame.FAME"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"_target_": FAME, "beta": 7}, r"masks: beta is a share of the pixels in \(0, 1\], not 7"),
        ({"_target_": FAME, "betta": 1}, f"masks.betta is no setting of {FAME}; did you mean beta"),
        ({"_target_": "devias.masks.fame.FAMEX"}, "masks: Error locating target .*FAMEX"),
        ({"_target_": "builtins.int", "_args_": [[]]}, "masks: TypeError: int.. argument"),
    ],
)
def test_the_key_is_named(settings, message):
    config = OmegaConf.create({"masks": settings})
    with pytest.raises(ConfigError, match=message) as caught:
        instantiate(config.masks)
    assert "\n" not in str(caught.value)


def test_an_error_of_the_part_itself_comes_through():
    config = OmegaConf.create({"data": {"_target_": f"{__name__}.missing"}})
    with pytest.raises(MissingDataError, match=r"^No list\.\nfetch it from there$"):
        instantiate(config.data)
