"""python -m spinor.discovery MODEL [--trust-remote-code]: one JSON object on stdout, with a row or with an error."""

import argparse
import json
import os
import sys
import warnings


def found(model: str, trust_remote_code: bool) -> dict:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "critical")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.filterwarnings("ignore")
    from spinor._errors import Error

    from .discover import discover_model

    try:
        discovery = discover_model(model, trust_remote_code)
    except Error as error:
        return {"error": [error.subject, error.problem, error.hint or ""]}
    except Exception as error:  # noqa: BLE001: of a model's own code
        said = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        return {"error": [model, f"its code cannot be examined: {said}", ""]}
    return {"row": discovery.row, "names": discovery.names, "errors": discovery.proof.errors,
            "refused": discovery.proof.refused}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--trust-remote-code", action="store_true")
    given = parser.parse_args()
    said = os.dup(1)
    os.dup2(2, 1)  # what a model's own code prints is no row
    answer = found(given.model, given.trust_remote_code)
    with os.fdopen(said, "w") as out:
        json.dump(answer, out)
    sys.exit("error" in answer)


main()
