"""Run the command line: `python -m pipeline`."""

import signal

if __name__ == "__main__":
    # Until there is somebody to catch it, Ctrl-C ends the program the plain way instead of with a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from pipeline.cli import main

    main()
