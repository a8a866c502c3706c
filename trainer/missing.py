"""What recipes can ask for and the training loop cannot do yet: refused, never ignored.

Each entry is a field and the values that act.  The list is to shrink to nothing.
"""

from typing import Any

from collectives import InvalidArgument
from trainer import recipe
from trainer.recipe import Recipe

WORKING: dict[str, tuple[Any, ...]] = {
    "loss_scale": (0.0,),
    "ema_decay": (0.0,),
    "model.blurpool": (False,),
    "images.ramp": ((),),
    "images.test_flip": (False,),
}


def check(name: str, values: Recipe) -> None:
    """Refuse a recipe that the loop would not follow.

    Raises:
        InvalidArgument: naming every such field in one line.
    """
    flat = dict(recipe.flatten(values))
    wrong = [path for path, working in WORKING.items() if flat[path] not in working]
    if wrong:
        asked = ", ".join(f"{path}={recipe.show(flat[path])}" for path in wrong)
        valid = ", ".join(f"{path}={recipe.show(WORKING[path][0])}" for path in wrong)
        raise InvalidArgument(
            f"--recipe {name}: this trainer cannot do {asked} yet, only {valid}; add "
            "--dry-run to see the recipe's plan"
        )
