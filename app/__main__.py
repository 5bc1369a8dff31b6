"""Run the Image API: `python -m app`."""

import sys

if __name__ == "__main__":
    try:
        from app.command import main

        main()
    except Exception:
        from pipeline.interpreter import NEEDED, advice

        told = advice("app", "serve", ("fastapi", "uvicorn", *NEEDED))
        if not told:
            raise
        sys.stderr.write(told + "\n")
        sys.exit(2)
