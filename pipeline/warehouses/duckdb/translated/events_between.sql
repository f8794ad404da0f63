-- of the GoogleSQL whose SHA-256 is 47da09ea442a08435d4e9742d02fe81171be8a9bcf715e341c79fb0c6ab5ca2c
SELECT
  *
FROM events_resolved
WHERE
  received_at >= (
    CAST(first_time AS TIMESTAMPTZ) - INTERVAL '24' HOUR
  )
  AND timestamp >= CAST(first_time AS TIMESTAMPTZ)
  AND timestamp < CAST(end_time AS TIMESTAMPTZ)
