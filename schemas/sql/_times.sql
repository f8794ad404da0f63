-- A logged call's times.
received_at,
sent_at,
timestamp,
original_timestamp,
