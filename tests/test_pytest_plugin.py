"""Does the plugin give tests their problems and examples, and say in the summary what differs?"""

import re

import pytest
from hypothesis import settings

import eventsolve as es
from eventsolve.testing import failing
from eventsolve.testing.canonical import PROBLEMS
from eventsolve.testing.mismatch import Joint

pytest_plugins = ["pytester"]

PLUGIN = ("-p", "no:eventsolve", "-p", "pytest_eventsolve", "-p", "no:cacheprovider")
"""Also where it is installed, and would be loaded by its entry point."""


@pytest.fixture(autouse=True)
def warm():
    """What an inner run imports first is forgotten after it, which numba's compiled functions would not survive."""
    for make in PROBLEMS.values():
        problem = make()
        es.value_and_grad(problem.solution, problem.loss)
        problem.solution.voltage("out", [0.0])


EXACT = """
    import eventsolve as es
    import pytest
    from hypothesis import given, settings
    from hypothesis import strategies as st
    from eventsolve.testing import check_implementation

    def mine(problem, factor=1.0):
        _, grads = es.value_and_grad(problem.solution, problem.loss)
        return {
            "spikes": problem.solution.spikes,
            "weight": {key: factor * g for key, g in grads.weight.items()},
        }
"""


def run(pytester, body, *arguments):
    pytester.makepyfile(EXACT + body)
    return pytester.runpytest_inprocess(*PLUGIN, "--strict-markers", *arguments)


def test_a_test_runs_once_for_each_problem(pytester):
    result = run(
        pytester,
        """
    def test_mine(eventsolve_problem, eventsolve_check):
        eventsolve_check(mine, eventsolve_problem, spikes_atol=0.0, rtol=0.0)
    """,
    )
    result.assert_outcomes(passed=len(PROBLEMS))
    result.stdout.fnmatch_lines([f"eventsolve: {len(PROBLEMS)} tests, {len(PROBLEMS)} problems, 0 differ"])


def test_a_marker_chooses_problems(pytester):
    result = run(
        pytester,
        """
    @pytest.mark.eventsolve(problems=["one spike", "delays"])
    def test_mine(eventsolve_problem):
        assert eventsolve_problem.n_samples == 1
    """,
        "-v",
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_mine?one spike? PASSED*", "*test_mine?delays? PASSED*"])
    result.stdout.fnmatch_lines(["eventsolve: 2 tests, 0 differ"])


def test_a_problem_that_does_not_exist_is_an_error(pytester):
    result = run(
        pytester,
        """
    @pytest.mark.eventsolve(problems=["all"])
    def test_mine(eventsolve_problem):
        pass
    """,
    )
    assert result.ret != 0
    result.stdout.re_match_lines([r".*problems must be among one spike, .*; got 'all'"])


def test_the_summary_tells_what_crashes_and_what_is_not_supported(pytester):
    result = run(
        pytester,
        """
    from eventsolve.testing import Unsupported

    def none(problem):
        raise Unsupported("anything")

    def test_crashes(eventsolve_check):
        from eventsolve.testing.canonical import PROBLEMS
        eventsolve_check(lambda p: p.nothing, PROBLEMS["one spike"](), spikes_atol=0.0, rtol=0.0)

    def test_lacks(eventsolve_check):
        from eventsolve.testing.canonical import PROBLEMS
        eventsolve_check(none, PROBLEMS["one spike"](), spikes_atol=0.0, rtol=0.0)
    """,
    )
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "eventsolve: 2 tests, 1 problems, 1 not supported, 0 differ, 1 failed otherwise",
            "  *test_crashes: ended with AttributeError",
        ]
    )


def test_the_summary_names_what_differs(pytester):
    result = run(
        pytester,
        """
    def test_right(eventsolve_check):
        from eventsolve.testing.canonical import PROBLEMS
        eventsolve_check(mine, PROBLEMS["one spike"](), spikes_atol=0.0, rtol=0.0)

    def test_wrong():
        from eventsolve.testing.canonical import PROBLEMS
        check_implementation(lambda p: mine(p, -1.0), PROBLEMS["one spike"](), spikes_atol=0.0, rtol=1e-9)

    def test_elsewhere():
        assert 1 == 2
    """,
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "eventsolve: 2 tests, 1 problems, 1 differ",
            "  *test_wrong: dL/dw differ at synapse [[]post 0, pre 0] of ('in', 'out'), which looks like a factor -1 *",
        ]
    )


def test_the_first_problem_that_fails_is_named_at_once_and_shrinking_has_a_budget(pytester):
    """A factor that is tau_syn of one layer and not of the other is told as the number that it is."""
    result = run(
        pytester,
        """
    from dataclasses import replace

    from eventsolve.testing import failing
    from eventsolve.testing.canonical import PROBLEMS

    shown = []

    def wrong(problem):
        shown.append(problem)
        return mine(problem, 5e-3)

    @settings(max_examples=5, deadline=None)
    @given(st.lists(st.integers(1, 400), min_size=1, max_size=12))
    def test_mine(numbers):
        problem = PROBLEMS["two layers"]()
        problem = replace(problem, t_end=problem.t_end + 1e-6 * sum(n * n for n in numbers))
        check_implementation(wrong, problem, spikes_atol=1e-9, rtol=1e-9)

    def test_ends():
        assert len(shown) <= failing.SHRINKING + 20
    """,
        "-p",
        "no:randomly",
    )
    result.assert_outcomes(passed=1, failed=1)
    said = result.stdout.str()
    assert re.search(r"eventsolve: the first problem that fails looks like: a common factor of 0.005", said)
    assert re.search(
        r"explains 100 % of the misfit( of [23] failing problems, and is found in [23] of them)?", said
    )


def test_of_several_problems_the_name_that_explains_most_is_told():
    def said(name, *rivals, explains=1.0, verdict="fault"):
        return Joint(verdict, name, rivals, explains, 1, 1)

    first = said("a factor 2", "delay a step too long: in → out")
    second = said("delay a step too long: in → hidden, hidden → out", explains=0.5)
    neither = said("nothing", explains=0.0, verdict="unexplained")
    found = failing.joint([first, second, neither])
    assert (found.name, found.count, found.of) == ("delay a step too long: in → out", 2, 3)
    assert found.explains == 0.5
    assert failing.joint([first]) is first


COUNTED = """
    count = others = own = 0

    @pytest.mark.eventsolve{marker}
    @given(st.integers())
    def test_mine(number):
        global count
        count += 1

    @given(st.integers())
    def test_other(number):
        global others
        others += 1

    @pytest.mark.eventsolve(examples=6)
    @settings(max_examples=11)
    @given(st.integers())
    def test_with_settings_of_its_own(number):
        global own
        own += 1

    def test_count():
        print("drawn", count, "and", others, "and", own)
"""


@pytest.mark.parametrize(
    ("marker", "arguments", "drawn"),
    [
        ("(examples=7)", (), 7),
        ("", ("--eventsolve-examples", "5"), 5),
        ("(examples=7)", ("--eventsolve-examples", "3"), 3),
    ],
)
def test_marked_tests_draw_as_many_examples_as_asked_for(pytester, marker, arguments, drawn):
    result = run(pytester, COUNTED.format(marker=marker), "-s", "-p", "no:randomly", *arguments)
    result.assert_outcomes(passed=4)
    (found,) = re.findall(r"drawn (\d+) and (\d+) and (\d+)", result.stdout.str())
    assert [int(n) for n in found] == [drawn, settings().max_examples, 11]


SLOW_AT_FIRST = """
    import time

    first = set()

    def call(name):
        if name not in first:
            first.add(name)
            time.sleep(0.1)

    @pytest.mark.eventsolve
    @given(st.booleans())
    def test_marked(_):
        call("marked")

    @pytest.mark.eventsolve(examples=3)
    @given(st.booleans())
    def test_with_examples(_):
        call("with examples")

    @given(st.booleans())
    def test_other(_):
        call("other")
"""


def test_marked_tests_have_no_deadline_which_the_first_call_would_miss(pytester):
    """The first call of a verb compiles it: a test under a deadline fails then, and not again."""
    settings.register_profile("usual", settings.default)
    settings.register_profile("strict", deadline=20, database=None)
    try:
        result = run(pytester, SLOW_AT_FIRST, "--hypothesis-profile", "strict")
    finally:
        settings.load_profile("usual")
    result.assert_outcomes(passed=2, failed=1)
    assert re.search(r"test_other .*Flaky", result.stdout.str())


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_a_number_of_examples_that_is_none_is_refused(pytester, number):
    result = run(pytester, "", "--eventsolve-examples", number)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"*--eventsolve-examples: must be a whole number of at least 1; got *{number}*"]
    )


def test_a_suite_without_such_tests_has_no_such_line(pytester):
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.assert_outcomes(passed=1)
    assert "eventsolve:" not in result.stdout.str()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("examples=-3", "examples must be an int of at least 1; got -3"),
        ("examples=True", "examples must be an int of at least 1; got True"),
        ("examples='many'", "examples must be an int of at least 1; got 'many'"),
        ("example=5", "the marker eventsolve takes examples=... and problems=...; got 'example'"),
        ("5", "the marker eventsolve takes examples=... and problems=...; got 5"),
        ("problem=['one spike']", "the marker eventsolve takes examples=... and problems=...; got 'problem'"),
        ("problems='one spike'", "problems must be a list of one name or more; got 'one spike'"),
        ("problems=[['one spike']]", "problems must be a list of one name or more; got [['one spike']]"),
        ("problems=[]", "problems must be a list of one name or more; got []"),
    ],
)
def test_a_marker_that_says_nothing_is_told(pytester, options, sentence):
    result = run(
        pytester,
        f"""
    @pytest.mark.eventsolve({options})
    def test_mine():
        pass
    """,
    )
    assert result.ret != 0
    assert sentence in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("(example=2)", "takes examples=... and problems=...; got 'example'"),
        ("(examples=2)", "the marker eventsolve is of a test, not of one case of it: "),
        ("", None),
    ],
)
def test_options_are_of_a_test_and_not_of_one_case(pytester, options, sentence):
    """Examples of the first case were those of all, and its problems nobody's."""
    result = run(
        pytester,
        f"""
    @pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.eventsolve{options})])
    def test_mine(n):
        pass
    """,
    )
    assert (result.ret == 0) == (sentence is None)
    assert sentence is None or sentence in result.stdout.str() + result.stderr.str()
