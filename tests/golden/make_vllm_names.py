"""Writes tests/golden/vllm_names.json: what vLLM's loaders call tensors of classes of which spinor has rows, read in
its sources: linears that it packs together, beginnings of names that it replaces, linears of single experts.

    python tests/golden/make_vllm_names.py .venv-vllm/lib/python3.*/site-packages/vllm        (vLLM 0.32.0)
"""

import ast
import json
import sys
from functools import cache
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
ROWS = HERE.parent.parent / "rows"


def literal(node):
    """None where it is computed."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


class Sources:
    def __init__(self, folder):
        self.folder = Path(folder)

    @cache
    def tree(self, module):
        inside = module.removeprefix("vllm.").replace(".", "/") if "." in module else f"model_executor/models/{module}"
        file = self.folder / f"{inside}.py"
        return ast.parse((file if file.exists() else self.folder / inside / "__init__.py").read_text())

    def classes(self):
        """{class in config.json: (module, class in vLLM)}"""
        found = {}
        for node in ast.walk(self.tree("registry")):
            for key, value in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ():
                if key and isinstance(place := literal(value), tuple) and len(place) == 2:
                    found[literal(key)] = place
        return found

    def attribute(self, module, class_name, wanted):
        """Of the class, or of what it is derived from; None where it has none."""
        tree = self.tree(module)
        classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        imported = {alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
                    for alias in node.names if node.level == 1 and node.module and "." not in node.module}
        if class_name not in classes:
            return self.attribute(imported[class_name], class_name, wanted) if class_name in imported else None
        for node in classes[class_name].body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == wanted:
                return node.value
        bases = [base.id for base in classes[class_name].bases if isinstance(base, ast.Name)]
        return next(filter(None, (self.attribute(module, base, wanted) for base in bases)), None)

    def prefixes(self, module, class_name):
        mapper = self.attribute(module, class_name, "hf_to_vllm_mapper")
        arguments = {one.arg: literal(one.value) for one in getattr(mapper, "keywords", ())}
        return arguments.get("orig_to_new_prefix")

    def experts(self, module):
        """Names of gate, up and down; several where the loader takes several."""
        found = []
        for node in ast.walk(self.tree(module)):
            arguments = {one.arg: literal(one.value) for one in getattr(node, "keywords", ()) if hasattr(node, "func")}
            names = [arguments.get(f"ckpt_{one}_proj_name") for one in ("gate", "up", "down")]
            if any(names) and names not in found:
                found.append(names)
        return found


def names_of(sources, module, class_name):
    packed = literal(sources.attribute(module, class_name, "packed_modules_mapping") or ast.Constant(None))
    found = {"packed": packed, "prefixes": sources.prefixes(module, class_name), "experts": sources.experts(module)}
    return {key: value for key, value in found.items() if value}


def with_rows():
    for path in sorted(ROWS.glob("*.yaml")):
        rows = yaml.safe_load(path.read_text())
        yield from (name for row in (rows if isinstance(rows, list) else [rows]) if "linears" in row
                    for name in row["names"])


def main():
    sources = Sources(sys.argv[1])
    classes = sources.classes()
    found = {name: names_of(sources, *classes[name]) for name in sorted(set(with_rows()) & set(classes))}
    lines = [f"{json.dumps(name)}: {json.dumps(names)}" for name, names in found.items() if names]
    (HERE / "vllm_names.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
