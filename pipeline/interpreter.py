"""Whether the Python that runs this has what the program needs; stands on nothing, for it may be an old Python."""

from importlib.util import find_spec

NEEDED = ("click", "isal", "pebble", "psycopg", "simplejpeg", "tenacity")


def advice(program: str, target: str, needed: "tuple[str, ...]" = NEEDED) -> str:
    """Say how to run a program when this Python lacks what it needs; nothing when it has it all."""
    missing = [name for name in needed if find_spec(name) is None]
    if not missing:
        return ""
    ways = f"make {target}, or .venv/bin/python -m {program}"
    return f"Error: this Python has no {missing[0]}; the project's own has. Run: {ways}"
