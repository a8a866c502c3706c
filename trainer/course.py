"""The course of a run, as lines of text: batch, rate and momentum from epoch to epoch.

For any number of ranks, which need not exist: nothing here needs MPI or torch.
"""

from trainer import groups, lr, noise_scale, outlook, phases, recipe, resizing
from trainer.phases import Phase
from trainer.recipe import Recipe


def tables(values: Recipe, size: int, training: int) -> list[str]:
    """Return phases, rates and forecast of a run by ``size`` ranks."""
    return [
        *phase_table(values, size),
        "",
        *rate_table(values, size, training),
        "",
        *outlook.published_lines(values),
        *outlook.forecast_lines(values, size, training),
    ]


def values_table(values: Recipe) -> list[str]:
    """Return every field with its value and its source."""
    return [
        f"{'setting':<28} {'value':<27} source",
        *(
            f"{path:<28} {recipe.show(value):<27} {values.sources[path]}"
            for path, value in recipe.flatten(values)
        ),
    ]


def momentum(values: Recipe, phase: Phase) -> float:
    """Return the momentum of a phase.

    Raises:
        InvalidArgument: the noise scale asks for one outside [0, 0.99].
    """
    return noise_scale.momentum(
        values.noise_scale.reading,
        phase.batch,
        reference_batch=values.noise_scale.reference_batch,
        momentum=values.optimizer.momentum,
        clip=values.noise_scale.clip,
    )


def phase_table(values: Recipe, size: int) -> list[str]:
    """Return the phases, their first epochs, and how ``size`` ranks share the batch."""
    parts = phases.of(values, size)
    order = [phases.of_epoch(values, parts, epoch) for epoch in range(values.epochs)]
    lines = [
        f"{'span epoch':<12}{'from epoch':>10}{'batch':>8}{'workers':>9} x {'n':<5}"
        f"{'bn sees':>8}{'momentum':>10}  microbatches an update"
    ]
    for phase in parts:
        first = order.index(phase) if phase in order else "never"
        seen = values.bn.ghost or phase.per_worker
        lines.append(
            f"{phase.epoch:<12g}{first:>10}{phase.batch:>8}"
            f"{phase.workers:>9} x {phase.per_worker:<5}{seen * values.bn.group:>8}"
            f"{momentum(values, phase):>10.6f}  {groups.text(phase, values.bn, size)}"
        )
    return lines


def rate_table(values: Recipe, size: int, training: int) -> list[str]:
    """Return batch, momentum, rate and size of images at the start of each epoch."""
    parts = phases.of(values, size)
    pixels = resizing.sizes(values)
    lines = [
        f"{'epoch':<8}{'update':>10}{'of the span':>13}{'batch':>9}{'momentum':>11}"
        f"{'lr':>14}{'pixels':>8}"
    ]
    update = 0
    for epoch in range(values.epochs):
        at = lr.span_epoch(values, epoch=epoch, epochs=values.epochs)
        phase = phases.of_epoch(values, parts, epoch)
        rate = lr.rate(values, batch=parts[0].batch, epoch=at)
        lines.append(
            f"{epoch:<8}{update:>10}{at:>13.2f}{phase.batch:>9}"
            f"{momentum(values, phase):>11.6f}{rate:>14.6g}{pixels[epoch]:>8}"
        )
        update += training // phase.batch
    return lines
