"""`livery-proxy hash-password`: a password's hash for the gateway's users file."""

import argparse
import getpass
import sys
from collections.abc import Sequence

EXAMPLES = """examples:
  livery-proxy hash-password
      asks for the password, and prints its hash
  openssl rand -base64 24 | tee password | livery-proxy hash-password
      makes a password, keeps it, and prints its hash
"""
MAX_PASSWORD_CHARACTERS = 1024


def main(arguments: Sequence[str]) -> int:
    """Run it; returns the exit code."""
    # Brings hashlib's OpenSSL, which no other command needs.
    from sidecar.auth.users import hash_password

    parser = argparse.ArgumentParser(
        prog="livery-proxy hash-password",
        description="Read a password from the terminal or stdin, and print its hash.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.parse_args(arguments)
    is_typed = sys.stdin.isatty()
    password = getpass.getpass() if is_typed else sys.stdin.readline().rstrip("\r\n")
    if any("\ud800" <= char < "\ue000" for char in password):
        print("livery-proxy: the password is not UTF-8", file=sys.stderr)
        return 2
    if not 0 < len(password) <= MAX_PASSWORD_CHARACTERS:
        reason = f"a password of 1 to {MAX_PASSWORD_CHARACTERS} characters is needed"
        print(f"livery-proxy: {reason}", file=sys.stderr)
        return 2
    print(hash_password(password))
    return 0
