"""Records of learning: files, verdicts, planted faults by their names, and where a record departs first."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning import lesson
from typer.testing import CliRunner

from eventsolve.io import records
from tests import mutated_files
from validation.cli.app import app
from validation.sbp import circuit, reference
from validation.sbp.diagnosis import departure, diagnosed, explains, is_lifted, simulated
from validation.sbp.guesses import guesses, right
from validation.sbp.ladder import ladder
from validation.sbp.record import Record, read, recorded, write
from validation.sbp.rule import Rule
from validation.sbp.weights import Weights, initial, one_hot
from validation.sbp.wiring import LEARNING, OPEN

RUN = CliRunner()
SIZES = (12, 16, 4)


def samples(n=8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((n, SIZES[0])) < 0.5, one_hot(rng.integers(0, SIZES[2], n), SIZES[2])


def drawn(**options):
    """A record of trials in which everything happens: targets missed and false, errors of both signs."""
    rng = np.random.default_rng(2)
    x, t = rng.random((8, SIZES[0])) < 0.5, rng.random((8, SIZES[2])) < 0.5
    return recorded(initial(SIZES, 2), x, t, **options)


def without_spikes(record):
    return replace(record, spikes={})


def only_w(record):
    needed = ("x->h", "h->o")
    before, after = ({name: w[name] for name in needed} for w in (record.before, record.after))
    return replace(record, spikes={}, before=before, after=after)


LESS = (lambda record: record, without_spikes, only_w)


def test_everything_happens_in_the_trials_that_faults_are_planted_in():
    counts = reference.learned(drawn().weights(0), drawn().inputs, drawn().targets).counts
    assert (counts[:, 2:].sum(axis=0) > 0).all()


# -- correct ones ----------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.sampled_from(LESS))
@settings(max_examples=15)
def test_what_the_circuit_records_is_accepted(seed, less):
    rule, weights, x, t = lesson(
        seed, rule=Rule(read=str(np.random.default_rng(seed).choice(["before", "after"])))
    )
    found = diagnosed(less(recorded(weights, x, t, rule)))
    assert found.accepted, found.sentence
    assert rule.read in found.reads


def test_the_order_of_reading_is_told_where_it_shows():
    told = set()
    for seed in range(25):
        rule, weights, x, t = lesson(seed, largest=30)
        if rule.limits == "chip":
            found = diagnosed(recorded(weights, x, t, rule))
            told.add(found.reads)
            if len(found.reads) == 1:
                declared = recorded(weights, x, t, rule)
                other = "after" if rule.read == "before" else "before"
                assert diagnosed(replace(declared, read=rule.read)).accepted
                assert not explains(declared, right(other))
    assert {("before",), ("after",), ("before", "after")} <= told


def test_trials_with_pauses_between_them_and_a_record_from_the_middle_are_accepted():
    whole = drawn()
    parts = {name: values[3:] for name, values in whole.before.items()}
    late = Record(
        "late", whole.inputs[3:], whole.targets[3:], parts, {n: v[3:] for n, v in whole.after.items()}
    )
    assert diagnosed(late).accepted
    assert diagnosed(replace(whole, consecutive=False)).accepted
    order = [4, 2, 6]
    mixed = Record(
        "mixed",
        whole.inputs[order],
        whole.targets[order],
        {n: v[order] for n, v in whole.before.items()},
        {n: v[order] for n, v in whole.after.items()},
        {n: v[order] for n, v in whole.spikes.items()},
        consecutive=False,
    )
    assert diagnosed(mixed).accepted
    found = diagnosed(replace(mixed, consecutive=None))
    assert found.accepted
    assert found.notes[0].startswith("Trials are taken one by one, as weights change between them")
    found = diagnosed(replace(mixed, consecutive=True))
    assert (found.verdict, found.kinds) == ("fault", ("between",))
    assert "after trial 0 and" in found.sentence


def test_copies_that_have_parted_at_a_limit_are_accepted_and_said():
    weights = Weights([[254, 254], [254, 254], [254, 254]], [[-256, 254], [254, -256]])
    found = diagnosed(recorded(weights, [[1, 1, 0]], [[1, 0]]))
    assert found.accepted
    assert found.notes[0].startswith("-W2^T is not the negative of W2 in 2 of 4 weights")


# -- planted faults --------------------------------------------------------------------------------------------------


def lifts(some, **values):
    new = tuple(f._replace(**{k: v(f) for k, v in values.items()}) if some(f) else f for f in LEARNING.lifts)
    return replace(LEARNING, lifts=new)


def relays(some, **values):
    return replace(LEARNING, relays=tuple(r._replace(**values) if some(r) else r for r in LEARNING.relays))


def populations(some, **values):
    return replace(
        LEARNING, populations=tuple(p._replace(**values) if some(p) else p for p in LEARNING.populations)
    )


def plastic(name):
    return replace(LEARNING, plastic=tuple(p._replace(learns=p.name != name) for p in LEARNING.plastic))


def late(gate):
    return lifts(lambda f: f.gate == gate, delay=lambda f: 1)


PLANTED = {
    **{f"gate {gate} (phase {gate}) comes one step late": late(gate) for gate in (1, 5, 9)},
    "reinforcement comes in phase 5 alone, not in phases 5 and 7": replace(
        LEARNING, rewarded=frozenset((5,))
    ),
    "the delay of dm->o* is 3, not 4": relays(lambda r: r.pre == "dm" and r.delay == 4, delay=3),
    "the refractory period of all but hT is 3, not 2": populations(lambda p: p.pause == 2, pause=3),
    "x->h_lo learns nothing": plastic("x->h_lo"),
    "oTm->hT learns nothing": plastic("oTm->hT"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_named(name):
    """Of all that is recorded; what else is named gives the same bits."""
    record = drawn(wiring=PLANTED[name])
    found = diagnosed(record)
    assert found.verdict == "fault"
    assert name in found.names
    assert found.place is not None
    assert found.place.weight is not None or found.place.spike is not None


@pytest.mark.parametrize("less", LESS[1:])
def test_a_planted_fault_is_named_from_weights_alone(less):
    name = "the refractory period of all but hT is 3, not 2"
    found = diagnosed(less(drawn(wiring=PLANTED[name])))
    assert name in found.names


@pytest.mark.parametrize("less", LESS)
@pytest.mark.parametrize(("projection", "word"), [("oTm->hT", "-W2^T"), ("o->hT", "+W2^T")])
def test_a_copy_of_the_wrong_sign_is_named(projection, word, less):
    held = circuit.held(drawn().weights(0))
    found = diagnosed(less(drawn(held={projection: -held[projection]})))
    assert f"{word} starts with the wrong sign" in found.names
    if projection in less(drawn()).before:
        assert len(found.names) == 1


@pytest.mark.parametrize(("post", "other"), [("h_hi", "o_hi"), ("o_hi", "h_hi")])
def test_an_edge_of_the_box_that_is_off_by_one_is_named_where_a_sum_is_at_it(post, other):
    """A sum of 1024 = 4 x 200 + 224 at a hidden neuron, or of 4 x 254 + 8 at an output that should not fire."""
    w1 = np.full((5, 5), 200)
    w1[4] = 224 if post == "h_hi" else 220
    w1[:, 1:] //= 2
    w1[:, 1:] += 20
    w2 = np.full((5, 2), 40 if post == "h_hi" else 254)
    w2[:, 1] = w2[:, 0] * [1, 1, 1, 1, 0] + [0, 0, 0, 0, 8]
    w2[0, 0] = 400 // 2 if post == "h_hi" else -254
    weights, x, t = Weights(w1, np.clip(w2, -256, 254)), np.ones((2, 5), bool), np.zeros((2, 2), bool)
    t[:, 1] = post == "h_hi"
    sums = {"h_hi": x[:1] @ w1, "o_hi": reference.outputs(weights, x)[:1]}
    assert 1024 in sums[post]
    assert 1024 not in sums[other]
    wiring = lifts(lambda f: f.post in ("h_hi", "o_hi") and f.weight == OPEN, weight=lambda f: OPEN + 1)
    found = diagnosed(recorded(weights, x, t, wiring=wiring))
    assert found.verdict == "fault"
    assert f"{post} upper edge above 1023, not above 1024" in found.names
    assert "h_hi and o_hi upper edge above 1023, not above 1024" in found.names  # these trials do not tell
    assert set(found.kinds) == {"edge"}


def test_what_no_single_fault_explains_has_a_place_and_no_name():
    record = drawn()
    after = {name: w.copy() for name, w in record.after.items()}
    after["x->h"][2:, 3, 4] -= 4
    before = {name: w.copy() for name, w in record.before.items()}
    before["x->h"][3:, 3, 4] -= 4
    found = diagnosed(replace(record, after=after, before=before))
    assert found.verdict == "unexplained"
    assert found.names == ()
    weight = found.place.weight
    assert (weight.trial, weight.projection, weight.pre, weight.post) == (2, "x->h", 3, 4)
    assert weight.got == weight.expected - 4


@given(st.integers(0, 2**32 - 1), st.data())
@settings(max_examples=3)
def test_a_name_is_never_a_wrong_one(seed, data):
    """Of any fault that is known: if it shows, it is among the names, and if it does not, the record is accepted."""
    every = list(guesses("before"))
    guess = every[data.draw(st.integers(0, len(every) - 1))]
    _, weights, x, t = lesson(seed, rule=Rule())
    low, high = (-254, 254) if guess.rule.limits == "symmetric" else (-256, 254)
    weights = Weights(*(np.clip(w, low, high) for w in weights))
    held = guess.began(circuit.held(weights))
    try:
        record = recorded(weights, x, t, guess.rule, wiring=guess.wiring, held=held)
    except ValueError:
        assert guess.rule.limits == "none"  # whose weights leave what a record may hold
        return
    found = diagnosed(record)
    if found.accepted:
        assert explains(record, right("before")) or explains(record, right("after"))
    else:
        same = {
            g.says for g in every if (g.wiring, g.rule, g.start) == (guess.wiring, guess.rule, guess.start)
        }
        assert same & set(found.names), (guess.says, found.sentence)


def test_no_two_guesses_have_one_name():
    every = [guess.says for guess in guesses("before")]
    assert len(set(every)) == len(every) > 300


def test_an_ungated_spike_is_called_so():
    record = drawn()
    spikes = {name: values.copy() for name, values in record.spikes.items()}
    spikes["h"][1, 4, 2] = True
    found = diagnosed(replace(record, spikes=spikes))
    assert str(found.place.spike) == "trial 1, phase 4: h[2] fires, which no gate lifts: an ungated spike"
    assert "Ungated spikes, of neurons that no gate lifts: 1." in found.notes
    assert not is_lifted("x", 2)
    assert is_lifted("dp", 4)


def test_ungated_spikes_of_a_large_network_are_the_circuits_own():
    """40 inputs of 254 sum up to 10160, above the 9216 at which a neuron fires that no gate lifts."""
    found = diagnosed(
        recorded(Weights(np.full((40, 2), 254), np.full((2, 2), 200)), np.ones((1, 40)), [[1, 0]])
    )
    assert found.accepted
    assert any("Ungated spikes" in note for note in found.notes)


def test_where_it_begins_is_told_from_a_weight_if_there_are_no_spikes():
    record = drawn(wiring=late(7))
    place = departure(only_w(record), right("before"))
    assert place.spike is None
    assert place.phases in ((7,), (11,))
    assert place.population == "h"
    place = departure(record, right("before"))
    assert (place.spike.phase, place.population) == (7, "x")


# -- cause by cause --------------------------------------------------------------------------------------------------


def test_the_ladder_ends_at_the_record_and_each_rung_is_needed_somewhere():
    x, t = samples(30, seed=5)
    record = recorded(initial(SIZES, 5), x, t, Rule(read="after"))
    rungs = ladder(record, "after")
    assert [rung.trials for rung in rungs][-2:] == [0, 0]
    assert rungs[0].trials > 0
    assert rungs[0].first is not None
    assert 0.3 < rungs[0].cosine[0] < 1
    assert rungs[1].cosine[1] == pytest.approx(1)
    assert rungs[0].error[1] == 0  # the last layer learns exactly
    saturated = recorded(
        Weights(np.full((4, 4), 254), np.full((4, 2), 254) * [1, -1]), np.ones((2, 4), bool), [[0, 1]] * 2
    )
    assert ladder(saturated, "before")[4].trials == 0


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["json", "npz", "h5"])
def test_a_record_comes_back_from_a_file(tmp_path, ending):
    record = replace(drawn(), read="before", consecutive=True, name="my chip")
    write(record, tmp_path / f"r.{ending}")
    again = read(tmp_path / f"r.{ending}")
    assert (again.name, again.read, again.consecutive, again.sizes) == ("my chip", "before", True, SIZES)
    for one, other in (
        (record.before, again.before),
        (record.after, again.after),
        (record.spikes, again.spikes),
    ):
        assert {*one} == {*other}
        assert all(np.array_equal(one[name], other[name]) for name in one)
    assert np.array_equal(again.inputs, record.inputs)
    assert np.array_equal(again.targets, record.targets)


def test_other_commands_say_of_what_format_it_is(tmp_path):
    write(drawn(), tmp_path / "r.npz")
    with pytest.raises(records.OtherRecord, match="'eventsolve-learning-record'") as caught:
        records.read(tmp_path / "r.npz")
    assert caught.value.format == "eventsolve-learning-record"
    with pytest.raises(records.RecordError, match=r"r\.npz is not a record: .* at most max_bytes = 5000"):
        read(tmp_path / "r.npz", max_bytes=5000)
    (tmp_path / "x.json").write_text('{"format": "something-else", "version": 1}')
    with pytest.raises(records.RecordError, match="format must be 'eventsolve-record'; got 'something-else'"):
        records.read(tmp_path / "x.json")


def document(**changes):
    good = {
        "format": "eventsolve-learning-record",
        "version": 1,
        "name": "mine",
        "inputs": [[1, 0]],
        "targets": [[1]],
        "before": {"x->h": [[[2], [4]]], "h->o": [[[6]]]},
        "after": {"x->h": [[[2], [4]]], "h->o": [[[6]]]},
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 2}, "version must be 1, which this release reads; got 2"),
        ({"name": ""}, "name must be a string"),
        ({"inputs": [[1, 2]]}, r"inputs must be binary, 0 or 1, .*; entry \[0, 1\] is 2.0"),
        ({"inputs": [[1, True]]}, "inputs must be numbers"),
        ({"targets": []}, "targets must have the shape"),
        ({"targets": None}, "the record must have 'targets'"),
        ({"before": {"x->h": [[[2], [4]]]}}, "before must have 'h->o'; it has x->h"),
        ({"before": {"x->h": [[[3], [4]]], "h->o": [[[6]]]}}, r"before\['x->h'\] must be multiples of 2"),
        ({"after": {"x->h": [[[258], [4]]], "h->o": [[[6]]]}}, r"after\['x->h'\] must lie in -256..254"),
        (
            {"after": {"x->h": [[[2], [4]]], "h->o": [[6]]}},
            r"after\['h->o'\] must have the shape \(1, 1, 1\)",
        ),
        (
            {"after": {"x->h": [[[], []]], "h->o": [[[6]]]}},
            r"after\['x->h'\] must have the shape \(1, 2, at least 1\)",
        ),
        (
            {"after": {"x->h": [[[2], [4]]], "h->o": [[[6]]], "a->b": [[[1]]]}},
            "after has 'a->b', which is none of x->h",
        ),
        (
            {"before": {"x->h": [[[2], [4]]], "h->o": [[[6]]], "o->hT": [[[6]]]}},
            "the same projections; 'o->hT'",
        ),
        ({"spikes": {"q": [[[1]]]}}, "spikes has 'q', which is none of x, m_x"),
        ({"spikes": {"h": [[[1]]]}}, r"spikes\['h'\] must have the shape \(1, 12, 1\); got \(1, 1, 1\)"),
        ({"spikes": {"h": [[[0.5]] * 12]}}, r"spikes\['h'\] must be binary"),
        ({"read": "often"}, "read must be one of before, after; got 'often'"),
        ({"consecutive": 1}, "consecutive must be True or False; got 1"),
        ({"what": 1}, "the record has 'what', which is none of"),
    ],
)
def test_a_file_that_is_no_such_record_is_refused_by_sentence(tmp_path, changes, said):
    (tmp_path / "r.json").write_text(json.dumps(document(**changes)))
    with pytest.raises(records.RecordError, match=said):
        read(tmp_path / "r.json")
    ran = RUN.invoke(app, ["check", str(tmp_path / "r.json"), "--out", str(tmp_path / "out")])
    assert ran.exit_code == 2, ran.output


def test_a_changed_file_is_read_or_refused(tmp_path):
    """Bytes, what the document says, and arrays changed at random: nothing but a sentence comes of it."""
    small = recorded(Weights([[254, 8], [2, 4]], [[100], [200]]), [[1, 0], [1, 1]], [[1], [0]])
    chance, ends = random.Random(1), {"read": 0, "refused": 0}
    for ending in ("json", "npz"):
        path = tmp_path / f"r.{ending}"
        write(small, path)
        content = path.read_bytes()
        for _ in range(60):
            path.write_bytes(mutated_files.changed(ending, content, chance))
            try:
                read(path, max_bytes=2**22)
                ends["read"] += 1
            except records.RecordError:
                ends["refused"] += 1
    assert ends["read"] > 0
    assert ends["refused"] > 60


def test_a_small_record_by_hand_is_read():
    assert (
        Record("x", [[1, 0]], [[1]], {"x->h": [[[2], [4]]], "h->o": [[[6]]]}, document()["after"]).n_trials
        == 1
    )
    assert "trials" in repr(drawn())


# -- commands --------------------------------------------------------------------------------------------------------


def invoke(tmp_path, record, *arguments):
    write(record, tmp_path / "r.npz")
    name, *rest = arguments
    return RUN.invoke(app, [name, str(tmp_path / "r.npz"), *rest])


def test_check_accepts_what_is_right_and_names_what_is_wrong(tmp_path):
    out = ["--out", str(tmp_path / "out"), "--junit", str(tmp_path / "junit.xml")]
    ran = invoke(tmp_path, drawn(), "check", *out)
    assert ran.exit_code == 0, ran.output
    assert "learns as the circuit does, in every bit of 8 trials" in ran.output
    assert 'failures="0"' in (tmp_path / "junit.xml").read_text()
    assert (tmp_path / "out" / "report.html").exists()
    ran = invoke(tmp_path, drawn(wiring=late(5)), "check", *out)
    assert ran.exit_code == 1, ran.output
    assert "gate 5 (phase 5) comes one step late" in ran.output
    assert "It begins in phase 5, at population h." in ran.output
    assert 'failures="1"' in (tmp_path / "junit.xml").read_text()
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert data["names"] == ["gate 5 (phase 5) comes one step late"]
    assert data["place"]["spike"]["population"] == "h"


def test_the_other_commands_answer_too(tmp_path):
    record = drawn(wiring=late(5))
    ran = invoke(tmp_path, record, "localise")
    assert (ran.exit_code, "phase 5: h[" in ran.output) == (1, True), ran.output
    ran = invoke(tmp_path, drawn(), "attribute", "--out", str(tmp_path / "a"))
    assert ran.exit_code == 0, ran.output
    assert "the sign of the hidden error" in ran.output
    ran = invoke(tmp_path, drawn(), "compare", "--set", "read=after", "--out", str(tmp_path / "c"))
    assert ran.exit_code in (0, 1), ran.output
    ran = invoke(
        tmp_path, drawn(), "compare", "--set", "error=real,limits=none", "--out", str(tmp_path / "c")
    )
    assert ran.exit_code == 1, ran.output
    assert "are not those of: exact backpropagation, no limits" in ran.output
    ran = invoke(tmp_path, drawn(), "compare", "--set", "dt=3", "--out", str(tmp_path / "c"))
    assert ran.exit_code == 2, ran.output
    ran = invoke(tmp_path, drawn(), "localise", "--set", "dt=3")
    assert ran.exit_code == 2, ran.output
    ran = invoke(tmp_path, drawn(), "diagnose", "--out", str(tmp_path / "d"))
    assert ran.exit_code == 0, ran.output
    assert json.loads((tmp_path / "d" / "diagnosis.json").read_text())["verdict"] == "agrees"


@pytest.mark.parametrize(
    "before",
    [["loihi2"], ["converge", "--target", "genn"], ["recommend", "0.5", "--target", "genn"], ["train"]],
    ids=lambda before: before[0],
)
def test_commands_that_have_no_answer_refuse_it_by_a_sentence(tmp_path, before, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(drawn(), tmp_path / "r.npz")
    ran = RUN.invoke(app, [*before, "r.npz"])
    assert ran.exit_code == 2, ran.output
    assert "eventsolve-learning-record" in ran.output


@pytest.mark.parametrize(
    "command",
    [
        ["check", "--tolerance", "0.5"],
        ["check", "--window", "1ms"],
        ["diagnose", "--patience", "1s"],
        ["compare", "--target", "loihi2"],
        ["attribute", "--target", "genn"],
        ["localise", "--target", "loihi2"],
    ],
    ids=" ".join,
)
def test_options_that_it_has_no_use_for_are_refused(tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = invoke(tmp_path, drawn(), *command)
    assert ran.exit_code == 2, ran.output
    assert "judges itself" in " ".join(ran.output.split())
    assert command[1] in ran.output


def test_the_next_command_names_the_file(tmp_path):
    ran = invoke(tmp_path, drawn(wiring=late(5)), "check", "--out", str(tmp_path / "out"))
    assert f"attribute {tmp_path / 'r.npz'}" in ran.output.replace("\n", "")


def test_a_target_is_asked_for_where_a_record_does_not_judge_itself(tmp_path):
    ran = RUN.invoke(app, ["compare", "random", "--out", str(tmp_path)])
    assert ran.exit_code == 2
    assert "must be given" in ran.output


def test_a_circuit_goes_on_from_what_was_recorded():
    record = drawn()
    for trial, found in enumerate(simulated(record, right("before"), consecutive=True)):
        assert all(np.array_equal(found.weights[name], record.after[name][trial]) for name in record.after)
