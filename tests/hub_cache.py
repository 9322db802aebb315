"""A Hugging Face cache as the libraries lay it out: snapshots of links, a reference to one of them."""

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def keep(home, name, directory):
    """Under `home`, which is for HF_HOME; returns the snapshot."""
    repository = home / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for file in directory.iterdir():
        (snapshot / file.name).symlink_to(file)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return snapshot
