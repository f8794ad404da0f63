-- Some dead letters with their bytes.
SELECT dead_letter_id, stage, detail, payload, connection
FROM dead_letters
WHERE failed_at >= TIMESTAMP_MICROS(@since) AND dead_letter_id IN UNNEST(@ids)
