"""The forms in which a secret must not be found anywhere."""
import base64
import urllib.parse


def forms(secret):
    """Every form of a secret that is looked for: {name: bytes}."""
    raw = secret.encode()
    found = {"plain": raw, "hex": raw.hex().encode(), "HEX": raw.hex().upper().encode(),
             "url": urllib.parse.quote(secret, safe="").encode()}
    for shift in range(3):
        # Only the characters that depend on the secret alone, whatever stands before and after it.
        coded = base64.b64encode(b"\0" * shift + raw)
        begin = (shift * 8 + 5) // 6
        end = (shift + len(raw)) * 8 // 6
        found[f"base64 at {shift}"] = coded[begin:end]
        found[f"base64url at {shift}"] = coded[begin:end].replace(b"+", b"-").replace(b"/", b"_")
    return found
