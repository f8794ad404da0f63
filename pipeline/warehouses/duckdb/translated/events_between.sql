-- of the GoogleSQL whose SHA-256 is a4a91e7d1369a8339b8530f1553375fbacde3bf3b3fbedebb4621f85022f55fc
SELECT
  *
FROM events_resolved
WHERE
  received_at >= (
    first_time - INTERVAL '1' DAY
  )
  AND timestamp >= first_time
  AND timestamp < end_time
