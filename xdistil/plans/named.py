"""Named plans: those of the papers, and of annotators."""

from dataclasses import replace

from xdistil.config import Stage
from xdistil.errors import InputError


def d42() -> tuple[Stage, ...]:
    """D4.2 of XtremeDistil (table 3): representation, then logits, then labels, the last two with
    gradual unfreezing."""
    return (
        Stage(name="representation", loss="representation", epochs=5.0, lr=2e-3, patience=5),
        Stage(
            name="logits",
            loss="logits",
            unfreeze="gradual",
            epochs=8.0,
            unfreeze_epochs=2.0,
            lr=2e-3,
            patience=5,
        ),
        Stage(
            name="labels",
            loss="labels",
            data="train",
            unfreeze="gradual",
            epochs=4.0,
            unfreeze_epochs=2.0,
            lr=5e-4,
            patience=5,
        ),
    )


def v3() -> tuple[Stage, ...]:
    """The plan of XtremeDistilTransformers: the last L+1 hidden states and L attention maps
    together, then logits, then labels; the last two with gradual unfreezing."""
    return (
        Stage(
            name="representation",
            loss="representation+attention",
            hidden_loss="mse",
            hidden_map="last",
            attention_map="last",
            epochs=2.0,
            lr=5e-4,
        ),
        Stage(name="logits", loss="logits", unfreeze="gradual", epochs=2.0, lr=3e-4),
        Stage(name="labels", loss="labels", data="train", unfreeze="gradual", epochs=2.0, lr=1e-4),
    )


def annotators() -> tuple[Stage, ...]:
    """The student on the votes of annotators; no gold but that of dev, which selects."""
    return (Stage(name="votes", loss="logits", logits_loss="kl", epochs=6.0, lr=2e-3),)


def annotators_gold() -> tuple[Stage, ...]:
    """The student on the votes of annotators, then on gold, even if it is little."""
    return (
        Stage(name="votes", loss="labels", data="silver", epochs=6.0, lr=2e-3),
        Stage(name="gold", loss="labels", data="train", epochs=20.0, lr=1e-3, patience=4),
    )


def labels_only() -> tuple[Stage, ...]:
    """D0-S of XtremeDistil: the student on labels alone, in all languages; D0 is the same plan on
    one language (`data.languages`)."""
    return (Stage(name="labels", loss="labels", data="train", epochs=10.0, lr=1e-3, patience=3),)


def d1() -> tuple[Stage, ...]:
    """D1 of XtremeDistil (table 3): logits and labels together.

    A stage reads one set of texts. The joint loss needs labels, so the transfer texts come first,
    with the same losses but that on labels; likewise in D2 and D3.
    """
    return _join_losses("logits")


def d2() -> tuple[Stage, ...]:
    """D2 of XtremeDistil (table 3): representation, logits and labels together."""
    return _join_losses("representation+logits")


def d31() -> tuple[Stage, ...]:
    """D3.1 of XtremeDistil (table 3): representation, then logits and labels together."""
    return _at_once(d32())


def d32() -> tuple[Stage, ...]:
    """D3.2 of XtremeDistil (table 3): D3.1 with gradual unfreezing."""
    representation, logits, labels = d42()
    return (representation, logits, replace(labels, loss="labels+logits"))


def d41() -> tuple[Stage, ...]:
    """D4.1 of XtremeDistil (table 3): representation, then logits, then labels, everything
    unfrozen."""
    return _at_once(d42())


def tinybert() -> tuple[Stage, ...]:
    """The two steps of TinyBERT (Jiao et al. 2020) on a task: hidden states and attention maps of
    layers at even distances together, then the logits."""
    return (
        Stage(
            name="layers",
            loss="representation+attention",
            hidden_loss="mse",
            hidden_map="uniform",
            attention_map="uniform",
            epochs=3.0,
            lr=5e-4,
        ),
        Stage(name="logits", loss="logits", logits_loss="kl", epochs=3.0, lr=3e-4),
    )


def pkd() -> tuple[Stage, ...]:
    """Patient knowledge distillation (Sun et al. 2019): hidden states of layers at even distances,
    logits at a temperature and labels together, on the labelled texts.

    The distance of hidden states is the cosine one, which is half the squared distance of the
    normalised states that PKD minimises.
    """
    return (
        Stage(
            name="together",
            loss="representation+logits+labels",
            data="train",
            hidden_loss="cosine",
            hidden_map="uniform",
            logits_loss="kl",
            temperature=2.0,
            epochs=10.0,
            lr=5e-4,
            patience=3,
        ),
    )


def minilmv2() -> tuple[Stage, ...]:
    """MiniLMv2 (Wang et al. 2021): relations of queries, keys and values of an upper layer; then
    logits, and then labels, with gradual unfreezing."""
    states, *rest = v3()
    return (replace(states, name="relations", loss="relations"), *rest)


def _join_losses(losses: str) -> tuple[Stage, ...]:
    """Losses on the transfer texts, then with that on labels on the labelled texts."""
    _, logits, labels = _at_once(d42())
    return (
        replace(logits, name="transfer", loss=losses, epochs=13.0),  # as many as in D4
        replace(labels, name="labels", loss=f"labels+{losses}"),
    )


def _at_once(plan: tuple[Stage, ...]) -> tuple[Stage, ...]:
    return tuple(replace(stage, unfreeze="all", unfreeze_epochs=0.0) for stage in plan)


def without_labels(plan: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The same plan for texts without labels: no labels loss, and every stage on the transfer
    texts.

    Raises:
        InputError: no stage is left.
    """
    stages = []
    for stage in plan:
        losses = [loss for loss in stage.loss.split("+") if loss != "labels"]
        if losses:
            stages.append(replace(stage, loss="+".join(losses), data="transfer"))
    if not stages:
        raise InputError(
            "plan has no loss but labels, and there are no labels: add a stage with logits."
        )
    return tuple(stages)


PLANS = {  # --config.plan=NAME, or --sweep='plan=NAME,NAME'
    "d0": labels_only,
    "d0-s": labels_only,
    "d1": d1,
    "d2": d2,
    "d3.1": d31,
    "d3.2": d32,
    "d4.1": d41,
    "d4.2": d42,
    "v3": v3,
    "tinybert": tinybert,
    "pkd": pkd,
    "minilmv2": minilmv2,
}
