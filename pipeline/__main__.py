"""Run the command line: `python -m pipeline`."""

import signal
import sys

if __name__ == "__main__":
    # Until there is somebody to catch it, Ctrl-C ends the program the plain way instead of with a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    try:
        from pipeline.cli import main

        main()
    except Exception:
        from pipeline.interpreter import advice

        # What another Python lacks shows in many ways, also as an old version of something.
        told = advice("pipeline", "ingest")
        if not told:
            raise
        sys.stderr.write(told + "\n")
        sys.exit(2)
