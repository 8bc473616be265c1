"""Templates whose plain sentences are translated when they are compiled, not each time they are shown.

A list of 200 rows holds 4,000 of them. Promises: what a template says is the same either way; a sentence with fields, or
one that is not a literal, is left to be translated when it is shown.
"""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, nodes
from jinja2.visitor import NodeTransformer


class FoldingEnvironment(Environment):
    """``globals["_"]`` must be there before the first template is loaded."""

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Fold(self.globals["_"]).visit(super()._parse(source, name, filename))
        return tree


class _Fold(NodeTransformer):
    def __init__(self, translate: Any) -> None:
        self._translate = translate

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        self.generic_visit(node)
        named = isinstance(node.node, nodes.Name) and node.node.name == "_"
        if not named or node.kwargs or node.dyn_args or node.dyn_kwargs or len(node.args) != 1 or not isinstance(node.args[0], nodes.Const):
            return node
        return nodes.Const(self._translate(node.args[0].value), lineno=node.lineno)
