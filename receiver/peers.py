"""Who a request comes from: the address of a browser behind proxies, and whether it is this machine itself."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from receiver.asgi import Request

_FORWARDED: Final = (b"x-forwarded-for", b"forwarded", b"x-real-ip")


def client_address(request: Request, trusted_proxies: int) -> str | None:
    """The address that the outermost of so many proxies has seen; each adds one to `X-Forwarded-For`, at its end. None
    where it is no address: what stands before is the sender's own, and may be anything."""
    address = request.peer
    if trusted_proxies:
        addresses = request.headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
        if len(addresses) < trusted_proxies:
            return None
        address = addresses[-trusted_proxies].strip()
    parsed = _address(address)
    return None if parsed is None else str(parsed)


def is_local(request: Request) -> bool:
    """Whether a program on this machine asks for this machine by its loopback address or name. A page of another site
    whose name leads here names itself as the host; a proxy here tells whom it asks for."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    host = request.headers.get(b"host", b"").decode("latin-1")
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return _is_loopback(request.peer) and (name == "localhost" or _is_loopback(name))


def _is_loopback(address: str | None) -> bool:
    parsed = _address(address)
    return parsed is not None and parsed.is_loopback


def _address(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address, None of what is none; of IPv4 within IPv6, as a socket for both has it, that of IPv4."""
    try:
        address = ipaddress.ip_address(text or "")
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
