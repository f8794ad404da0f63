"""The story of `tests/receiver/clients/story.py`, told by segment-analytics-python.

client.py ENDPOINT WRITE_KEY [--gzip]
"""

from __future__ import annotations

import sys

from segment.analytics import Client

_, endpoint, write_key, *options = sys.argv
failures: list[Exception] = []
client = Client(
    write_key,
    host=endpoint,
    gzip="--gzip" in options,
    timeout=1,
    on_error=lambda error, _: failures.append(error),
)

client.page(anonymous_id="visitor-1", name="Pricing", properties={"url": "https://shop.test/pricing"})
client.identify("pgibbons", anonymous_id="visitor-1", traits={"email": "pgibbons@example.com", "name": "Peter Gibbons"})
client.track("pgibbons", "Item Purchased", {"revenue": 14.99, "note": "Zoë 💶"})
client.screen("pgibbons", name="Home", properties={"tabs": 3})
client.group("pgibbons", "initech", {"name": "Initech", "employees": 420})
client.alias("pgibbons", "019mr8mf4r")
client.shutdown()
sys.exit("\n".join(map(str, failures)) or None)
