-- A logged call's times, under Segment's names.
received_at,
sent_at,
timestamp,
original_timestamp,
COALESCE(written_at, received_at) AS uuid_ts, -- when its row was written
COALESCE(written_at, received_at) AS loaded_at, -- when its row was written
