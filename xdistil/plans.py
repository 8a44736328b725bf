"""Plans of the papers, and recipes: the experiments of configs/. This module imports no JAX.

A plan is a tuple of `config.Stage`. A recipe is a function from the name of a variant to an
`Experiment`. Its purpose, cost and expected scores are in configs/, in the file of the same name.
Every call returns new objects, so that a config may change them.
"""

from dataclasses import replace

from xdistil.config import Baseline, Data, Experiment, Stage, Student, Teacher
from xdistil.errors import InputError, suggest


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
    """The student on the votes of annotators, then on gold, be it little."""
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


def ner(variant: str = "d4.2") -> Experiment:
    """Any named-entity task; data and teacher are set on the command line."""
    variants = _list_variants(Data(), bilstm_size=300)
    representation, logits, labels = d42()
    variants["large"] = Experiment(
        student=Student(embedding_size=48, hidden_size=290, vocabulary="seen"),
        plan=(
            replace(representation, data="all", epochs=1.0, patience=0),
            replace(logits, data="all", epochs=4.0, unfreeze_epochs=0.25, lr=4e-3, patience=0),
            replace(labels, epochs=2.0, unfreeze_epochs=0.5, batch_size=64, patience=0),
        ),
        baselines=(Baseline(lrs="1e-3,2e-3,4e-3", epochs=10.0, patience=0),),
        batch_size=128,
    )
    return _choose("ner", variants, variant)


def classify(variant: str = "d4.2") -> Experiment:
    """Any classification task; data and teacher are set on the command line."""
    rows = Data(row_length=128)  # texts are longer than sentences
    return _choose("classify", _list_variants(rows, bilstm_size=200), variant)


def quickstart(variant: str = "") -> Experiment:
    """Entities of a synthetic corpus; nothing has to be set."""
    teacher = Stage(
        name="train",
        loss="labels",
        data="train",
        epochs=5.0,
        lr=1e-3,
        warmup=0.1,
        weight_decay=0.01,
        batch_size=16,
        keep="last",
    )
    representation = Stage(name="representation", loss="representation", epochs=1.0, lr=4e-3)
    logits = Stage(
        name="logits", loss="logits", unfreeze="gradual", epochs=4.0, unfreeze_epochs=0.5, lr=4e-3
    )
    labels = Stage(
        name="labels",
        loss="labels",
        data="train",
        unfreeze="gradual",
        epochs=4.0,
        unfreeze_epochs=2.0,
        lr=5e-4,
        label_fraction=0.1,
    )
    experiment = Experiment(
        data=Data(generate=8000),
        teacher=Teacher(
            family="modernbert",
            hidden_size=128,
            layers=4,
            heads=4,
            vocabulary_size=3500,
            plan=(teacher,),
        ),
        student=Student(embedding_size=7, hidden_size=14, dropout=0.1),
        plan=(representation, logits, labels),
        baselines=(
            Baseline(label_fraction=0.1, lrs="8e-3,1.6e-2,3.2e-2"),
            Baseline(name="labels only, all", lrs="8e-3"),
        ),
        speed_seconds=3.0,
    )
    if variant == "smoke":
        experiment.data.generate = 200
        experiment.teacher.hidden_size = experiment.student.hidden_size = 16
        experiment.teacher.layers = 2
        experiment.teacher.vocabulary_size = 1500
        experiment.student.embedding_size = 8
        for stage in (teacher, representation, logits, labels):
            stage.epochs = stage.unfreeze_epochs = 1.0
        for baseline in experiment.baselines:
            baseline.lrs, baseline.epochs = "8e-3", 1.0
        logits.unfreeze = "all"  # a sub-stage costs seconds of compilation, whatever its size
        experiment.baselines = experiment.baselines[:1]
        experiment.speed_seconds = 0.2
    elif variant:
        raise InputError(f"quickstart has no variant {variant!r}{suggest(variant, ['smoke'])}.")
    return experiment


def manylang(variant: str = "") -> Experiment:
    """Entities in very many languages; the data are set on the command line."""
    teacher = Stage(
        name="train",
        loss="labels",
        data="train",
        epochs=4.0,
        lr=7e-4,
        warmup=0.05,
        weight_decay=0.01,
        batch_size=64,
        keep="last",
    )
    representation = Stage(
        name="representation", loss="representation", data="all", epochs=1.0, lr=4e-3
    )
    logits = Stage(
        name="logits",
        loss="logits",
        data="all",
        unfreeze="gradual",
        epochs=2.0,
        unfreeze_epochs=0.25,
        lr=4e-3,
    )
    labels = Stage(
        name="labels",
        loss="labels",
        data="train",
        unfreeze="gradual",
        epochs=2.0,
        unfreeze_epochs=0.5,
        lr=1e-3,
    )
    experiment = Experiment(
        data=Data(row_length=128, temperature=2.0),
        teacher=Teacher(hidden_size=256, layers=4, heads=4, vocabulary_size=30000, plan=(teacher,)),
        student=Student(embedding_size=32, hidden_size=128, vocabulary="seen"),
        plan=(representation, logits, labels),
        baselines=(Baseline(lrs="4e-3", epochs=6.0, patience=0),),
    )
    if variant == "smoke":
        experiment.data.limit = experiment.data.transfer_limit = 1000
        for stage in (teacher, representation, logits, labels):
            stage.epochs = stage.unfreeze_epochs = 1.0
        logits.unfreeze = labels.unfreeze = "all"
        experiment.baselines[0].epochs = 1.0
        experiment.speed_seconds = 1.0
    elif variant:
        raise InputError(f"manylang has no variant {variant!r}{suggest(variant, ['smoke'])}.")
    return experiment


def multilingual(variant: str = "") -> Experiment:
    """Entities in many languages with a teacher that was pre-trained on them; data and teacher are
    set on the command line."""
    finetune = Stage(
        name="finetune",
        loss="labels",
        data="train",
        epochs=3.0,
        lr=1e-4,
        schedule="linear",
        warmup=0.1,
        weight_decay=0.01,
        batch_size=32,
        keep="last",
    )
    representation, logits, labels = d42()
    experiment = Experiment(
        data=Data(row_length=128, temperature=2.0, swapped=25000, spliced=25000, replaced=50000),
        teacher=Teacher(vocabulary="seen", plan=(finetune,)),
        student=Student(
            embedding_size=100, hidden_size=370, vocabulary="seen", vocabulary_size=16000
        ),
        plan=(
            replace(representation, data="all", epochs=0.5, patience=0),
            replace(logits, data="all", epochs=4.0, unfreeze_epochs=0.1, lr=4e-3, patience=0),
            replace(labels, epochs=4.0, unfreeze_epochs=1.0, lr=1e-3, batch_size=64, patience=0),
        ),
        baselines=(Baseline(lrs="1e-3,2e-3,4e-3", epochs=10.0, patience=0),),
        batch_size=128,
    )
    unmade = replace(experiment.data, swapped=0, spliced=0, replaced=0)
    if variant == "smoke":
        experiment.data.limit = experiment.data.transfer_limit = 200
        experiment.data.swapped = experiment.data.spliced = experiment.data.replaced = 50
        experiment.student.embedding_size, experiment.student.hidden_size = 16, 32
        experiment.student.vocabulary_size = 0
        experiment.plan = tuple(replace(stage, unfreeze="all") for stage in experiment.plan)
        for stage in (finetune, *experiment.plan):
            stage.epochs, stage.unfreeze_epochs = 1.0, 0.0
        experiment.baselines, experiment.speed_seconds = (), 1.0
    elif variant == "english":
        # Texts made of the English sentences would outnumber those in all other languages.
        experiment.data = replace(unmade, train_languages="en")
        experiment.plan[0].epochs = 1.0
        experiment.plan[1].epochs, experiment.plan[1].unfreeze_epochs = 12.0, 0.25
    elif layers := {"first3": "0,1,2", "first6": "0,1,2,3,4,5"}.get(variant):
        experiment.data, experiment.teacher.finetune = unmade, False
        experiment.student = Student(
            kind="transformer", keep_layers=layers, start="pretrained", vocabulary="seen"
        )
        experiment.student.dropout = 0.1
        experiment.plan = (replace(finetune, epochs=4.0, keep="best"),)
        experiment.baselines = ()
    elif variant:
        known = ("smoke", "english", "first3", "first6")
        raise InputError(f"multilingual has no variant {variant!r}{suggest(variant, known)}.")
    return experiment


def _list_variants(data: Data, bilstm_size: int) -> dict[str, Experiment]:
    """The variants that tagging and classification share, by name."""
    bilstm = Student(embedding_size=50, hidden_size=bilstm_size, vocabulary="seen")
    transformer = Student(
        kind="transformer", hidden_size=192, layers=3, heads=12, intermediate_size=768
    )
    own_layers = Student(
        kind="transformer", keep_layers="last:2", start="pretrained", vocabulary="seen"
    )
    states, *rest = v3()
    (labels,) = labels_only()
    own_pieces = replace(bilstm, tokenizer_pieces=8000, vocabulary="all")
    (gold,) = Teacher().plan
    votes = replace(gold, name="votes", data="silver")
    return {
        "d4.2": Experiment(
            data=data, student=bilstm, plan=d42(), baselines=(Baseline(),), batch_size=32
        ),
        "v3": Experiment(data=data, student=transformer, plan=v3(), batch_size=32),
        "layers": Experiment(
            data=data,
            student=own_layers,
            plan=tuple(replace(stage, lr=1e-4) for stage in v3()),
            baselines=(Baseline(lrs="5e-5,1e-4,2e-4"),),
            batch_size=32,
        ),
        "relations": Experiment(
            data=data,
            student=replace(transformer, heads=6),
            plan=(replace(states, loss="relations"), *rest),
            baselines=(Baseline(lrs="3e-4,5e-4,1e-3"),),
            batch_size=32,
        ),
        "annotators": Experiment(
            data=data,
            student=own_pieces,
            plan=annotators(),
            baselines=(Baseline(),),
            batch_size=32,
        ),
        "annotators-gold": Experiment(
            data=data,
            student=own_pieces,
            plan=annotators_gold(),
            baselines=(Baseline(),),
            batch_size=32,
        ),
        "annotators-encoder": Experiment(
            data=data,
            teacher=Teacher(plan=(votes,)),
            student=bilstm,
            plan=without_labels(d42()),
            batch_size=32,
        ),
        "annotators-encoder-gold": Experiment(
            data=data,
            teacher=Teacher(plan=(votes, gold)),
            student=bilstm,
            plan=d42(),
            baselines=(Baseline(),),
            batch_size=32,
        ),
        "labels": Experiment(data=data, student=bilstm, plan=labels_only(), batch_size=32),
        "continue": Experiment(
            data=data,
            student=Student(kind="checkpoint"),
            plan=(replace(labels, epochs=20.0, patience=5),),
            batch_size=16,
        ),
        "smoke": Experiment(
            data=replace(data, limit=200, transfer_limit=400),
            student=Student(embedding_size=16, hidden_size=32, vocabulary="seen"),
            plan=tuple(replace(stage, epochs=1.0, unfreeze_epochs=1.0) for stage in d42()),
            speed_seconds=1.0,
        ),
    }


def _choose(name: str, variants: dict[str, Experiment], variant: str) -> Experiment:
    if variant not in variants:
        raise InputError(f"{name} has no variant {variant!r}{suggest(variant, variants)}.")
    return variants[variant]


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
RECIPES = {  # --config=xdistil:NAME:VARIANT
    "quickstart": quickstart,
    "ner": ner,
    "classify": classify,
    "manylang": manylang,
    "multilingual": multilingual,
}
