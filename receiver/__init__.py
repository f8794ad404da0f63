"""The way in: an HTTP endpoint that Segment's webhooks and SDKs deliver to (`docs/receiver.md`)."""
