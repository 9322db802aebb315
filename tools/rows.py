#!/usr/bin/env python3
"""rows.py [TYPE ...]: finds the rows of transformers' decoders again, proves them, writes rows/<type>.yaml, and says
what changed. Classes with a row written by hand keep it. Of those without one, rows/undecided.yaml says why.

Types are those of transformers: all of its causal classes, and all for images and text, if none is given."""

import argparse
import json
import os
import re
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "critical")
warnings.filterwarnings("ignore")

import torch  # noqa: E402
import transformers  # noqa: E402

from spinor._errors import Error  # noqa: E402
from spinor.discovery.discover import HEADER, CannotTell, discover_type  # noqa: E402
from spinor.discovery.tiny import causal_types, class_names, image_text_types  # noqa: E402

ROWS = Path(__file__).resolve().parent.parent / "rows"
UNDECIDED = ROWS / "undecided.yaml"
SECONDS = 180


def file_of(kind, model_type):
    return ROWS / f"{model_type.replace('-', '_')}{'' if kind == 'causal' else '_images'}.yaml"


def is_generated(path):
    return not path.exists() or path.read_text().startswith(HEADER[:20])


def found(kind, model_type):
    """Text of the row, or the reason why there is none."""
    try:
        discovery = discover_type(model_type, kind)
    except (Error, CannotTell) as error:
        return None, str(error)
    except Exception as error:  # noqa: BLE001: a class may raise anything
        where = traceback.extract_tb(error.__traceback__)[-1]
        return None, f"{type(error).__name__}: {error} ({Path(where.filename).name})"
    return discovery.row, str(discovery)


def start(kind, model_type, out):
    """Classes may take long, or end their process; what they leave in memory is of no use to the next."""
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        out.write_text(json.dumps(found(kind, model_type)))
        os._exit(0)
    return child


def results(wanted, jobs):
    """(kind, type, row or None, what is said of it), as they come."""
    running = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, model_type in [*wanted, *[(None, None)] * jobs]:
            if len(running) == jobs or model_type is None:
                if not running:
                    return
                child, status = os.wait()
                done, out = running.pop(child)
                ended = (None, f"took more than {SECONDS} s, or ended its process")
                yield *done, *(json.loads(out.read_text()) if status == 0 else ended)
            if model_type is not None:
                out = Path(folder) / f"{kind}-{model_type}.json"
                running[start(kind, model_type, out)] = (kind, model_type), out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("types", nargs="*")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--kinds", nargs="+", default=["causal", "image-text"], choices=["causal", "image-text"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    reasons, known, tried = {}, hand_written(), set()
    for _ in range(2):  # of several types of one class the first, whose config has the others' in a section; if it can
        wanted = to_do(given, known, tried)
        tried |= set(wanted)
        for kind, model_type, row, said in results(wanted, given.jobs):
            report(kind, model_type, row, said)
            if row:
                known |= set(class_names(model_type, kind))
            else:
                reasons[model_type, kind] = said
    if not given.types:
        write_undecided({key: reason for key, reason in reasons.items() if not set(class_names(*key)) <= known})


def to_do(given, known, tried):
    wanted, names = [], set(known)
    with_images = {name for one in image_text_types() if ("image-text", one) not in tried
                   for name in class_names(one, "image-text")}  # of the text alone where that fails
    for kind, types in (("causal", causal_types()), ("image-text", image_text_types())):
        for model_type in types if kind in given.kinds else ():
            of_type = set(class_names(model_type, kind))
            if kind == "causal" and of_type <= with_images:
                continue
            if of_type <= names or (kind, model_type) in tried or (given.types and model_type not in given.types):
                continue
            names |= of_type
            wanted.append((kind, model_type))
    return wanted


def report(kind, model_type, row, said):
    path = file_of(kind, model_type)
    before = path.read_text() if path.exists() else None
    if row:
        path.write_text(row)
    elif before:
        path.unlink()
    change = "same" if row == before else "new" if before is None else "changed"
    print(f"{model_type} ({kind}): {said if row else 'NONE: ' + said.splitlines()[0]} [{change}]", flush=True)


def hand_written():
    names = set()
    for path in ROWS.glob("*.yaml"):
        if path.name not in (UNDECIDED.name,) and not is_generated(path):
            for line in re.findall(r"^-? ?names: \[(.*?)\]", path.read_text(), re.M | re.S):
                names |= {name.strip() for name in line.split(",")}
    return names


def told(reason):
    """In one line, without the names of the moment."""
    text = re.sub(r"/\S*/spinor-\w+/(model/)?", "", " ".join(reason.split())).replace("Proving", "")
    return text[:300].replace('"', "'")


def write_undecided(reasons):
    lines = [f"# Classes of transformers {transformers.__version__} without a row, and why. Made by tools/rows.py."]
    written = set()
    for (model_type, kind), reason in sorted(reasons.items()):
        names = [name for name in class_names(model_type, kind) if name not in written]
        written.update(names)
        if names:
            text = told(reason)
            lines += [f"- names: [{', '.join(names)}]", f"  reason: {json.dumps(text)}",
                      "  instead: write a row (docs/adding_an_architecture.md)"]
    UNDECIDED.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
