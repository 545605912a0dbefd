"""Every public function and method of the package states the types of its arguments and result."""

import ast

from tests.conftest import ROOT


def public(body, prefix):
    """Yield (name, definition, whether it is a method) of the public functions in `body`."""
    for node in body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            yield from ((name, inner, True) for name, inner, _ in public(
                node.body, f"{prefix}{node.name}."))
        else:
            yield prefix + node.name, node, False


def without_annotation(function, method):
    """Return the names of the arguments without an annotation, and "return" if it has none."""
    arguments = function.args
    plain = [*arguments.posonlyargs, *arguments.args]
    static = any(ast.unparse(mark) == "staticmethod" for mark in function.decorator_list)
    if method and not static:
        del plain[0]  # self or cls
    starred = [each for each in (arguments.vararg, arguments.kwarg) if each]
    missing = [each.arg for each in (*plain, *arguments.kwonlyargs, *starred)
               if each.annotation is None]
    return missing + (["return"] if function.returns is None else [])


def test_public_functions_have_annotations():
    checked, missing = 0, []
    for folder in ("zoo", "training", "tuning"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            for name, function, method in public(tree.body, ""):
                checked += 1
                missing += [f"{file.relative_to(ROOT)}:{function.lineno} {name}: {argument}"
                            for argument in without_annotation(function, method)]
    assert checked > 400
    assert not missing, "\n".join(missing)
