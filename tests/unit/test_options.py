"""What may stand in ``user_options``: one shape, whatever an attacker sends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_extensions.domain.errors import Malformed
from ark_spawner.options import stored_workspace_id, workspace_id

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


def test_the_one_shape_is_accepted() -> None:
    options = {"workspace": "94e14ef9fbf6434c98250fab834d912e"}
    assert workspace_id(options) == stored_workspace_id(options) == "94e14ef9fbf6434c98250fab834d912e"


@pytest.mark.parametrize(
    "options",
    [
        None,
        [],
        "94e1",
        {},
        {"workspace": None},
        {"workspace": ""},
        {"workspace": ["a"]},
        {"workspace": {"workspace": "a"}},
        {"workspace": "a", "image": "evil"},
        {"workspace": "../../etc"},
        {"workspace": "a/b"},
        {"workspace": "a\n"},
        {"workspace": "-rf"},
        {"workspace": "a" * 65},
        {"workspace": "a" * 10_000_000},
        {"WORKSPACE": "a"},
    ],
)
def test_every_other_shape_is_refused_in_a_plain_sentence(options: object) -> None:
    with pytest.raises(Malformed) as refusal:
        workspace_id(options)
    assert "console" in str(refusal.value)
    assert len(str(refusal.value)) < 200, "what was sent is not repeated"
    assert stored_workspace_id(options) is None


@given(JSON)
def test_nothing_that_json_can_hold_raises_anything_else(options: object) -> None:
    try:
        assert workspace_id(options) == options["workspace"]  # type: ignore[index]
    except Malformed:
        pass
