#!/bin/sh
# Runs as mmdebstrap's extract hook; $1 is the root file system. Compiles the modules that functions commonly import,
# as the package's own script would: otherwise every cold start compiles them again (0.3 s).
# Other modules are not compiled: this would make the image larger, and hardly anything faster.
# -E: with PYTHONPYCACHEPREFIX of the caller's environment the bytecode would be elsewhere.
set -eu
exec chroot "$1" /usr/bin/python3.13 -E -m compileall -q --invalidation-mode unchecked-hash \
  -x '/(test|idlelib|tkinter|turtledemo|pydoc_data|ensurepip|venv|unittest|multiprocessing|xmlrpc|wsgiref|dbm|curses|sqlite3|_pyrepl|__phello__|sysconfig)/|/(_pydecimal|_pydatetime|_pyio|_pylong|pdb|doctest|turtle|antigravity|this|pydoc|tarfile|pickletools|optparse|imaplib|ftplib|nntplib|mailbox|smtplib|pyclbr|trace|cProfile|profile|pstats|webbrowser|netrc|plistlib)\.py|/encodings/(cp|mac|iso|koi|big|euc|gb|hz|jis|shift|johab|kz|palm|ptcp|tis|hp|uu_|zlib|bz2|quopri|rot)' \
  /usr/lib/python3.13
