"""Write a model's weights for others: `load_model` needs nothing beside the file.

    devias export checkpoint=runs/…/checkpoints/best.ckpt output=devias.safetensors
    devias export checkpoint=… output=devias.pth format=released
    devias export checkpoint=… output=backbone.safetensors part=backbone

Beside a safetensors file comes its description, `devias.json`: class, sizes, settings.
Any supported weights may be given as the checkpoint. `backbone.weights=backbone.safetensors` starts
another model from the backbone.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from devias.cli.command import command
from devias.errors import ConfigError, DeviasError

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)


class ExportError(DeviasError, FileExistsError):
    """Something is in the place of an output; names the file."""


@command("export")
def main(config: DictConfig) -> None:
    """Load, convert, write."""
    export(config)


def export(config: DictConfig) -> None:
    """Write what `conf/export.yaml` describes, each file whole or not at all.

    Raises:
        ExportError: something is in the place of an output.
        FileNotFoundError: there is no such checkpoint.
        WeightsError: it cannot be read, something must be told, or the format cannot hold it.
        ConfigError: unknown part or format, or an output named `.json`.
    """
    from devias.weights.write import save_description, save_released, save_weights

    writers = {"safetensors": save_weights, "released": save_released}
    if config.format not in writers:
        raise ConfigError(f"format must be one of {', '.join(writers)}, got {config.format!r}")
    output = Path(config.output)
    description = output.with_suffix(".json") if config.format == "safetensors" else None
    if output == description:
        raise ConfigError(f"{output} is where the description goes: name the weights otherwise")
    for path in (output, description):
        if path and path.exists() and not config.overwrite:
            raise ExportError(f"{path} exists; overwrite=true replaces it")
    model = load_part(config)
    writers[config.format](model, output)
    if description:
        save_description(model, description)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    log.info("wrote %s: %s, %.2f million parameters", output, config.part, parameters / 1e6)


def load_part(config: DictConfig) -> nn.Module:
    """The whole model or the backbone of the checkpoint."""
    from devias.weights.infer import load_model, load_vit

    told: dict[str, Any] = OmegaConf.to_container(config)  # type: ignore[assignment]
    sizes = {name: told[name] for name in ("image_size", "num_frames", "num_heads")}
    if config.part == "backbone":
        return load_vit(config.checkpoint, **sizes)
    if config.part != "model":
        raise ConfigError(f"part must be 'model' or 'backbone', got {config.part!r}")
    more = {name: told[name] for name in ("num_actions", "num_scenes", "compat")}
    return load_model(config.checkpoint, **more, **sizes)


if __name__ == "__main__":
    main()
