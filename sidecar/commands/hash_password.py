"""`livery-proxy hash-password`: a password's hash for the gateway's users file."""

import argparse
import getpass
import sys
from collections.abc import Sequence

from sidecar.process.help_format import HelpFormatter

EXAMPLES = """examples:
  livery-proxy hash-password
      ask for a password and print its hash
  openssl rand -base64 24 | tee password | livery-proxy hash-password
      generate a password, save it to a file and print its hash
"""
MAX_PASSWORD_CHARACTERS = 1024


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    # Imported here: it loads OpenSSL through hashlib, which no other command needs.
    from sidecar.auth.users import hash_password

    parser = argparse.ArgumentParser(
        prog="livery-proxy hash-password",
        description="Read a password from the terminal or stdin, and print its hash.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.parse_args(arguments)
    is_typed = sys.stdin.isatty()
    password = getpass.getpass() if is_typed else sys.stdin.readline().rstrip("\r\n")
    if any("\ud800" <= char < "\ue000" for char in password):
        print("livery-proxy: the password is not UTF-8", file=sys.stderr)
        return 2
    if not 0 < len(password) <= MAX_PASSWORD_CHARACTERS:
        reason = f"the password must have 1 to {MAX_PASSWORD_CHARACTERS} characters"
        print(f"livery-proxy: {reason}", file=sys.stderr)
        return 2
    print(hash_password(password))
    return 0
