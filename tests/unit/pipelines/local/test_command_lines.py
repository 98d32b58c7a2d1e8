"""Values as words of a command line, and placeholders filled in."""

import pytest

from epilstm.errors import PipelineError
from epilstm.pipelines.local.command_lines import with_parameters, with_paths
from epilstm.pipelines.local.parameter_values import as_text, as_type, from_text, selected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (4, "4"),
        (4.0, "4"),
        (0.5, "0.5"),
        (1e-7, "0.0000001"),
        (1e22, "10000000000000000000000"),
        (True, "true"),
        ([], "[]"),
        ({"b": [1.0, 2.5, None, False], "a": "é"}, '{"a":"é","b":[1,2.5,null,false]}'),
        ({"small": 1e-7, "smaller": 0.00001, "large": 1.5e21}, '{"large":1.5e+21,"small":1e-7,"smaller":0.00001}'),
        (["<&>"], '["\\u003c\\u0026\\u003e"]'),
    ],
)
def test_values_are_written_as_go_writes_them(value, text):
    assert as_text(value) == text


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("1", "STRING", "1"),
        ("4", "NUMBER_INTEGER", 4),
        ("0.5", "NUMBER_DOUBLE", 0.5),
        ("True", "BOOLEAN", True),
        ('["1/2"]', "LIST", ["1/2"]),
        ('{"a": 1.0}', "STRUCT", {"a": 1}),
    ],
)
def test_the_file_of_an_output_is_read_by_its_type(text, kind, value):
    assert from_text(text, kind) == value


@pytest.mark.parametrize(
    ("value", "kind"),
    [("x", "NUMBER_INTEGER"), ("1.5", "NUMBER_INTEGER"), ("nan", "NUMBER_DOUBLE"), ("yes", "BOOLEAN"), ("{}", "LIST"),
     ([], "STRUCT"), (True, "NUMBER_INTEGER"), (1, "BOOLEAN")],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(value, kind):
    with pytest.raises(PipelineError, match=f"input n: expected {kind}"):
        as_type(value, kind, "task t: input n")


def test_a_field_of_a_loops_item_is_selected():
    assert selected({"a": "1"}, 'parseJson(string_value)["a"]', "task t") == "1"
    with pytest.raises(PipelineError, match="has no field 'b'"):
        selected({"a": "1"}, 'parseJson(string_value)["b"]', "task t")
    with pytest.raises(PipelineError, match="is not supported"):
        selected({"a": "1"}, "string_value.a", "task t")


def test_concat_and_if_present_follow_from_what_is_given():
    words = [
        '{"Concat": ["v=", "{{$.inputs.parameters[\'v\']}}"]}',
        '{"IfPresent": {"InputName": "v", "Then": ["--v", "{{$.inputs.parameters[\'v\']}}"], "Else": ["--none"]}}',
    ]
    assert with_parameters(words, {"v": 3}, "task t") == ["v=3", "--v", "3"]
    assert with_parameters(words[1:], {}, "task t") == ["--none"]


def test_a_line_that_needs_a_value_that_is_not_given_is_refused():
    with pytest.raises(PipelineError, match="task t: input v has no value"):
        with_parameters(["{{$.inputs.parameters['v']}}"], {}, "task t")


def test_paths_are_filled_in():
    given = {
        "inputs": {"parameterValues": {}, "artifacts": {"model": {"artifacts": [{"uri": "/run/model"}]}}},
        "outputs": {
            "parameters": {"part": {"outputFile": "/run/part"}},
            "artifacts": {"page": {"artifacts": [{"uri": "/run/page"}]}},
            "outputFile": "/run/output.json",
        },
    }
    words = [
        "{{$.inputs.artifacts['model'].path}}",
        "{{$.outputs.artifacts['page'].uri}}",
        "{{$.outputs.parameters['part'].output_file}}",
        "{{$.pipeline_job_uuid}}",
    ]
    assert with_paths(words, given, {"pipeline_job_uuid": "7"}, "task t") == [
        "/run/model",
        "/run/page",
        "/run/part",
        "7",
    ]
    assert '"outputFile":"/run/output.json"' in with_paths(["{{$}}"], given, {}, "task t")[0]
    with pytest.raises(PipelineError, match=r"\{\{\$\.unknown\}\} is not supported"):
        with_paths(["{{$.unknown}}"], given, {}, "task t")
