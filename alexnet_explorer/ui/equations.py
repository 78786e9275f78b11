"""A number's arithmetic in one line, with the real numbers in it: enough digits that they add up to 1e-4."""

from __future__ import annotations

from dataclasses import replace

from alexnet_explorer.inspection import steps
from alexnet_explorer.inspection.cells import places, written

DIGITS = 6  # of the largest number of a line
FUNCTIONS = {"relu": "ReLU", "tanh": "tanh", "sigmoid": "sigmoid"}
COLOURS = ("red", "green", "blue")


def shown(*values: float) -> list[str]:
    """Numbers of one line, all with the decimals that the largest of them needs for six digits."""
    decimals = places(max(map(abs, values)), DIGITS)
    return [written(value, decimals) for value in values]


def brief(value: float) -> str:
    """A number by itself, with six digits at most."""
    return f"{value:.{DIGITS}g}".replace("-", "−")


def brackets(number: str) -> str:
    """A negative number in brackets, as it stands after a sign."""
    return f"({number})" if number.startswith("−") else number


def line(step: steps.Step, then: steps.ActivationStep | None = None) -> str:
    """The equation of a step, as plain text; `then` is the activation that follows it."""
    match step:
        case steps.ConvolutionStep() | steps.FullStep():
            # Of the total that is shown, not of the network's own, from which it differs in the last digit.
            after = [replace(then, before=step.total).total] if then else []
            products, bias, total, *activated = shown(float(step.products.sum()), step.bias, step.total, *after)
            text = f"Σ products {products} + bias {brackets(bias)} = {total}"
            return f"{text} → {FUNCTIONS[then.function]} → {activated[0]}" if then else text
        case steps.ActivationStep():
            before, total = shown(step.before, step.total)
            return {
                "relu": f"max(0, {before}) = {total}",
                "tanh": f"tanh({before}) = {total}",
                "sigmoid": f"1 / (1 + e^(−{brackets(before)})) = {total}",
            }[step.function]
        case steps.LrnStep():
            before, total = shown(step.before, step.total)
            (squares,) = shown(float(step.squares.sum()))
            return f"{before} / ({step.k:g} + {step.alpha:.6g} · {squares})^{step.beta:g} = {total}"
        case steps.PoolStep():
            if step.kind == "max":
                return f"the largest of {step.window.size} = {shown(step.total)[0]}"
            summed, total = shown(float(step.window.sum()), step.total)
            return f"Σ window {summed} / {step.window.size} = {total}"
        case steps.DropoutStep():
            (total,) = shown(step.total)
            return f"{total} · 1 = {total}"
        case steps.SoftmaxStep():
            above, below = brief(float(step.exponentials[step.place.unit])), brief(float(step.exponentials.sum()))
            return f"e^({_exponent(step)}) / Σ e^(z − {brackets(shown(step.largest)[0])}) = {above} / {below} = " \
                   f"{percent(step.total)}"  # fmt: skip
        case steps.PixelStep():
            level, mean, std, total = map(brief, (step.level, step.mean, step.std, step.total))
            return f"({level} − {brackets(mean)}) / {std} = {total}"
    raise TypeError(f"{type(step).__name__} has no equation")


def _exponent(step: steps.SoftmaxStep) -> str:
    own, largest = shown(float(step.logits[step.place.unit]), step.largest)
    return f"{own} − {brackets(largest)}"


def training_line(step: steps.DropoutStep) -> str:
    """What dropout makes of the number in training, under the drawn mask."""
    before, after = shown(step.before, step.in_training)
    if not step.kept[step.place.unit]:
        return f"{before} · 0 = {after}: this unit is dropped"
    return f"{before} · 1/(1 − {step.p:g}) = {before} · {step.scale:.6g} = {after}: this unit is kept"


def percent(share: float) -> str:
    """A probability in percent, with two decimals, and more digits where it is tiny."""
    return f"{share:.2%}" if share >= 1e-4 else f"{100 * share:.2g}%".replace("-", "−")


def name_of(place: steps.Place, shape: tuple[int, ...], channels: int = 3) -> str:
    """A place in words: `conv1, unit 17, row 3, column 9`; of maps one says where, of a single unit not."""
    if place.layer == steps.PIXELS:
        colour = COLOURS[place.unit] if channels == 3 else "grey"
        return f"the picture's {colour}, row {place.row}, column {place.column}"
    where = f", row {place.row}, column {place.column}" if len(shape) == 3 else ""
    return f"{place.layer}, unit {place.unit}{where}"
