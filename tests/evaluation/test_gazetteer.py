"""The gazetteer against predictions worked out by hand."""

from xdistil.data.examples import Example
from xdistil.evaluation.gazetteer import tag_with_names


def _train(*sentences: str) -> list[Example]:
    """Sentences of `word/tag` pairs."""
    examples = []
    for sentence in sentences:
        pairs = [pair.split("/") for pair in sentence.split()]
        examples.append(Example(tuple(w for w, _ in pairs), tuple(t for _, t in pairs), "en"))
    return examples


def _look_up(train: list[Example], text: str) -> str:
    (tags,) = tag_with_names(train, [Example(tuple(text.split()), None, "fr")])
    return " ".join(tags)


def test_the_longest_name_wins():
    train = _train("New/B-LOC York/I-LOC", "New/B-ORG York/I-ORG Times/I-ORG", "York/B-LOC")
    assert _look_up(train, "New York Times") == "B-ORG I-ORG I-ORG"
    assert _look_up(train, "New York in York") == "B-LOC I-LOC O B-LOC"
    assert _look_up(train, "New in the Times") == "O O O O"


def test_names_are_taken_from_the_left_and_do_not_overlap():
    train = _train("A/B-PER B/I-PER", "B/B-LOC C/I-LOC D/I-LOC")
    assert _look_up(train, "A B C D") == "B-PER I-PER O O"


def test_a_name_cut_by_the_end_of_a_text_is_no_name():
    train = _train("A/B-PER B/I-PER C/I-PER", "A/B-LOC B/I-LOC")
    assert _look_up(train, "A B") == "B-LOC I-LOC"
    assert _look_up(train, "A") == "O"


def test_an_ambiguous_name_gets_its_most_frequent_type_and_of_equals_the_first():
    train = _train("Lee/B-PER", "Lee/B-LOC", "Lee/B-PER", "Nil/B-PER", "Nil/B-LOC")
    assert _look_up(train, "Lee Nil") == "B-PER B-LOC"


def test_a_name_more_often_outside_than_an_entity_is_left_out():
    train = _train("May/B-PER in/O May/O", "Apple/B-ORG", "Apple/O or/O Apple/O")
    assert _look_up(train, "May or Apple") == "B-PER O O"


def test_a_name_at_the_end_of_a_sentence_is_outside_once():
    train = _train("A/B-PER B/I-PER", "A/B-LOC B/I-LOC C/I-LOC", "x/O A/O B/O")
    assert _look_up(train, "A B") == "B-PER I-PER"


def test_words_inside_a_longer_entity_do_not_count_as_outside():
    train = _train("York/B-LOC", "New/B-LOC York/I-LOC", "New/B-ORG York/I-ORG Times/I-ORG")
    assert _look_up(train, "York") == "B-LOC"


def test_neighbouring_entities_are_two_names():
    train = _train("Ann/B-PER Bob/B-PER Lee/I-PER ./O")
    assert _look_up(train, "Bob Lee Ann Lee") == "B-PER I-PER B-PER O"


def test_labels_of_the_texts_are_not_read():
    text = Example(("Ann", "x"), ("B-LOC", "B-LOC"), "en")
    assert tag_with_names(_train("Ann/B-PER"), [text]) == [("B-PER", "O")]
