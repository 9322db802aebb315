"""The table of docs/models.md is what `spinor inspect` says of the tiny models, and what the tests prove of them.

    python tests/models_page_test.py        writes it anew
"""

import tempfile
from pathlib import Path

import torch
import yaml

import tiny_models
from command import ROOT, spinor_json
from rotated_families_test import LEGAL
from runtime_test import LATENT, RUN

PAGE = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- made by tests/models_page_test.py -->\n", "<!-- end -->\n"
FOUND, FOUND_END = "<!-- found by discovery -->\n", "<!-- end of what was found -->\n"
SPINS = ["R1", "R2", "R3", "R4"]


def reports(folder):
    """By family, what inspect says of each of its cases."""
    for family in [*tiny_models.FAMILIES, *LEGAL]:
        cases = ["wide_heads"] if family in tiny_models.FAMILIES else list(tiny_models.MORE_FAMILIES[family][1])
        found = []
        for case in cases:
            tiny_models.save(folder / family / case, family, case, torch.float32)
            found.append((case, spinor_json("inspect", folder / family / case)))
        yield family, found


def verdict(report, spin):
    """The reason against a rotation, or none."""
    texts = [row["verdict"] for row in report["rotations"] if row["rotation"] == spin]
    refused = [text.removeprefix("no: ") for text in texts if text.startswith("no: ")]
    return refused[0] if refused else None


def cell(family, found, spin, reasons):
    against = {case: verdict(report, spin) for case, report in found}
    architecture = found[0][1]["architecture"]
    for case, reason in against.items():
        if reason:
            text = reason.split(" scales the output")
            reason = "a norm scales the output" + text[1] if len(text) > 1 else reason
            reasons.setdefault((spin, reason), set()).add(architecture)
    rows = [row["verdict"] for row in found[0][1]["rotations"] if row["rotation"] == spin]
    centred = any("keeping the mean" in row for row in rows)
    if all(against.values()):
        return "no"
    return ("yes*" if any(against.values()) else "yes") + (", keeping the mean" if centred else "")


def proofs(family):
    """What the tests compare with transformers."""
    if family in tiny_models.FAMILIES:
        return "R1 to R4, forward pass"
    online = ", R4" if family in LATENT else ", R3, R4"
    return LEGAL[family].replace(",", ", ") + (f"{online}, forward pass" if family in RUN else "")


def table(folder):
    reasons, lines = {}, []
    for family, found in reports(folder):
        cells = [cell(family, found, spin, reasons) for spin in SPINS]
        report = found[0][1]
        runs = "yes" if report["runs"] else f"no: {report['why_not_run']}"
        runs = "yes, on text" if report["runs_on_text_only"] else runs
        lines.append("| " + " | ".join([report["architecture"], *cells, runs, proofs(family)]) + " |")
    head = "| architecture | R1 | R2 | R3 | R4 | runs | compared with transformers |\n|---|---|---|---|---|---|---|\n"
    notes = [f"- {spin}: {reason}. ({', '.join(sorted(names))})" for (spin, reason), names in sorted(reasons.items())]
    return head + "\n".join(lines) + "\n\n`*`: not all of them. What is against it:\n\n" + "\n".join(notes) + "\n"


def found_rows():
    """The rows that discovery wrote, by class; and what it says of classes without one."""
    rows = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "rows").glob("*.yaml"))]
    return ([row for row in rows if isinstance(row, dict) and "proof" in row],
            yaml.safe_load((ROOT / "rows" / "undecided.yaml").read_text()))


def found_table():
    rows, undecided = found_rows()
    lines = []
    for row in sorted(rows, key=lambda row: row["names"][0]):
        reasons = {one["rotation"]: one["reason"] for one in row.get("refusals", ())}
        if "R1" not in row["proof"] and row.get("scaled_outputs"):
            reasons["R1"] = ", ".join(row["scaled_outputs"]) + " scale what enters the residual stream"
        if not row["attention"]["value"] and "R2" not in reasons:
            reasons["R2"] = "there is no softmax attention"
        norms = [*row.get("norms", ()), *row.get("outer_norms", ())]
        mean = ", keeping the mean" if any(norm.get("layer_norm") for norm in norms) else ""
        cells = [f"{float(row['proof'][spin]):.0e}{mean if spin == 'R1' else ''}" if spin in row["proof"] else "no"
                 for spin in ("R1", "R2")]
        why = "; ".join(f"{spin}: {reasons[spin]}" for spin in ("R1", "R2") if spin in reasons).replace("|", "/")
        lines.append(f"| {', '.join(row['names'])} | {' | '.join(cells)} | {why} |")
    without = [f"- {', '.join(one['names'])}: {one['reason']}" for one in undecided]
    head = "| architecture | R1 | R2 | what is against it |\n|---|---|---|---|\n"
    return head + "\n".join(lines) + "\n\nWithout a row:\n\n" + "\n".join(without) + "\n"


def test_the_table_of_what_was_found_is_true():
    text = PAGE.read_text()
    assert text[text.index(FOUND) + len(FOUND) : text.index(FOUND_END)] == found_table()
    rows, _ = found_rows()
    assert f"and {len(rows)} more whose rows" in (ROOT / "README.md").read_text()


def test_the_table_is_true(tmp_path):
    text = PAGE.read_text()
    made = table(tmp_path)
    assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)] == made
    assert f"for {len(LEGAL) + len(tiny_models.FAMILIES)} classes of models" in (ROOT / "README.md").read_text()


if __name__ == "__main__":
    text = PAGE.read_text()
    with tempfile.TemporaryDirectory() as folder:
        made = table(Path(folder))
    text = text[: text.index(BEGIN) + len(BEGIN)] + made + text[text.index(END) :]
    PAGE.write_text(text[: text.index(FOUND) + len(FOUND)] + found_table() + text[text.index(FOUND_END) :])
