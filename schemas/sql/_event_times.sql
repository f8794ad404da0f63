-- An event's times, under Segment's names.
received_at,
sent_at,
timestamp,
original_timestamp,
received_at AS uuid_ts, -- when Segment received it: `events` does not say when a row was written
received_at AS loaded_at, -- when Segment received it
