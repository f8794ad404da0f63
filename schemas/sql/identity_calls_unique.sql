-- The log of identity calls, each message_id once, as it was first written.
SELECT *
FROM identity_calls
-- Copies of a message have one received_at; with it in the window, a filter on received_at still prunes partitions.
QUALIFY ROW_NUMBER() OVER (PARTITION BY message_id, received_at ORDER BY written_at) = 1
